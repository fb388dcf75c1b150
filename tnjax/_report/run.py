"""The files of a run folder, and its report again from them."""

import dataclasses
import io
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .._search.result import SearchResult
from ..io import Reshape, TensorData, save, write_image
from ..plot import structure_svg
from .archive import save_archive
from .html import RELATIVE, Page, write_report
from .record import load_result, path_csv, read_record, result_record
from .search import curve
from .section_files import read_section, section_record
from .sections import Pictures, Section, cell_text
from .slices import dense_sums, slice_table

_LIBRARIES = ("tnjax", "jax", "jaxlib", "numpy", "equinox", "optax", "opt_einsum")


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run of any kind, as its folder keeps it.

    Attributes:
        title: heading of the report.
        result: of the search.
        settings: the options of the run, for `config.yaml`; `target_error` is marked in the report.
        tensor: what the modes of the network stand for, kept beside it and in `result.json`.
        details: more about the run, for the report.
        sections: more parts of the report: `Table`, `Curves`, `Pictures`, `HeatMaps`.
        extra: more keys of `result.json`.
        error: what the error is: on an axis, and below the number.
    """

    title: str
    result: SearchResult
    settings: Mapping[str, Any]
    tensor: Mapping[str, Any]
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sections: Sequence[Section] = ()
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    error: tuple[str, str] = RELATIVE


def write_run(folder: Path, run: Run) -> None:
    """Write a run folder: what `write_result` does, and then what `write_pages` does.

    Raises:
        OSError: if a file cannot be written.
    """
    write_result(folder, run)
    write_pages(folder, run)


def write_result(folder: Path, run: Run) -> None:
    """Write what a run has found: network.safetensors, archive.safetensors, result.json, path.csv,
    config.yaml, and the pictures of the sections.

    Raises:
        OSError: if a file cannot be written.
    """
    save(folder / "network.safetensors", run.result.network, dict(run.tensor))
    save_archive(folder / "archive.safetensors", run.result.archive)
    record = result_record(run.result)
    record |= {**run.extra, "tensor": dict(run.tensor), "versions": versions()}
    record["report"] = {
        "title": run.title,
        "error": list(run.error),
        "details": {key: cell_text(value) for key, value in run.details.items()},
        "sections": [section_record(section, folder) for section in run.sections],
    }
    write_text(folder / "result.json", json.dumps(record, indent=1) + "\n")
    write_text(folder / "path.csv", path_csv(run.result.path))
    write_text(folder / "config.yaml", yaml.safe_dump(dict(run.settings), sort_keys=False))


def write_pages(folder: Path, run: Run, to: Path | None = None) -> None:
    """Write what a person looks at: network.svg, path.svg, report.html.

    Args:
        folder: where `write_result` has written.
        run: the same.
        to: the folder to write to; the same by default.

    Raises:
        OSError: if a file cannot be written.
    """
    to = folder if to is None else to
    modes, target = run.tensor.get("modes"), run.settings.get("target_error")
    write_text(to / "network.svg", structure_svg(run.result.structure, names=modes))
    write_text(to / "path.svg", curve(run.result, target, run.error[0])[0])
    rebuild_report(folder, to / "report.html")


def rebuild_report(folder: Path, path: Path | None = None) -> Path:
    """Write the report of a run folder again, from the other files in it.

    Args:
        folder: of the run.
        path: of the report; `report.html` in the folder by default.

    Returns:
        the path.

    Raises:
        ValueError: if a file is damaged.
        OSError: if one cannot be read or written.
    """
    record, result = read_record(folder), load_result(folder)
    page = record.get("report", {})
    try:
        title, details = str(page.get("title", folder.name)), dict(page.get("details", {}))
        sections = [read_section(section, folder) for section in page.get("sections", [])]
        found = dict(record.get("versions", {}))
        word, remark = map(str, page.get("error", RELATIVE))
        modes = _modes(record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'result.json'}: {error}") from error
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        settings = yaml.safe_load(text) or {}
    except FileNotFoundError:
        settings = {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder / 'config.yaml'}: damaged ({error}).") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{folder / 'config.yaml'}: damaged (not a table of options).")
    path = folder / "report.html" if path is None else path
    shown = Page(title, details, {}, sections, settings, found, modes, (word, remark))
    write_report(result, path, shown)
    return path


def _modes(record: Mapping[str, Any]) -> list[str] | None:
    """Names of the modes of the network, where they have some."""
    tensor = record.get("tensor", {})
    names = tensor.get("modes")
    return None if names is None or len(names) != len(tensor["dims"]) else list(map(str, names))


def versions() -> dict[str, str]:
    """Of Python and the libraries that decide the numbers."""
    return {"python": sys.version.split()[0], **{name: version(name) for name in _LIBRARIES}}


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def decomposition_run(
    name: str,
    data: TensorData | None,
    plan: Reshape,
    result: SearchResult,
    restored: np.ndarray | None,
    error: float,
    settings: Mapping[str, Any],
) -> Run:
    """The run of a decomposition.

    Args:
        name: of the input.
        data: what was read from it; None if it stays on disk.
        plan: how it was reshaped.
        result: of the search, in the new modes.
        restored: the network's tensor in the shape of the input (what was cropped left out), for
            the pictures of an image and the errors of slices of any other tensor; needed for an
            image only.
        error: in the shape of the input.
        settings: the options of the run.
    """
    tensor = {
        "input": name,
        "source_shape": list(plan.source),
        "padded_shape": list(plan.padded),
        "splits": [list(split) for split in plan.splits],
        "dims": list(plan.dims),
    }
    names = None if data is None else plan.names(data.axes)
    if names is not None:
        tensor["modes"] = list(names)
    details = {
        "tensor": plan.describe(),
        "error in the shape of the input": f"{error:.5g}",
        "precision": str(result.network.dtype),
        "seed": settings.get("seed"),
    }
    sections: list[Section] = []
    if data is not None and restored is not None and data.is_image:
        original = plan.cut(data.array).astype(np.float64)
        pictures = {
            "Original": original,
            "Reconstruction": restored,
            "Difference": np.abs(original - restored),
        }
        png = {caption: image_png(picture, data.white) for caption, picture in pictures.items()}
        sections.append(Pictures("Images", png, "The difference is absolute: black is none."))
    elif data is not None and restored is not None:
        sums = dense_sums(restored, plan.cut(data.array).astype(restored.dtype))
        sections.append(slice_table({"relative error": sums}, data.modes))
    extra = {"error_in_source_shape": error}
    return Run(f"tnjax: {name}", result, settings, tensor, details, sections, extra)


def image_png(array: np.ndarray, white: float) -> bytes:
    """[height, width] or [height, width, 3] as PNG data; values past the range are clipped."""
    out = io.BytesIO()
    write_image(out, array, white)
    return out.getvalue()
