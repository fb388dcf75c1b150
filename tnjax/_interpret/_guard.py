"""Programs that NumPy runs as long as all goes well, and that are compiled once it does not."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ._lower import lower
from ._program import Program
from ._unsupported import PASSED_ON, Unsupported

# One line for each kind of program that is compiled since it is not understood, at level DEBUG.
_log = logging.getLogger("tnjax.interpret")
_logged: set[str] = set()


class Interpreted:
    """A traced function run by NumPy. At the first call that raises, or whose results are not of
    the types that tracing foretold, it is compiled, and stays so. Threads may share it.

    Args:
        program: a function of the arguments' leaves.
        inputs: dtypes of the leaves.
        outputs: the traced results: a pytree with a shape and a dtype at each leaf.
        make: gives the compiled program for some arguments.
    """

    def __init__(
        self,
        program: Program,
        inputs: Sequence[np.dtype],
        outputs: Any,
        make: Callable[[tuple], Callable],
    ):
        self._program, self._inputs, self._make = program, inputs, make
        leaves, self._treedef = jax.tree.flatten(outputs)
        self._types = [(tuple(leaf.shape), np.dtype(leaf.dtype)) for leaf in leaves]
        self._lock = threading.Lock()
        self._compiled: Callable | None = None

    def __call__(self, *args: Any) -> Any:
        if self._compiled is None:
            try:
                return self._interpreted(args)
            except PASSED_ON:
                raise
            except Exception as error:
                _tell(f"{type(error).__name__} in a call: {error}", error)
        with self._lock:
            if self._compiled is None:
                self._compiled = self._make(args)
        return self._compiled(*args)

    def operations(self, passes: int) -> float:
        """A forecast of the operations of a call, for a number of passes of the main loop."""
        return self._program.operations(passes)

    def _interpreted(self, args: tuple) -> Any:
        leaves = map(np.asarray, jax.tree.leaves(args), self._inputs)
        with np.errstate(all="ignore"):
            found = [np.asarray(value) for value in self._program(*leaves)]
        types = [(value.shape, value.dtype) for value in found]
        if types != self._types:
            raise TypeError(f"results of {types}, where tracing foretold {self._types}")
        return jax.tree.unflatten(self._treedef, found)


def interpreted(traced: Any, make: Callable[[tuple], Callable]) -> Interpreted | None:
    """A traced function, run by NumPy.

    Args:
        traced: what `jax.jit(...).trace(...)` gives.
        make: gives the compiled program for some arguments, should it be needed after all.

    Returns:
        None where the function is not understood.
    """
    try:
        program = lower(traced.jaxpr)
        inputs = [var.aval.dtype for var in traced.jaxpr.jaxpr.invars]
        return Interpreted(program, inputs, traced.out_info, make)
    except PASSED_ON:
        raise
    except Unsupported as error:
        _tell(str(error), error.__cause__)
    except Exception as error:
        _tell(repr(error), error)
    return None


def _tell(kind: str, error: BaseException | None) -> None:
    """Once for each kind; with a traceback where something failed that should not."""
    if kind not in _logged:
        _logged.add(kind)
        _log.debug("compiled, since NumPy does not run it: %s", kind, exc_info=error)
