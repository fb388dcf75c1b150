"""The files of a run folder."""

import dataclasses
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..io import Reshape, TensorData, save, write_image
from ..plot import draw, plot_path
from ..search import SearchResult
from ._html import report
from ._record import path_csv, result_record

_LIBRARIES = ("tnjax", "jax", "jaxlib", "numpy", "equinox", "optax", "opt_einsum")


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished decomposition.

    Attributes:
        name: of the input.
        data: what was read from it.
        plan: how it was reshaped.
        result: of the search, in the new modes.
        restored: the network's tensor in the shape of the input (what was cropped left out).
        error: of `restored`.
        settings: the options of the run, for `config.yaml`.
    """

    name: str
    data: TensorData
    plan: Reshape
    result: SearchResult
    restored: np.ndarray
    error: float
    settings: dict[str, Any]


def write_run(folder: Path, run: Run) -> None:
    """Write network.safetensors, result.json, path.csv, config.yaml, the images of an image input,
    network.png, path.png and report.html.

    Raises:
        ImportError: if matplotlib is not installed; all but the last three files are there.
        OSError: if a file cannot be written.
    """
    tensor = {
        "input": run.name,
        "source_shape": list(run.plan.source),
        "padded_shape": list(run.plan.padded),
        "splits": [list(split) for split in run.plan.splits],
        "dims": list(run.plan.dims),
    }
    save(folder / "network.safetensors", run.result.network, tensor)
    versions = {"python": sys.version.split()[0], **{name: version(name) for name in _LIBRARIES}}
    record = result_record(run.result)
    record |= {"error_in_source_shape": run.error, "tensor": tensor, "versions": versions}
    (folder / "result.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (folder / "path.csv").write_text(path_csv(run.result.path), encoding="utf-8")
    config = yaml.safe_dump(run.settings, sort_keys=False)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    images = _write_images(folder, run) if run.data.is_image else {}
    _write_pictures(folder, run, images)


def _write_images(folder: Path, run: Run) -> dict[str, bytes]:
    original = run.data.array[tuple(slice(n) for n in run.plan.kept)].astype(np.float64)
    out = {}
    for name, caption, picture in (
        ("original", "Original", original),
        ("reconstruction", "Reconstruction", run.restored),
        ("difference", "Absolute difference", np.abs(original - run.restored)),
    ):
        write_image(folder / f"{name}.png", picture, run.data.white)
        out[caption] = (folder / f"{name}.png").read_bytes()
    return out


def _write_pictures(folder: Path, run: Run, images: dict[str, bytes]) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise ImportError("matplotlib is missing; pip install 'tnjax[plot]'.") from missing
    network, path = (Figure(figsize=(6, 5), layout="constrained") for _ in range(2))
    draw(run.result.structure, network.subplots())
    network.savefig(folder / "network.png", dpi=120)
    plot_path(run.result, path.subplots())
    path.savefig(folder / "path.png", dpi=120)
    report(
        run.result,
        folder / "report.html",
        title=f"tnjax: {run.name}",
        details={
            "tensor": run.plan.describe(),
            "error in the shape of the input": f"{run.error:.5g}",
            "precision": run.settings.get("dtype"),
            "seed": run.settings.get("seed"),
        },
        images=images,
    )
