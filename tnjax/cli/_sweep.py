"""`tnjax sweep`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ._arguments import MaybeInt, MaybeText
from ._common import InputError
from ._interrupt import heard
from ._progress import only_shown

if TYPE_CHECKING:
    from ..sweep import Cluster, Outcome, Progress
    from ._sweep_file import SweepFile

_SETTINGS = "sweep.yaml"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """Run many searches, with other options and seeds, on Ray (extra ray).

    FILE is YAML: command (decompose or complete), options (the same for all), grid (lists of values
    to combine), random (laws to draw from, samples times), seeds, cpus and gpus of a trial,
    retries, early_stopping (ASHA: grace, factor). Every trial leaves a run folder in OUT/trials;
    OUT gets trials.csv, summary.csv, path.csv, path.parquet and report.html. A trial whose worker
    dies goes on from its checkpoint. Started again, a sweep runs only what has not finished.

    Example: tnjax sweep configs/sweep/powers.yaml --out sweep
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The sweep file."""
    out: Path
    """Folder to write; it must not exist, be empty, or hold the sweep to go on with."""
    vmap_seeds: bool = False
    """Let trials that differ only in their seed share one worker and one device: programs that they
    need at the same time run as one batched call. Each takes the moves that it takes alone; what
    --max-seconds counts contains waiting for the others."""
    workers: MaybeInt = None
    """Most trials at a time; as many as the cores allow by default."""
    address: MaybeText = None
    """Of a Ray cluster; without it Ray is started on this machine and ends with the sweep. All
    machines of a cluster must see --out and the inputs."""
    dashboard: bool = False
    """Start Ray's dashboard, on loopback (needs ray[default])."""
    open_ports: bool = False
    """Let a Ray that is started listen on all interfaces. Whoever reaches its ports can run
    programs on this machine."""

    def run(self) -> int:
        return _sweep(self)


def _sweep(options: Sweep) -> int:
    from ._sweep_file import read_sweep_file

    _check_out(options.out)
    file = read_sweep_file(options.file)
    if options.vmap_seeds:
        _check_shared(options.file, file)
    import yaml

    from ..sweep import Cluster, write_sweep_page, write_tables
    from ..sweep.session import need_ray

    cluster = Cluster(
        options.address, options.workers, options.dashboard, options.open_ports, file.retries
    )
    need_ray(cluster)
    options.out.mkdir(exist_ok=True)
    text = yaml.safe_dump(file.content, sort_keys=False)
    (options.out / _SETTINGS).write_text(text, encoding="utf-8")
    before = sum(outcome.state != "failed" for outcome in _ended(options.out, file))
    lost, interrupted = _run(options, file, cluster)
    outcomes = _ended(options.out, file)
    write_tables(options.out, outcomes)
    page = options.out / "report.html"
    with only_shown(f"{page}"):
        write_sweep_page(page, f"Sweep: {options.file.name}", outcomes, file.content)
    print(f"{_words(outcomes, len(file.trials), before, lost)}; see {page}")
    if interrupted:
        print("tnjax: interrupted; start the same sweep again to go on.", file=sys.stderr)
        return 130
    good = len(outcomes) == len(file.trials) and all(o.state != "failed" for o in outcomes)
    return 0 if good else 1


def _run(options: Sweep, file: SweepFile, cluster: Cluster) -> tuple[int, bool]:
    """Run the trials. Returns how many workers were lost, and whether the user stopped it."""
    from ..sweep import run_sweep
    from ._board import live_table
    from ._trials import CommandTask

    known: dict[str, Progress] = {}
    interrupted = False
    try:
        # Ray prints what it has to say of dead workers; the output is for the result.
        with live_table() as (display, tell), contextlib.redirect_stdout(sys.stderr):
            display.status("starting Ray and its workers")

            def on_progress(now: dict[str, Progress]) -> None:
                known.update(now)
                tell(now)

            def hear(number: int) -> None:
                display.line("stopping; trials under way keep their last checkpoints ...")

            with heard(hear):
                run_sweep(
                    file.trials,
                    CommandTask(file.command),
                    options.out,
                    resources=file.resources,
                    cluster=cluster,
                    early_stopping=file.early_stopping,
                    vmap_seeds=options.vmap_seeds,
                    on_progress=on_progress,
                )
    except KeyboardInterrupt:
        interrupted = True
    deaths: dict[int, int] = {}  # a worker of several trials is lost once
    for progress in known.values():
        deaths[progress.unit] = max(progress.deaths, deaths.get(progress.unit, 0))
    return sum(deaths.values()), interrupted


def _check_shared(path: Path, file: SweepFile) -> None:
    """Raise `InputError` for what seeds that share a device cannot have."""
    refused = {
        "early_stopping": file.early_stopping is not None,
        f"gpus: {file.resources.gpus:g}": file.resources.gpus > 1,
        "devices": any(trial.settings.get("devices") is not None for trial in file.trials),
        "mesh": any(trial.settings.get("mesh") is not None for trial in file.trials),
    }
    for name, given in refused.items():
        if given:
            raise InputError(
                f"{path}: --vmap-seeds runs all seeds of a setting together on one device, so it "
                f"cannot be combined with {name}; leave one of them out."
            )


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: a file of that name exists; give a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / _SETTINGS).is_file():
        raise InputError(f"--out {out}: the folder is not empty, and holds no sweep; give another.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: the folder {out.absolute().parent} does not exist.")


def _ended(out: Path, file: SweepFile) -> tuple[Outcome, ...]:
    from ..sweep.records import outcomes_of

    return outcomes_of(out, file.trials)


def _words(outcomes: Sequence[Outcome], count: int, before: int, lost: int) -> str:
    states = [o.state for o in outcomes]
    parts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    if count > len(outcomes):
        parts.append(f"{count - len(outcomes)} to do")
    if lost:
        parts.append(f"{lost} worker{'s' * (lost > 1)} lost")
    ran = f" ({before} had ended before)" if before else ""
    failed = next((f"; {o.trial.name}: {o.message}" for o in outcomes if o.state == "failed"), "")
    return f"{count} trials: {', '.join(parts)}{ran}{failed}"
