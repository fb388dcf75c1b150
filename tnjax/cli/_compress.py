"""`tnjax compress`."""

from __future__ import annotations

import dataclasses
import html
import importlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ._arguments import MaybePath, MaybeText
from ._common import InputError, check_out, written_together
from ._imports import find_modules_here
from ._interrupt import heard
from ._progress import Display, displayed, only_shown

if TYPE_CHECKING:  # imported late, so that --help and bad options are answered at once
    from .._report import Section
    from ..nn import CompressResult, GrowStep, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compress:
    """Replace layers of a neural network by tensor networks.

    MODEL names a function that returns an Equinox or Flax nnx model. Weights are approximated,
    ranks shared out among layers by their spectra; with --calibration or --task, by what they do
    to the outputs or the loss. With --task the result is trained, and --method grow lets networks
    grow under the loss. Leaves a folder with model.safetensors, result.json, config.yaml,
    report.html.

    Example: tnjax compress mine.models:classifier --layers "blocks.*" --budget 0.2 --out run
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """module:function that returns the trained model."""
    out: Path
    """Folder to write; it must not exist, or be empty."""
    layers: tuple[str, ...]
    """Paths of layers, or patterns such as "blocks.*"."""
    budget: float
    """Parameters of all networks, or a fraction (below 1) of the weights that they replace."""
    config: MaybePath = None
    """YAML or JSON file with keyword arguments: of the model's function under `model`, of the
    task's under `task`, of the calibration's under `calibration`."""
    task: MaybeText = None
    """module:function that returns a tnjax.nn.Task: loss, batches, validation batches."""
    calibration: MaybeText = None
    """module:function that returns a tnjax.nn.Calibration: unlabeled batches."""
    method: Literal["auto", "grow", "spectra"] = "auto"
    """Approximate by spectra at once, then train where there is a task (auto is the same); or grow
    from there under the task's loss."""
    screen: Literal["gradient", "trial"] = "gradient"
    """How bonds are compared while growing."""
    steps: int = 100
    """Training steps after every move."""
    final_steps: int = 200
    """Training steps at the end."""
    batch_sizes: tuple[int, ...] = (1, 32, 256)
    """Batch sizes at which layers are timed."""
    seed: int = 0
    """Seed of all random numbers."""

    def run(self) -> int:
        with displayed() as display, heard(lambda _: display.line("stopping ...")):
            return _compress(self, display, _Told(display))


def _compress(options: Compress, display: Display, told: _Told) -> int:
    check_out(options.out, False)
    if min(options.batch_sizes, default=1) < 1:
        raise InputError(f"--batch-sizes must be positive, got {options.batch_sizes}.")
    result = _compressed(options, _config(options.config), display, told)
    _write_model(options, result, display)
    with only_shown(f"{options.out / 'report.html'}"), written_together(options.out) as folder:
        _write_page(options, result, folder, display)
    display.close()
    metric = "" if result.metric is None else f", metric {result.metric:.4g}"
    before = "" if result.dense_metric is None else f" (dense {result.dense_metric:.4g})"
    with only_shown("the table"):
        print(result.table(), flush=True)
        if result.reason:
            print(result.reason, flush=True)
    with only_shown("the closing line"):
        print(
            f"{len(result.layers)} layers, {result.num_params} parameters for "
            f"{result.dense_params}{metric}{before}, {result.seconds:.1f} s; see "
            f"{options.out / 'report.html'}",
            flush=True,
        )
    return 0


def _compressed(
    options: Compress, given: dict[str, Any], display: Display, told: _Told
) -> CompressResult:
    """The model, made by the user's functions and compressed as the options say."""
    display.status(f"making {options.model}")
    import jax

    from .. import compress
    from ..nn import Calibration, Grow, Task, Training

    model = _made("model", options.model, given)
    task = None if options.task is None else _made("task", options.task, given, Task)
    calibration = None
    if options.calibration is not None:
        calibration = _made("calibration", options.calibration, given, Calibration)
    grows = options.method == "grow"
    training = Training(steps=options.steps, final_steps=options.final_steps)
    task = None if task is None else told.task(task)
    display.status("looking at the layers")
    return compress(
        model,
        task,
        layers=options.layers,
        budget=options.budget,
        method=Grow(screen=options.screen) if grows else "spectra",
        key=jax.random.key(options.seed),
        calibration=calibration,
        training=None if task is None else training,
        on_step=told.on_step,
    )


