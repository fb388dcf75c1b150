"""Progress in a notebook."""

from typing import Any

from .._search.result import Step
from ..plot import Series, curve_svg, structure_svg
from ..plot.chart import PALETTE
from ._logger import Logger


class Live(Logger):
    """Show the network, the curve so far and the last step in a notebook cell, drawn anew at each.
    If that fails, it warns once and shows no more; the search goes on.

    Raises:
        ImportError: if IPython is not installed; it is there in every notebook.

    Example:
        >>> import jax, tnjax
        >>> log = tnjax.log.Live()
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> _ = tnjax.search(problem, key=jax.random.key(0), target_error=0.1, on_step=log)
        <IPython.core.display.HTML object>
        >>> "<svg" in log.html()
        True
    """

    def __init__(self):
        try:
            from IPython.display import HTML, display
        except ImportError as error:
            raise ImportError("Live shows progress in a notebook; it needs IPython.") from error
        self._html: Any = HTML
        self._display: Any = display
        self._handle: Any = None
        self._path: list[Step] = []

    def log(self, step: Step) -> None:
        self._path.append(step)
        picture = self._html(self.html())
        if self._handle is None:
            self._handle = self._display(picture, display_id=True)
        else:
            self._handle.update(picture)

    def html(self) -> str:
        """What is shown after the steps so far."""
        step = self._path[-1]
        points = [(float(s.num_params), float(s.error)) for s in self._path]
        series = [
            Series("steps", points, "both", PALETTE[0]),
            Series("now", points[-1:], "star", PALETTE[4]),
        ]
        label = f"Relative error against parameters after {len(points)} steps."
        chart = curve_svg(series, x="parameters", y="relative error", label=label, log_x=True)
        seconds = sum(s.seconds for s in self._path)
        words = (
            f"step {len(points) - 1}: <b>{step.move}</b>, {step.num_params:,} parameters, "
            f"error {step.error:.4g}, {seconds:.1f} s so far"
        )
        return (
            f'<div>{words}</div><div style="display:flex;flex-wrap:wrap;gap:1.5em">'
            f"<div>{structure_svg(step.structure)}</div><div>{chart}</div></div>"
        )
