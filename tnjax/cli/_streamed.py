"""`tnjax decompose` for tensors that are too large for memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ._common import InputError, conclude, parse_dims, run_search, settings, write_together
from ._reading import ToldTensor

if TYPE_CHECKING:
    from ..io import TensorFile
    from ..problems import StreamedDecomposition
    from ..sweep import Watch
    from ._options import DecomposeOptions
    from ._progress import Display

# Arrays of the size of the tensor, in the precision asked for, that a decomposition in memory has
# alive at its worst moment: as read, normalized, and projected in double precision.
_COPIES = 4


def too_large(options: DecomposeOptions) -> TensorFile | None:
    """The input as a tensor that stays on disk, if memory does not hold it; else None.

    Only with a target error, which a projection needs.
    """
    from ..contract.cost import parse_bytes
    from ..io import open_tensor
    from ..problems import memory_of_machine

    if options.target_error is None or options.target_error >= 1:
        return None
    file = open_tensor(options.input, options.variable)
    if file is None or not file.shape:
        return None
    limit = memory_of_machine() // 2
    if options.memory_limit is not None:
        limit = parse_bytes(options.memory_limit)
    needed = _COPIES * math.prod(file.shape) * _kind(options, file.dtype).itemsize
    return file if needed > limit else None


def decompose_streamed(
    options: DecomposeOptions, file: TensorFile, watch: Watch | None, display: Display
) -> int:
    """Search on the projected tensor, and measure the error on the one on disk."""
    from .._report.run import decomposition_run
    from ..contract.cost import format_bytes, parse_bytes
    from ..io import plan_reshape
    from ..problems import StreamedDecomposition

    for name, given in (
        ("--digits interleaved", options.digits != "row-major"),
        ("--fit", options.fit != "exact"),
        ("--certificate", options.certificate),
        ("--standardize", options.standardize is not None),
        ("--stability", options.stability > 0),
        ("--names", options.names is not None),
    ):
        if given:
            raise InputError(
                f"{name} needs the tensor in memory, but {options.input} "
                f"({format_bytes(file.nbytes)}) is too large for the memory limit."
            )
    dims = parse_dims(options.reshape, file.shape) or file.shape
    plan = plan_reshape(file.shape, dims)
    limit = None if options.memory_limit is None else parse_bytes(options.memory_limit)
    try:
        problem = StreamedDecomposition(
            ToldTensor(file, display),
            _kind(options, file.dtype),
            None if dims == file.shape else dims,
            limit,
        )
    except ValueError as error:
        raise InputError(f"{options.input}: {error}") from error
    display.line(f"{options.input.name}: {_words(problem, file)}")
    title = f"{options.input.name}: {plan.describe()}"
    try:
        result = run_search(options, problem, title, watch, display)
    except ValueError as error:
        raise InputError(f"{options.input}: {error}") from error
    run = decomposition_run(
        options.input.name, None, plan, result, None, result.error, settings("decompose", options)
    )
    write_together(options.out, run)
    display.close()
    return conclude(options, result)


def _kind(options: DecomposeOptions, dtype: np.dtype) -> np.dtype:
    real = np.dtype(options.dtype)
    return np.result_type(real, np.complex64) if dtype.kind == "c" else real


def _words(problem: StreamedDecomposition, file: TensorFile) -> str:
    from ..contract.cost import format_bytes

    plan = problem.plan
    return (
        f"{format_bytes(file.nbytes)} stay on disk, read twice in slabs of "
        f"{format_bytes(plan.slab_bytes)}; arrays take at most {format_bytes(plan.peak_bytes)}"
    )