def _write_model(options: Compress, result: CompressResult, display: Display) -> None:
    """Write what is a result: the model, the options, the numbers that need no timing."""
    import yaml

    from ..nn import save_model

    settings = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in dataclasses.asdict(options).items()
    }
    display.status("writing the model")
    with written_together(options.out) as folder:
        save_model(folder / "model.safetensors", result.model)
        text = yaml.safe_dump({"command": "compress", **settings}, sort_keys=False)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        _write_record(folder, _record(result, ()))


def _write_page(options: Compress, result: CompressResult, folder: Path, display: Display) -> None:
    """Time the layers, and write the report and the numbers again with the times."""
    from .._report import page_html

    display.status("timing the layers")
    record = _record(result, options.batch_sizes)
    page = page_html(
        "Compressed model",
        _sections(result, record),
        lead=f"<p>{html.escape(options.model)}</p>",
        facts={
            "parameters of the layers": (result.num_params, f"of {result.dense_params}"),
            "metric": (record["metric"], f"dense: {record['dense_metric']}"),
        },
    )
    _write_record(folder, record)
    (folder / "report.html").write_text(page, encoding="utf-8")


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    text = json.dumps(_finite(record), indent=2, allow_nan=False) + "\n"
    (folder / "result.json").write_text(text, encoding="utf-8")


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Told:
    """What growing and training under a task tell a display."""

    def __init__(self, display: Display):
        self._display = display
        self._moves, self._now = 0, "before the first move"

    def task(self, task: Task) -> Task:
        """The task with its training batches counted."""
        held_out = task.batches if task.validation is None else task.validation
        return dataclasses.replace(task, batches=_Counted(task, self), validation=held_out)

    def batch(self, count: int) -> None:
        self._display.status(f"{count} training batches so far; {self._now}")

    def on_step(self, step: GrowStep) -> None:
        grown = ", ".join(f"{name} {edge[0]}-{edge[-1]}" for name, edge, _ in step.grown)
        self._display.row(
            f"{'params':>9}{'metric':>11}  grown",
            f"{step.num_params:>9}{step.metric:>11.4g}  {grown or 'the same networks'}",
        )
        self._now = f"{step.num_params} parameters, metric {step.metric:.4g}, move {self._moves}"
        self._moves += 1
        self._display.status(f"choosing what grows; {self._now}")


class _Counted:
    """Training batches that say how many there have been."""

    def __init__(self, task: Task, told: _Told):
        self._task, self._told, self._count = task, told, 0

    def __iter__(self) -> Iterator[Any]:
        given = self._task.batches
        for batch in given() if callable(given) else given:
            self._count += 1
            self._told.batch(self._count)
            yield batch


def _config(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: not YAML or JSON ({error}).") from error
    known = ("model", "task", "calibration")
    if not isinstance(found, dict) or not set(found) <= set(known):
        raise InputError(f"--config {path}: expected the keys {', '.join(known)}, got {found!r}.")
    for key, value in found.items():
        if not isinstance(value, dict):
            raise InputError(f"--config {path}: {key} must hold keyword arguments, got {value!r}.")
    return found


def _made(what: str, name: str, given: dict[str, Any], kind: type | None = None) -> Any:
    """Call the function that "module:function" names; modules beside the user are found too."""
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise InputError(f"{what} {name!r}: expected module:function, such as mine.models:make.")
    find_modules_here()
    try:
        make = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise InputError(f"{what} {name!r}: the module cannot be imported ({error}).") from error
    except AttributeError as error:
        raise InputError(f"{what} {name!r}: {module} has no {function!r}.") from error
    try:
        made = make(**given.get(what, {}))
    except TypeError as error:
        raise InputError(f"{what} {name!r}: the call failed ({error}).") from error
    if kind is not None and not isinstance(made, kind):
        raise InputError(f"{what} {name!r}: returned {type(made).__name__}, not {kind.__name__}.")
    return made


def _record(result: CompressResult, batch_sizes: tuple[int, ...]) -> dict[str, Any]:
    """Everything about the run as plain values; layers are timed here."""
    from ..nn import adapter_for, dense_layout, layer_cost
    from ..nn.model import core_names

    adapter = adapter_for(result.model)
    arrays, _ = adapter.arrays(result.model)
    slots = adapter.slots(result.model)
    layers, timed = [], {}

    def cost(layout: Any, cores: list[Any], batch: int) -> dict[str, Any]:
        """Measured once for all layers of one structure."""
        key = (layout, str(cores[0].dtype), batch)
        if key not in timed:
            timed[key] = dataclasses.asdict(layer_cost(layout, cores, batch))
        return timed[key]

    for layer in result.layers:
        matrix = slots[layer.name].matrix
        cores = [matrix]
        if not layer.dense:
            cores = [arrays[name] for name in core_names(layer.name, layer.layout)]
        for _ in slots[layer.name].stack:  # of stacked layers the first one
            matrix, cores = matrix[0], [core[0] for core in cores]
        costs = []
        for batch in batch_sizes if layer.kind != "embedding" else ():
            dense = cost(dense_layout(*layer.shape), [matrix], batch)
            costs.append({"network": cost(layer.layout, cores, batch), "dense": dense})
        layers.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "shape": list(layer.shape),
                "dense_params": layer.dense_params,
                "num_params": layer.num_params,
                "error": layer.error,
                "output_error": layer.output_error,
                "dense": layer.dense,
                "layout": layer.layout.to_dict(),
                "costs": costs,
            }
        )
    return {
        "num_params": result.num_params,
        "dense_params": result.dense_params,
        "metric": result.metric,
        "dense_metric": result.dense_metric,
        "status": result.status.name,
        "seconds": result.seconds,
        "reason": result.reason,
        "skipped": {skipped.name: skipped.reason for skipped in result.skipped},
        "rows": [dataclasses.asdict(row) for row in result.rows],
        "layers": layers,
        "path": _path(result),
    }


