"""`tnjax decompose` for tensors of which only some entries are listed; all others are zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._common import InputError, conclude, run_search, set_up_jax, settings, write_together

if TYPE_CHECKING:
    from ..sweep import Watch
    from ._progress import Display


def lists_entries(options: Any) -> bool:
    """Whether the input lists entries: `.tns`, or an `.npz` of coordinates or a sparse array. (What
    a table does not list is unknown: that is for `tnjax complete`.)"""
    from ..io import holds_coordinates

    path = options.input
    name = path.name.lower().removesuffix(".gz")
    return name.endswith((".tns", ".npz")) and path.is_file() and holds_coordinates(path)


def decompose_sparse(options: Any, watch: Watch | None, display: Display) -> int:
    """Search by least squares over all cells, none of which is made."""
    from .._report.run import decomposition_run
    from ..io import plan_reshape, read_coordinates
    from ..problems import SparseDecomposition

    for name in ("reshape", "variable", "certificate", "standardize", "names", "stability"):
        if getattr(options, name):
            raise InputError(f"--{name} is for dense input; {options.input} lists entries.")
    found = read_coordinates(options.input)
    if found.weights is not None:
        raise InputError(
            f"{options.input}: weights of single entries are for tnjax complete; a decomposition "
            "fits all cells alike."
        )
    set_up_jax(options)
    real = np.dtype(options.dtype)
    kind = np.result_type(real, np.complex64) if np.iscomplexobj(found.values) else real
    try:
        problem = SparseDecomposition(
            found.indices, found.values.astype(kind), found.shape, duplicates="sum"
        )
    except ValueError as error:
        raise InputError(f"{options.input}: {error}") from error
    display.line(
        f"{options.input.name}: {found.describe()}; all other cells are zero, and what is listed "
        "more than once is added up"
    )
    plan = plan_reshape(found.shape, found.shape)
    title = f"{options.input.name}: {plan.describe()}"
    result = run_search(options, problem, title, watch, display)
    run = decomposition_run(
        options.input.name, None, plan, result, None, result.error, settings("decompose", options)
    )
    write_together(options.out, run)
    display.close()
    return conclude(options, result)
