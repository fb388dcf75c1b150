"""From a jaxpr to a program of NumPy's operations."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from .._tuned import tuned
from ._operations import ELEMENTWISE, OPERATIONS, Equation, narrow_shape
from ._parameters import Parameters
from ._program import Branches, Instruction, Loop, Program, Scan, While
from ._unsupported import PASSED_ON, Unsupported


@dataclasses.dataclass(frozen=True)
class Kept:
    """Constants of a program.

    Attributes:
        entries: entries up to which a constant is computed once and kept, and an array needs not be
            freed early.
    """

    entries: int = 100_000


KEPT = tuned("interpreted_constants", Kept(), traced=True)


def _shape(atom: Any) -> jax.ShapeDtypeStruct:
    """Of a value, if its numbers are NumPy's own: neither keys nor bfloat16."""
    if not isinstance(atom.aval.dtype, np.dtype) or atom.aval.dtype.kind not in "biufc":
        raise Unsupported(f"arrays of {atom.aval.dtype}")
    return jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype)


def lower(closed: ClosedJaxpr) -> Program:
    """The program of a jaxpr: a function of NumPy arrays, one for each input.

    Raises:
        Unsupported: for whatever is not understood here. JAX promises to keep neither names nor
            parameters of primitives, so any exception on the way is one of these.
    """
    try:
        return _lowered(closed)
    except (Unsupported, *PASSED_ON):
        raise
    except Exception as error:
        raise Unsupported(f"a program that raises {error!r}") from error


def _lowered(closed: ClosedJaxpr) -> Program:
    builder = _Builder()
    inputs = tuple(builder.slot(size=_shape(var).size) for var in closed.jaxpr.invars)
    outputs = builder.inline(closed.jaxpr, closed.consts, inputs)
    return builder.program(inputs, outputs)


