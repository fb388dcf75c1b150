"""Instructions over numbered slots, and the loops made of them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _interrupt
from .._tuned import tuned
from ._products import Value


@dataclasses.dataclass(frozen=True)
class Loops:
    """Forecasts of loops.

    Attributes:
        inner_passes: passes that a loop inside another is taken to make, where nothing says how
            many.
    """

    inner_passes: int = 4


LOOPS = tuned("interpreted_loops", Loops(), traced=True)


Values = Sequence[Value]


class Instruction(NamedTuple):
    """One operation: from the values of some slots to those of others.

    Attributes:
        call: takes an array for each input; gives one array, or several unless it is `single`.
        dead: slots of large arrays that nobody reads afterwards.
    """

    call: Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    single: bool = True
    dead: tuple[int, ...] = ()


class Program:
    """A list of instructions.

    Args:
        values: of all slots, those of constants filled in.
        inputs: slots of the arguments.
        instructions: in their order.
        outputs: slots of the results.
    """

    def __init__(
        self,
        values: list,
        inputs: tuple[int, ...],
        instructions: list[Instruction],
        outputs: tuple[int, ...],
    ):
        self._values, self._inputs, self._outputs = values, inputs, outputs
        self._instructions = instructions

    def __call__(self, *args: Value) -> list[Value]:
        values = self._values.copy()
        for slot, value in zip(self._inputs, args, strict=True):
            values[slot] = value
        for call, inputs, outputs, single, dead in self._instructions:
            found = call(*[values[slot] for slot in inputs])
            if single:
                values[outputs[0]] = found
            else:
                for slot, value in zip(outputs, found, strict=True):
                    values[slot] = value
            if dead:
                for slot in dead:
                    values[slot] = None
        return [values[slot] for slot in self._outputs]

    def operations(self, passes: int) -> int:
        """A forecast of how many operations run, for a number of passes of the outermost loops."""
        count = 0
        for step in self._instructions:
            count += step.call.operations(passes) if isinstance(step.call, Loop) else 1
        return count


class While(NamedTuple):
    """`body` as long as `test` says so; each has its own constants, and they share the rest.

    Under `vmap` the test may be one for each lane: lanes that are done stay as they are. Where it
    is stopped (see `_interrupt`), the result is what the passes so far gave: all loops of fits
    carry the best that they have found.
    """

    test: Program
    body: Program
    test_constants: int
    body_constants: int

    def __call__(self, *args: Value) -> Values:
        end = self.test_constants + self.body_constants
        for_test, for_body = args[: self.test_constants], args[self.test_constants : end]
        carry: Values = args[end:]
        while True:
            going = self.test(*for_test, *carry)[0]
            if not going.any() or _interrupt.pending():
                return carry
            try:
                new = self.body(*for_body, *carry)
            except _interrupt.Stopped:
                return carry
            carry = (
                new
                if going.all()
                else [_where(going, *pair) for pair in zip(new, carry, strict=True)]
            )

    def operations(self, passes: int) -> int:
        inside = min(passes, LOOPS().inner_passes)
        return passes * (self.test.operations(inside) + self.body.operations(inside))


def _where(lanes: Value, new: Value, old: Value) -> np.ndarray:
    """By the leading axes."""
    return np.where(lanes.reshape(lanes.shape + (1,) * (new.ndim - lanes.ndim)), new, old)


class Scan(NamedTuple):
    """`body` for each slice of some arguments, which gives slices of some results.

    Attributes:
        constants, carried: number of arguments of `body` that stay, and that it replaces.
        stacked: shape and dtype of the results that slices make up.
    """

    body: Program
    length: int
    constants: int
    carried: int
    stacked: tuple[tuple[tuple[int, ...], np.dtype], ...]
    reverse: bool

    def __call__(self, *args: Value) -> Values:
        end = self.constants + self.carried
        constants, carry = args[: self.constants], args[self.constants : end]
        slices = [np.asarray(x) for x in args[end:]]
        out = [np.empty(shape, dtype) for shape, dtype in self.stacked]
        for n in reversed(range(self.length)) if self.reverse else range(self.length):
            _interrupt.checkpoint()
            found = self.body(*constants, *carry, *[x[n] for x in slices])
            carry = found[: self.carried]
            for array, value in zip(out, found[self.carried :], strict=True):
                array[n] = value
        return [*carry, *out]

    def operations(self, passes: int) -> int:
        return self.length * self.body.operations(min(passes, LOOPS().inner_passes))


class Branches(NamedTuple):
    """One of several programs, by its number."""

    programs: tuple[Program, ...]

    def __call__(self, number: Value, *args: Value) -> Values:
        return self.programs[min(max(int(number), 0), len(self.programs) - 1)](*args)

    def operations(self, passes: int) -> int:
        return max(program.operations(passes) for program in self.programs)


# An instruction that runs programs.
Loop = While | Scan | Branches
