"""A failure as an exception, for who asks for it by `throw=True`."""

from typing import Any, TypeVar

from ._status import Status

R = TypeVar("R")

_ADVICE = {
    Status.NON_FINITE: (
        "Look for extreme values in the data, use double precision (the option jax_enable_x64), "
        "or give another solver"
    ),
    Status.INTERRUPTED: (
        "Go on from its checkpoints where there are some, or start from its network"
    ),
    Status.RUNNING: "Give it more steps",
}


class Failed(RuntimeError):
    """A `search`, `fit` or `compress` that was called with `throw=True` did not succeed.

    Attributes:
        result: what it would have returned: the best that was found all the same.
        status: why it failed; `Status.ok` says which are failures.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> problem = tnjax.Objective(lambda x: np.nan * x.sum(), (2, 2))
        >>> try:
        ...     tnjax.search(problem, key=jax.random.key(0), max_steps=1, throw=True)
        ... except tnjax.Failed as failed:
        ...     failed.status, failed.result.status.ok
        (<Status.NON_FINITE: 'non_finite'>, False)
    """

    def __init__(self, what: str, result: Any):
        self.result = result
        self.status: Status = result.status
        super().__init__(
            f"{what}: {self.status.message}. {_ADVICE[self.status]}. What was found all "
            "the same is in the attribute `result` of this exception; throw=False returns it."
        )

    def __reduce__(self) -> tuple:  # as it is, from one process to another
        return _again, (self.args, self.result)


def _again(args: tuple, result: Any) -> Failed:
    failed = Failed.__new__(Failed)
    RuntimeError.__init__(failed, *args)
    failed.result, failed.status = result, result.status
    return failed


def thrown(what: str, result: R, throw: bool) -> R:
    """The result; where `throw` says so, only if its status is a success.

    Raises:
        Failed: otherwise.
    """
    if throw and not result.status.ok:  # pyright: ignore[reportAttributeAccessIssue]
        raise Failed(what, result)
    return result