def _path(result: CompressResult) -> list[dict[str, Any]]:
    """The moves as plain values."""
    return [
        {
            "grown": [[name, list(edge), rank] for name, edge, rank in step.grown],
            "num_params": step.num_params,
            "metric": step.metric,
            "status": step.status.name,
        }
        for step in result.path
    ]


def _sections(result: CompressResult, record: dict[str, Any]) -> list[Section]:
    from .._report import Curves, Table

    sections: list[Section] = []
    if record["rows"]:
        kinds = ("name", "num_params", "error", "output_error", "metric")
        words = ("", "parameters", "weight error", "output error", "metric")
        rows = [tuple("" if row[k] is None else row[k] for k in kinds) for row in record["rows"]]
        note = "SVDs of as many parameters as the result has, before any training, and the result."
        sections.append(Table("Compared", words, rows, note))
    sections += [
        Table(
            "Layers",
            ("layer", "kind", "rows", "columns", "dense", "now", "weight error", "output error"),
            [
                (
                    *(x["name"], x["kind"], *x["shape"], x["dense_params"], x["num_params"]),
                    *(x["error"], "" if x["output_error"] is None else x["output_error"]),
                )
                for x in record["layers"]
            ],
            "Parameters of the dense weight and of what is there now; errors are relative.",
        ),
        _drawings("Structures", {x.name: x.layout.structure for x in result.layers}),
        Table(
            "Speed and memory",
            (
                *("layer", "batch", "forward ms", "dense ms", "backward ms", "dense ms"),
                *("backward MiB", "dense MiB"),
            ),
            [
                (
                    layer["name"],
                    cost["network"]["batch"],
                    1e3 * cost["network"]["forward"],
                    1e3 * cost["dense"]["forward"],
                    1e3 * cost["network"]["backward"],
                    1e3 * cost["dense"]["backward"],
                    cost["network"]["backward_bytes"] / 2**20,
                    cost["dense"]["backward_bytes"] / 2**20,
                )
                for layer in record["layers"]
                for cost in layer["costs"]
            ],
            "Medians as measured on this machine; a network can be slower than the dense layer.",
        ),
    ]
    if len(result.path) > 1:
        points = [(step.num_params, step.metric) for step in result.path]
        sections.append(Curves("Growth", "parameters", "metric", {"validation": points}))
    return sections


def _drawings(title: str, structures: dict[str, Any]) -> Section:
    from .._report import Section
    from ..plot import structure_svg

    @dataclasses.dataclass(frozen=True)
    class Drawings(Section):
        title: str

        def body(self) -> str:
            figures = (
                f"<figure>{structure_svg(structure)}<figcaption>{html.escape(name)}</figcaption>"
                "</figure>"
                for name, structure in structures.items()
            )
            return f'<div class="row">{"".join(figures)}</div>'

    return Drawings(title)
