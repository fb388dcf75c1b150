"""What all loggers share: an error in one is never the end of a search."""

import abc
import warnings

from .._search.result import Step


class Logger(abc.ABC):
    """A callable for `on_step=` whose errors become one warning: it is then switched off, and the
    search goes on without it."""

    _off = False

    @abc.abstractmethod
    def log(self, step: Step) -> None:
        """Show or write a step; may raise."""

    def __call__(self, step: Step) -> None:
        if self._off:
            return
        try:
            self.log(step)
        except Exception as error:
            self._off = True
            warn_off(type(self).__name__, error)


def warn_off(name: str, error: Exception) -> None:
    """Say that a logger has failed and gets no more steps."""
    warnings.warn(
        f"{name} failed ({type(error).__name__}: {error}) and is switched off; the search goes on "
        "without it.",
        stacklevel=4,
    )