class _Builder:
    """Slots and instructions so far."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.constant: list[bool] = []
        self.large: list[bool] = []
        self.instructions: list[Instruction] = []
        # Slots of arrays that were broadcast: what from, in a shape that NumPy broadcasts.
        self.narrow: dict[int, tuple[int, tuple[int, ...]]] = {}

    def slot(self, value: Any = None, *, constant: bool = False, size: int = 0) -> int:
        self.values.append(value)
        self.constant.append(constant)
        self.large.append(size > KEPT().entries and not constant)
        return len(self.values) - 1

    def inline(self, jaxpr: Jaxpr, consts: Sequence, inputs: Sequence[int]) -> tuple[int, ...]:
        """Instructions of a jaxpr whose inputs are in given slots; the slots of its outputs."""
        where = dict(zip(jaxpr.invars, inputs, strict=True))
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            where[var] = self.slot(np.asarray(value), constant=True)

        def read(atom) -> int:
            if isinstance(atom, Literal):
                return self.slot(np.asarray(atom.val, _shape(atom).dtype), constant=True)
            return where[atom]

        for eqn in jaxpr.eqns:
            slots = tuple(map(read, eqn.invars))
            if eqn.primitive.name in _CALLS:
                called, slots = _CALLS[eqn.primitive.name](eqn, slots)
                found = self.inline(called.jaxpr, called.consts, slots)
            else:
                found = self.emit(eqn, slots)
            where.update(zip(eqn.outvars, found, strict=True))
        return tuple(map(read, jaxpr.outvars))

    def emit(self, eqn: JaxprEqn, slots: tuple[int, ...]) -> tuple[int, ...]:
        """The instruction of an equation, or its results if they are constants."""
        name = eqn.primitive.name
        if name in _LOOPS:
            out = tuple(self.slot(size=_shape(var).size) for var in eqn.outvars)
            with Parameters.of(eqn) as params:
                loop = _LOOPS[name](eqn, params)
            self.instructions.append(Instruction(loop, slots, out, single=False))
            return out
        if name == "split":
            with Parameters.of(eqn) as params:
                return self.split(params, slots)
        if name == "device_put":  # all is on the host
            return slots
        if name not in OPERATIONS:
            raise Unsupported(f"the operation {name}")
        with Parameters.of(eqn) as params:
            equation = Equation(
                name, params, tuple(_shape(atom) for atom in eqn.invars), _shape(*eqn.outvars)
            )
            call, result = OPERATIONS[name](equation), equation.output
        if result.size <= KEPT().entries and all(self.constant[slot] for slot in slots):
            with np.errstate(all="ignore"):
                return (self.slot(call(*[self.values[slot] for slot in slots]), constant=True),)
        if name in ELEMENTWISE:
            slots = self.narrowed(equation, slots)
        out = (self.slot(size=result.size),)
        if name == "broadcast_in_dim":
            self.narrow[out[0]] = slots[0], narrow_shape(equation)
        self.instructions.append(Instruction(call, slots, out))
        return out

    def split(self, params: Parameters, slots: tuple[int, ...]) -> tuple[int, ...]:
        """The one operation with several results: a slice for each."""
        out, begin = [], 0
        axis, before = params["axis"], (slice(None),)
        for size in params["sizes"]:
            where = (*before * axis, slice(begin, begin + size))
            out.append(self.slot())
            cut = lambda x, where=where: x[where]
            self.instructions.append(Instruction(cut, slots, (out[-1],)))
            begin += size
        return tuple(out)

    def narrowed(self, equation: Equation, slots: tuple[int, ...]) -> tuple[int, ...]:
        """Operands as they were before they were broadcast, which NumPy does itself, as long as
        another one has the full shape."""
        whole = any(
            slot not in self.narrow
            and not self.constant[slot]
            and given.shape == equation.output.shape
            for slot, given in zip(slots, equation.inputs, strict=True)
        )
        if not whole:
            return slots
        found = []
        for slot in slots:
            if slot in self.narrow:
                source, narrow = self.narrow[slot]
                slot = self.slot()
                reshape = lambda x, narrow=narrow: x.reshape(narrow)
                self.instructions.append(Instruction(reshape, (source,), (slot,)))
            found.append(slot)
        return tuple(found)

    def program(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Program:
        """Without instructions whose results nobody reads; large arrays are freed after their
        last use."""
        alive, kept = set(outputs), []
        for step in reversed(self.instructions):
            if alive.isdisjoint(step.outputs):
                continue
            touched = {*step.inputs, *step.outputs}
            dead = tuple(slot for slot in touched - alive if self.large[slot])
            alive.update(step.inputs)
            kept.append(step._replace(dead=dead))
        return Program(self.values, inputs, kept[::-1], outputs)


# Primitives that call a jaxpr: which, and in what slots its arguments are. What else their
# parameters say serves derivatives and compilers, whatever it is. ---------------------------------


def _call(parameter: str):
    return lambda eqn, slots: (eqn.params[parameter], slots)


def _linear_solve(eqn: JaxprEqn, slots: tuple[int, ...]) -> tuple[ClosedJaxpr, tuple[int, ...]]:
    """The solver itself; what else is there serves derivatives."""
    lengths = eqn.params["const_lengths"]
    begin, end = sum(lengths[:2]), sum(lengths[:3])
    return eqn.params["jaxprs"].solve, (*slots[begin:end], *slots[sum(lengths) :])


_CALLS = {
    "jit": _call("jaxpr"),
    "pjit": _call("jaxpr"),
    "closed_call": _call("call_jaxpr"),
    "custom_jvp_call": _call("call_jaxpr"),
    "custom_vjp_call": _call("call_jaxpr"),
    "custom_linear_solve": _linear_solve,
}


# Loops -----------------------------------------------------------------------------------------


def _while(eqn: JaxprEqn, params: Parameters) -> Loop:
    test, body = _lowered(params["cond_jaxpr"]), _lowered(params["body_jaxpr"])
    return While(test, body, params["cond_nconsts"], params["body_nconsts"])


def _scan(eqn: JaxprEqn, params: Parameters) -> Loop:
    constants, carried, sliced = _scan_counts(eqn, params)
    body = params["jaxpr"]
    taken, given = len(body.jaxpr.invars), len(body.jaxpr.outvars)
    if not (constants + carried + sliced == taken == len(eqn.invars) and given == len(eqn.outvars)):
        raise Unsupported("a scan whose arguments are not constants, carried ones and slices")
    stacked = tuple((x.shape, x.dtype) for x in map(_shape, eqn.outvars[carried:]))
    return Scan(_lowered(body), params["length"], constants, carried, stacked, params["reverse"])


def _scan_counts(eqn: JaxprEqn, params: Parameters) -> tuple[int, int, int]:
    """How many arguments stay, are replaced, and are sliced."""
    if "num_carry" in params:  # until JAX 0.10
        constants, carried = params["num_consts"], params["num_carry"]
        return constants, carried, len(eqn.invars) - constants - carried
    constants, carried, sliced = params["ft_in"].unpack()
    return len(constants), len(carried), len(sliced)


def _cond(eqn: JaxprEqn, params: Parameters) -> Loop:
    return Branches(tuple(map(_lowered, params["branches"])))


_LOOPS: dict[str, Callable[[JaxprEqn, Parameters], Loop]] = {
    "while": _while,
    "scan": _scan,
    "cond": _cond,
}
