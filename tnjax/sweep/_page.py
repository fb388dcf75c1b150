"""The report of a sweep: one page that opens offline."""

import dataclasses
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._report import Section, Table, page_html, write_page
from .._report.sections import cell_text
from ..plot import Series, curve_svg
from ..plot.chart import PALETTE, legend_html
from ..plot.svg import MUTED
from ._tables import Row, pareto, summary_rows, trial_rows
from .records import Outcome

_MOST_ROWS = 1000
_ERROR = "_standard_error"


@dataclasses.dataclass(frozen=True)
class Results(Section):
    """Error against parameters: every path, faint, every result, and the Pareto set.

    Args:
        title: the heading.
        outcomes: of the trials.
    """

    title: str
    outcomes: Sequence[Outcome]

    def body(self) -> str:
        front = pareto(self.outcomes)
        done = [o for o in self.outcomes if o.error is not None and o.num_params is not None]
        moves = [(float(s.num_params), s.error) for o in done for s in o.path]
        point = lambda o: (float(o.num_params or 0), float(o.error or 0.0))
        label = lambda o: f"{o.trial.name}: {o.num_params} parameters, error {o.error:.4g}"
        ended = [o for o in done if o.state == "finished"]
        early = [o for o in done if o.state != "finished"]
        series = [
            Series("moves of all trials", moves, "dots", MUTED, faint=True),
            Series("Pareto set", [point(o) for o in front], "line", PALETTE[0]),
            Series("results", [*map(point, ended)], "dots", PALETTE[0], [*map(label, ended)]),
        ]
        if early:
            seen = [*map(point, early)]
            series.append(Series("stopped early", seen, "dots", PALETTE[1], [*map(label, early)]))
        words = (
            f"Relative error against parameters of {len(done)} trials, {len(front)} of them in the "
            "Pareto set."
        )
        chart = curve_svg(series, x="parameters", y="relative error", label=words, log_x=True)
        return f"<figure>{chart}{legend_html(series)}</figure>"


def sweep_page(
    title: str, outcomes: Sequence[Outcome], options: Mapping[str, Any] | None = None
) -> str:
    """The page of a sweep as HTML text.

    Args:
        title: its heading.
        outcomes: of all trials.
        options: of the sweep, shown at the end.

    Returns:
        The page: one document that needs no other file.

    Example:
        >>> from tnjax.sweep import Outcome, Trial, sweep_page
        >>> done = {"state": "finished", "seconds": 1.0}
        >>> small = Outcome(Trial({"power": 0.0}, 0), error=0.2, num_params=40, **done)
        >>> large = Outcome(Trial({"power": 1.0}, 0), error=0.3, num_params=90, **done)
        >>> "power" in sweep_page("Powers", (small, large))
        True
    """
    front = pareto(outcomes)
    count = lambda state: sum(o.state == state for o in outcomes)
    rest = {state: count(state) for state in ("stopped early", "failed") if count(state)}
    facts: dict[str, Any] = {
        "trials": len(outcomes),
        "finished": (
            count("finished"),
            ", ".join(f"{number} {state}" for state, number in rest.items()),
        ),
        "in the Pareto set": len(front),
    }
    if front:
        facts["lowest error"] = (f"{front[-1].error:.4g}", f"{front[-1].num_params} parameters")
    sections: list[Section] = [
        _table(
            "Settings",
            _joined(summary_rows(outcomes)),
            "Means over the seeds of each setting ± the standard error of the mean. Trials "
            "that were stopped early or failed are not averaged.",
        )
    ]
    if front:
        sections.insert(0, Results("Error against parameters", outcomes))
        note = "The trials that no other one beats in both parameters and error."
        sections.append(_table("Pareto set", trial_rows(front), note, drop=("pareto", "message")))
    note = "" if len(outcomes) <= _MOST_ROWS else f"The first {_MOST_ROWS}; trials.csv has all."
    sections.append(_table("Trials", trial_rows(outcomes)[:_MOST_ROWS], note))
    if options:
        sections.append(Table("Options", ("name", "value"), list(options.items())))
    return page_html(title, sections, lead=f"<p>{html.escape(_words(outcomes))}</p>", facts=facts)


def write_sweep_page(
    path: Path, title: str, outcomes: Sequence[Outcome], options: Mapping[str, Any] | None = None
) -> None:
    """Write the page, atomically.

    Args:
        path: of the file.
        title, outcomes, options: as of `sweep_page`.

    Raises:
        OSError: if it cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> from tnjax.sweep import Outcome, Trial, write_sweep_page
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "report.html"
        ...     write_sweep_page(file, "Powers", (Outcome(Trial({}, 0), "failed", "no memory"),))
        ...     "no memory" in file.read_text()
        True
    """
    write_page(path, sweep_page(title, outcomes, options))


def _words(outcomes: Sequence[Outcome]) -> str:
    names = {_settings_text(o.trial.settings) for o in outcomes}
    return f"{len(names)} settings, {len({o.trial.seed for o in outcomes})} seeds."


def _settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as a text to compare by."""
    return repr(sorted((key, repr(value)) for key, value in settings.items()))


def _joined(rows: Sequence[Row]) -> list[Row]:
    """Each mean with its standard error in one cell, where the tables have two."""
    found = []
    for row in rows:
        joined = {}
        for name, value in row.items():
            error = row.get(f"{name}{_ERROR}")
            if name.endswith(_ERROR):
                continue
            whole = error is not None and value is not None
            joined[name] = f"{cell_text(value)} ± {error:.2g}" if whole else value
        found.append(joined)
    return found


def _table(title: str, rows: Sequence[Row], note: str = "", drop: Sequence[str] = ()) -> Table:
    columns = [name for name in (rows[0] if rows else ()) if name not in drop]
    cells = [[row[name] for name in columns] for row in rows]
    return Table(title, [name.replace("_", " ") for name in columns], cells, note)
