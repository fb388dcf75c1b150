"""More than one logger."""

import dataclasses
from collections.abc import Callable

from .._search.result import Step
from ._logger import warn_off


@dataclasses.dataclass(frozen=True, init=False)
class Several:
    """Hand each step to several callables, in their order. One that raises an `Exception` is named
    in a warning and gets no more steps; the others and the search go on.

    Args:
        callables: each takes a `Step`.

    Example:
        >>> import jax, tnjax
        >>> errors, sizes = [], []
        >>> log = tnjax.log.Several(
        ...     lambda step: errors.append(step.error), lambda step: sizes.append(step.num_params)
        ... )
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> result = tnjax.search(problem, key=jax.random.key(0), target_error=0.1, on_step=log)
        >>> len(errors) == len(sizes) == len(result.path)
        True
    """

    callables: tuple[Callable[[Step], None], ...]
    _failed: set[int] = dataclasses.field(init=False, repr=False, compare=False)

    def __init__(self, *callables: Callable[[Step], None]):
        object.__setattr__(self, "callables", callables)
        object.__setattr__(self, "_failed", set())

    def __call__(self, step: Step) -> None:
        for number, each in enumerate(self.callables):
            if number in self._failed:
                continue
            try:
                each(step)
            except Exception as error:
                self._failed.add(number)
                warn_off(getattr(each, "__name__", repr(each)), error)
