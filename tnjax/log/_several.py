"""More than one logger."""

import dataclasses
from collections.abc import Callable

from .._search.result import Step


@dataclasses.dataclass(frozen=True, init=False)
class Several:
    """Hand each step to several callables, in their order.

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

    def __init__(self, *callables: Callable[[Step], None]):
        object.__setattr__(self, "callables", callables)

    def __call__(self, step: Step) -> None:
        for each in self.callables:
            each(step)
