"""What each primitive of JAX is in NumPy: from an equation of a jaxpr to a function of arrays."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.linalg
from jax.lax import GatherScatterMode

from .._tuned import tuned
from ._products import Product
from ._unsupported import Unsupported


@dataclasses.dataclass(frozen=True)
class Operations:
    """Operations by NumPy.

    Attributes:
        looped: matrices that a loop in Python may go through one by one; more are compiled.
        small: entries of an array that is sooner made than avoided.
    """

    looped: int = 256
    small: int = 4096


INTERPRETED = tuned("interpreted_operations", Operations(), traced=True)


class Equation(NamedTuple):
    """One application of a primitive with one result."""

    name: str
    params: Mapping[str, Any]
    inputs: tuple[jax.ShapeDtypeStruct, ...]
    output: jax.ShapeDtypeStruct


Operation = Callable[[Equation], Callable]


def _divide(eqn: Equation):
    if np.issubdtype(eqn.output.dtype, np.inexact):
        return np.divide
    dtype = eqn.output.dtype
    return lambda x, y: np.where(
        y == 0, -1, np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(np.where(y == 0, 1, y)))
    ).astype(dtype)


def _conjugate(eqn: Equation):
    dtype = eqn.output.dtype  # complex, even of a real operand
    return np.conj if eqn.inputs[0].dtype == dtype else lambda x: x.astype(dtype)


def _integer_pow(eqn: Equation):
    y = eqn.params["y"]
    return lambda x: x**y


def _power(eqn: Equation):
    dtype = eqn.output.dtype  # NumPy's would be double precision for integers of 32 bits and more
    if eqn.inputs[1].dtype == dtype:
        return np.power
    return lambda x, y: np.power(x, y.astype(dtype))


def _convert(eqn: Equation):
    dtype = eqn.params["new_dtype"]
    return lambda x: x.astype(dtype)


_UFUNCS = {
    "abs": np.abs,
    "add": np.add,
    "add_any": np.add,
    "and": np.bitwise_and,
    "ceil": np.ceil,
    "cos": np.cos,
    "eq": np.equal,
    "exp": np.exp,
    "expm1": np.expm1,
    "floor": np.floor,
    "ge": np.greater_equal,
    "gt": np.greater,
    "is_finite": np.isfinite,
    "le": np.less_equal,
    "log": np.log,
    "log1p": np.log1p,
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "not": np.invert,
    "or": np.bitwise_or,
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "square": np.square,
    "sub": np.subtract,
    "tanh": np.tanh,
    "xor": np.bitwise_xor,
}
ELEMENTWISE = frozenset({*_UFUNCS, "conj", "div", "select_n"})

_REDUCTIONS = {
    "reduce_sum": np.add.reduce,
    "reduce_prod": np.multiply.reduce,
    "reduce_max": np.maximum.reduce,
    "reduce_min": np.minimum.reduce,
    "reduce_and": np.logical_and.reduce,
    "reduce_or": np.logical_or.reduce,
}


def _reduction(eqn: Equation):
    reduce = _REDUCTIONS[eqn.name]
    if eqn.name in ("reduce_and", "reduce_or") and eqn.inputs[0].dtype != bool:
        raise Unsupported("a bitwise reduction")
    axes, dtype = tuple(eqn.params["axes"]), eqn.output.dtype
    return lambda x: reduce(x, axis=axes, dtype=dtype)


def _arg_reduction(eqn: Equation):
    function = np.argmax if eqn.name == "argmax" else np.argmin
    (axis,), dtype = eqn.params["axes"], eqn.output.dtype
    return lambda x: np.asarray(function(x, axis=axis)).astype(dtype)


def _select(eqn: Equation):
    which, case = eqn.inputs[:2]
    if which.dtype == bool and len(eqn.inputs) == 3:
        if not which.shape:
            return lambda which, no, yes: yes if which else no
        return lambda which, no, yes: np.where(which, yes, no)

    def call(which, *cases):
        if not which.shape:
            return cases[int(which)]
        return np.select([which == n for n in range(len(cases))], cases).astype(case.dtype)

    return call


# Shapes ----------------------------------------------------------------------------------------


def narrow_shape(eqn: Equation) -> tuple[int, ...]:
    """Of the operand of a `broadcast_in_dim`, with as many axes as the result: NumPy broadcasts
    the rest."""
    narrow = [1] * eqn.output.ndim
    axes = eqn.params["broadcast_dimensions"]
    for axis, size in zip(axes, eqn.inputs[0].shape, strict=True):
        narrow[axis] = size
    return tuple(narrow)


def _broadcast(eqn: Equation):
    shape, narrow = eqn.output.shape, narrow_shape(eqn)
    if math.prod(narrow) == math.prod(shape):
        return lambda x: x.reshape(shape)
    if math.prod(shape) <= INTERPRETED().small:
        dtype = eqn.output.dtype

        def filled(x):
            out = np.empty(shape, dtype)
            out[...] = x.reshape(narrow)
            return out

        return filled
    return lambda x: np.broadcast_to(x.reshape(narrow), shape)


def _reshape(eqn: Equation):
    order, shape = eqn.params.get("dimensions"), eqn.output.shape
    if order is None:
        return lambda x: x.reshape(shape)
    return lambda x: x.transpose(order).reshape(shape)


def _unit_axes(eqn: Equation):
    shape = eqn.output.shape
    return lambda x: x.reshape(shape)


def _transpose(eqn: Equation):
    permutation = tuple(eqn.params["permutation"])
    return lambda x: x.transpose(permutation)


def _iota(eqn: Equation):
    shape, axis, dtype = eqn.params["shape"], eqn.params["dimension"], eqn.params["dtype"]
    narrow = [1] * len(shape)
    narrow[axis] = shape[axis]
    values = np.arange(shape[axis], dtype=dtype).reshape(narrow)
    return lambda: np.broadcast_to(values, shape)


def _slice(eqn: Equation):
    starts, ends = eqn.params["start_indices"], eqn.params["limit_indices"]
    steps = eqn.params["strides"] or (1,) * len(starts)
    where = tuple(map(slice, starts, ends, steps))
    return lambda x: x[where]


def _concatenate(eqn: Equation):
    axis = eqn.params["dimension"]
    return lambda *parts: np.concatenate(parts, axis)


def _stack(eqn: Equation):
    axis = eqn.params["axis"]
    return lambda *parts: np.stack(parts, axis)


def _pad(eqn: Equation):
    config, shape = eqn.params["padding_config"], eqn.output.shape
    if any(low < 0 or high < 0 for low, high, _ in config):
        raise Unsupported("negative padding")
    inside = [
        slice(low, size - high, gap + 1)
        for size, (low, high, gap) in zip(shape, config, strict=True)
    ]
    where, dtype = tuple(inside), eqn.output.dtype

    def call(x, value):
        out = np.full(shape, value, dtype)
        out[where] = x
        return out

    return call


def _reverse(eqn: Equation):
    axes = tuple(eqn.params["dimensions"])
    return lambda x: np.flip(x, axes)


def _start(position, size: int, total: int) -> int:
    return min(max(int(position), 0), total - size)


def _dynamic_slice(eqn: Equation):
    sizes, shape = eqn.params["slice_sizes"], eqn.inputs[0].shape

    def call(x, *positions):
        where = []
        for position, size, total in zip(positions, sizes, shape, strict=True):
            begin = _start(position, size, total)
            where.append(slice(begin, begin + size))
        return x[tuple(where)]

    return call


def _dynamic_update_slice(eqn: Equation):
    shape, sizes = eqn.inputs[0].shape, eqn.inputs[1].shape

    def call(x, update, *positions):
        out = np.array(x)
        where = []
        for position, size, total in zip(positions, sizes, shape, strict=True):
            begin = _start(position, size, total)
            where.append(slice(begin, begin + size))
        out[tuple(where)] = update
        return out

    return call


# Rows by their numbers -------------------------------------------------------------------------


def _whole_rows(window: tuple[int, ...], rank: int, indices) -> bool:
    """Whether the numbers, [rows, 1], pick along the first axis, and the rest stays."""
    return window == tuple(range(1, rank)) and len(indices.shape) == 2 and indices.shape[1] == 1


def _gather(eqn: Equation):
    (source, indices), numbers = eqn.inputs, eqn.params["dimension_numbers"]
    plain = (
        numbers.start_index_map == (0,)
        and numbers.collapsed_slice_dims == (0,)
        and not numbers.operand_batching_dims
        and _whole_rows(tuple(numbers.offset_dims), source.ndim, indices)
        and tuple(eqn.params["slice_sizes"]) == (1, *source.shape[1:])
        and eqn.params["mode"] in (GatherScatterMode.PROMISE_IN_BOUNDS, GatherScatterMode.CLIP)
    )
    if not plain:
        raise Unsupported("a gather of other than rows")
    if eqn.params["mode"] == GatherScatterMode.PROMISE_IN_BOUNDS:
        return lambda x, rows: x[rows[:, 0]]
    last = source.shape[0] - 1
    return lambda x, rows: x[np.clip(rows[:, 0], 0, last)]


def _scatter(eqn: Equation):
    """Puts rows in the place of others: several whose numbers are in range, or one, which is left
    out if its number is out of range."""
    target, indices, _ = eqn.inputs
    numbers, mode = eqn.params["dimension_numbers"], eqn.params["mode"]
    if (
        numbers.scatter_dims_to_operand_dims != (0,)
        or numbers.inserted_window_dims != (0,)
        or numbers.operand_batching_dims
    ):
        raise Unsupported("a scatter of other than rows")
    window = tuple(numbers.update_window_dims)
    sure = mode == GatherScatterMode.PROMISE_IN_BOUNDS and eqn.params["unique_indices"]
    if _whole_rows(window, target.ndim, indices) and sure:
        return _put_rows
    if indices.shape == (1,) and window == tuple(range(target.ndim - 1)):
        return _put_row
    raise Unsupported("a scatter that may meet a row twice")


def _put_rows(x, rows, updates):
    out = np.array(x)
    out[rows[:, 0]] = updates
    return out


def _put_row(x, rows, updates):
    row = int(rows[0])
    if not 0 <= row < len(x):
        return x
    out = np.array(x)
    out[row] = updates
    return out


# Linear algebra --------------------------------------------------------------------------------


def _dot_general(eqn: Equation):
    left, right = eqn.inputs
    product = Product(left.shape, right.shape, *eqn.params["dimension_numbers"])
    dtype = eqn.output.dtype
    if left.dtype == right.dtype == dtype:
        return product
    wide = np.result_type(left.dtype, right.dtype, dtype)  # where sums must not overflow
    return lambda x, y: product(x.astype(wide), y.astype(wide)).astype(dtype)


def _cholesky(eqn: Equation):
    if math.prod(eqn.inputs[0].shape[:-2]) > INTERPRETED().looped:
        raise Unsupported("many small factorizations")

    def call(x):
        try:
            return np.linalg.cholesky(x)
        except np.linalg.LinAlgError:
            if x.ndim == 2:
                return np.full_like(x, np.nan)
            return np.stack([call(part) for part in x])

    return call


def _triangular_solve(eqn: Equation):
    matrix, other = eqn.inputs
    if math.prod(matrix.shape[:-2]) > INTERPRETED().looped:
        raise Unsupported("many small systems")
    options = eqn.params
    (solve,) = scipy.linalg.get_blas_funcs(("trsm",), dtype=matrix.dtype)
    transposed = 0
    if options["transpose_a"]:
        transposed = 2 if options["conjugate_a"] else 1
    elif options["conjugate_a"]:
        raise Unsupported("a conjugated system")
    # In the order of Fortran these are the transposed matrices: sides and triangles swap.
    one = functools.partial(
        solve,
        1.0,
        side=int(options["left_side"]),
        lower=int(not options["lower"]),
        trans_a=transposed,
        diag=int(options["unit_diagonal"]),
    )
    batch = matrix.shape[:-2]

    def call(a, b):
        if not batch:
            return one(a.T, b.T).T
        flat_a, flat_b = a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:])
        out = np.empty_like(flat_b)
        for n in range(len(flat_a)):
            out[n] = one(flat_a[n].T, flat_b[n].T).T
        return out.reshape(other.shape)

    return call


OPERATIONS: dict[str, Operation] = {
    **{name: (lambda eqn, ufunc=ufunc: ufunc) for name, ufunc in _UFUNCS.items()},
    **dict.fromkeys(_REDUCTIONS, _reduction),
    "argmax": _arg_reduction,
    "argmin": _arg_reduction,
    "broadcast_in_dim": _broadcast,
    "cholesky": _cholesky,
    "clamp": lambda eqn: lambda low, x, high: np.clip(x, low, high),
    "complex": lambda eqn: lambda x, y: x + 1j * y,
    "concatenate": _concatenate,
    "conj": _conjugate,
    "convert_element_type": _convert,
    "copy": lambda eqn: np.array,
    "div": _divide,
    "dot_general": _dot_general,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "expand_dims": _unit_axes,
    "gather": _gather,
    "imag": lambda eqn: np.imag,
    "integer_pow": _integer_pow,
    "iota": _iota,
    "pad": _pad,
    "pow": _power,
    "rem": lambda eqn: np.fmod,
    "real": lambda eqn: np.real,
    "reshape": _reshape,
    "rev": _reverse,
    "scatter": _scatter,
    "select_n": _select,
    "slice": _slice,
    "squeeze": _unit_axes,
    "stack": _stack,
    "stop_gradient": lambda eqn: lambda x: x,
    "transpose": _transpose,
    "triangular_solve": _triangular_solve,
}
