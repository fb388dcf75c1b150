"""`tnjax decompose`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._common import (
    InputError,
    check_search_options,
    display_of,
    parse_dims,
    run_search,
    set_up_devices,
    set_up_jax,
    settings,
    write_together,
    written_by_first,
    written_together,
)
from ._options import DecomposeOptions

if TYPE_CHECKING:
    import numpy as np

    from .._report import Section
    from .._search.result import SearchResult
    from ..io import Reshape, TensorData
    from ..sweep import Watch
    from ._progress import Display

# Entries up to which slices are compared in size for a hint, and their errors are reported.
_LOOKED_AT = 10**7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decompose(DecomposeOptions):
    """Learn a tensor network that approximates a tensor or an image.

    Grows a network from rank one until the error is reached or the parameters are used, prunes
    it, and writes a run folder: network.safetensors, result.json, path.csv, config.yaml,
    report.html and pictures. At least one of --target-error and --max-params is needed.

    Example: tnjax decompose photo.png --reshape auto --target-error 0.1 --out run
    """

    def run(self, watch: Watch | None = None) -> int:
        with display_of(self, watch) as display:
            return _decompose(self, watch, display)


def _decompose(options: Decompose, watch: Watch | None, display: Display) -> int:
    _check(options)
    display.status(f"reading {options.input.name}")
    mesh = set_up_devices(options, display)

    from ._observed import about_tensor
    from ._sparse import decompose_sparse, lists_entries
    from ._stability import bonds_again
    from ._streamed import decompose_streamed, too_large

    if lists_entries(options):
        if mesh is not None:
            raise InputError("--devices, --mesh and --coordinator are for dense input.")
        return decompose_sparse(options, watch, display)
    file = too_large(options)
    if file is not None:
        if mesh is not None:
            raise InputError(
                f"--devices, --mesh and --coordinator need a tensor that fits into memory, and "
                f"{options.input} is too large for the memory limit."
            )
        set_up_jax(options)
        return decompose_streamed(options, file, watch, display)
    data = _read(options)
    plan, values = _reshaped(options, data.array)

    from .. import Decomposition
    from .._processes import leads
    from .._search.result import restored_result
    from ..problems import standardized
    from ..problems.scales import uneven_modes
    from ._standardize import modes_to_standardize, tell_uneven

    set_up_jax(options)
    plain = plan.dims == plan.source
    modes = modes_to_standardize(options.standardize, plan.dims, data.modes, plain)
    scales = None
    if modes:
        values, scales = standardized(values, modes)
    elif plain and values.size <= _LOOKED_AT and leads(mesh):
        tell_uneven(uneven_modes(values), data.modes, display)
    problem = Decomposition(values, mesh=mesh)
    about = about_tensor(options.input, data)
    if about and leads(mesh):
        display.line(about)
    title = f"{options.input.name}: {plan.describe()}"
    result = run_search(options, problem, title, watch, display)
    sections = bonds_again(options, problem, result, display) if leads(mesh) else ()
    if scales is not None:
        result = restored_result(result, scales)

    def write() -> str:
        _write(options, data, plan, result, values.dtype, sections)
        if options.certificate:
            display.status("computing the certificate")
            with written_together(options.out) as folder:
                _certify(values, options.target_error, folder, display)
        return ""

    return written_by_first(options, mesh, result, write, display)


def _check(options: Decompose) -> None:
    """Raise `InputError` for an option that cannot be meant."""
    check_search_options(options)
    if options.target_error is not None and options.target_error > 1:
        raise InputError(
            f"--target-error {options.target_error:g}: zeros have a relative error of 1 already; "
            f"write {options.target_error / 100:g} or {options.target_error:g}% for "
            f"{options.target_error:g} percent."
        )
    if options.certificate and not 0 < (options.target_error or 0.0) < 1:
        raise InputError("--certificate needs a --target-error below 1.")
    if options.stability < 0:
        raise InputError(f"--stability must be 0 or more, got {options.stability}.")
    if options.stability and (options.devices or options.mesh or options.coordinator):
        raise InputError("--stability is for one device: leave --devices and --mesh out.")
    parse_dims(options.reshape)


def _read(options: Decompose) -> TensorData:
    """The tensor, its axes named as --names says."""
    from ._observed import read_named

    data = read_named(options.input, options.variable)
    if options.names is None:
        return data
    return data.with_axes([name.strip() for name in options.names.split(",")])


def _reshaped(options: Decompose, array: np.ndarray) -> tuple[Reshape, np.ndarray]:
    """The modes to work in, and the tensor in them, in the precision asked for."""
    import numpy as np

    from ..io import plan_reshape

    _check_finite(options.input, array)
    dims = parse_dims(options.reshape, array.shape) or array.shape
    plan = plan_reshape(array.shape, dims, digits=options.digits, fit=options.fit)
    kind = np.result_type(
        np.dtype(options.dtype), np.complex64 if np.iscomplexobj(array) else np.float32
    )
    with np.errstate(over="ignore"):
        values = plan.apply(array).astype(kind, copy=False)
    if not np.isfinite(values).all():
        raise InputError(f"{options.input}: the entries are too large for {options.dtype}.")
    return plan, values


def _write(
    options: Decompose,
    data: TensorData,
    plan: Reshape,
    result: SearchResult,
    kind: np.dtype,
    sections: Sequence[Section],
) -> None:
    """Write the run folder, with the error on the tensor as it was read."""
    import numpy as np

    from .._network import relative_error
    from .._report.run import decomposition_run
    from ..io import write_labels

    restored, error = None, result.error
    cut_or_filled = not plan.source == plan.kept == plan.padded
    if data.is_image or cut_or_filled or data.array.size <= _LOOKED_AT:
        restored = plan.undo(np.asarray(result.network.to_dense()))
    if restored is not None and (data.is_image or cut_or_filled):
        original = plan.cut(data.array)
        error = float(relative_error(restored, original.astype(kind)))
    run = decomposition_run(
        options.input.name, data, plan, result, restored, error, settings("decompose", options)
    )
    run = dataclasses.replace(run, sections=(*sections, *run.sections))

    def more(folder: Path) -> None:
        if data.modes is not None:
            write_labels(folder / "labels.json", data.modes)

    write_together(options.out, run, more)


def _certify(
    values: np.ndarray, target_error: float | None, folder: Path, display: Display
) -> None:
    """Print the certificate of the cut bounds and write it beside the result."""
    from .._search.spectra.cuts import cut_bounds

    assert target_error is not None
    certificate = cut_bounds(values, target_error).certificate()
    structure = certificate.structure
    record = {
        "statement": str(certificate),
        "num_params": certificate.num_params,
        "target_error": certificate.target_error,
        "tight": certificate.tight,
        "structure": None if structure is None else json.loads(structure.to_json()),
    }
    text = json.dumps(record, indent=1) + "\n"
    (folder / "certificate.json").write_text(text, encoding="utf-8")
    display.close()  # what follows is the result
    print(certificate)


def _check_finite(path: Path, array: np.ndarray) -> None:
    import numpy as np

    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise InputError(
            f"{path}: {bad} of {array.size} entries are NaN or infinite; replace or crop them, "
            "or let tnjax complete predict them."
        )
    if array.size and not np.any(array):
        raise InputError(f"{path}: every entry is zero, so a relative error has no meaning.")
