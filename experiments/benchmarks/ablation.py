"""What depends on the tuned constants: half and twice the value of each, a table and a JSON file.

    python experiments/benchmarks/ablation.py --out ablation.json --table docs/constants.md
    python experiments/benchmarks/ablation.py --only rival.better inference.white --small
    python experiments/benchmarks/ablation.py --only all --seconds 3600 --out ablation.json

The tensors are none that the constants were tuned on: planted structures of other sizes and seeds
than those of `planted.py`, completions of some of them, and crops of images of scikit-image other
than camera. For each constant and factor: the parameters, the error and the work (a forecast in
flops, the same on every machine) of the search on each tensor, beside those of the default.

A constant decides if a search ends with other parameters, another status, or an error above the
target that is another one by 1 %. One that changes nothing but the way there is said to change
the work only.

Where a search never reads a constant (see `tnjax.constants.recorded`) it is not run: nothing can
change. A tuple is changed number by number, an integer rounded and at least 1. Of a factor about 1,
such as a tolerance, the distance from 1 is halved and doubled. A value that is the same afterwards
is left out.
"""

import argparse
import dataclasses
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import tnjax
from tnjax import Structure, TensorNetwork, constants

FACTORS = (0.5, 2.0)
# Those that are known to decide, and the factors of effort; then others of growth and its end.
FIRST = (
    "growth.burst_score",
    "growth.burst_gain",
    "growth.far",
    "growth.far_power",
    "measuring.definite",
    "inference.white",
    "rival.better",
    "grouped.better",
    "effort.large",
    "effort.deciding",
    "inference.first",
    "grouped.ranks",
    "grouped.ridge",
    "grouped.ridge_factor",
    "grouped.ridge_units",
    "effort.floor",
    "effort.again",
    "shrinking.swap_effort",
    "shrinking.far",
    "shrinking.refit_factor",
    "tries.steps",
    "inference.inside",
    "inference.last",
    "rival.growth",
    "rival.inside",
    "grouped.sweeps",
    "grouped.useful",
    "screens.ridge",
)
# Factors about 1, of which only the distance from 1 means anything.
NEAR_ONE = (
    "growth.far_power",
    "grouped.better",
    "grouped.hopeful",
    "grouped.nothing",
    "grouped.ridge_factor",
    "inference.white",
    "measuring.definite",
    "neighbors.bold",
    "proposing.bold",
    "rival.better",
    "rival.growth",
    "rival.inside",
    "shrinking.far",
)
HEAD = """# Tuned constants

What half and twice the value of a tuned constant changes, as `experiments/benchmarks/ablation.py`
finds it on tensors that it was not tuned on (see there for what they are and what "decides" means).
Parameters and work are those beside the default's, the smallest and the largest ratio over all
tensors whose search reads the constant. `tnjax.constants.listed()` gives the meaning of each.
"""


@dataclasses.dataclass(frozen=True)
class Case:
    """A tensor, or some of its entries, and what is searched for.

    Attributes:
        make: gives the problem.
        target: relative error.
        options: of the search besides.
    """

    make: Callable[[], Any]
    target: float
    options: tuple[tuple[str, Any], ...] = ()


def planted(structure: Structure, seed: int, noise: float = 0.0) -> np.ndarray:
    """The tensor of a random network, with white noise relative to its norm."""
    rng = np.random.default_rng([17, seed])
    cores = [rng.standard_normal(structure.core_shape(k)) for k in range(structure.num_nodes)]
    tensor = np.asarray(TensorNetwork(structure, cores).to_dense())
    dirt = rng.standard_normal(tensor.shape)
    return tensor + noise * np.linalg.norm(tensor) / np.linalg.norm(dirt) * dirt


def decomposition(structure: Structure, seed: int, noise: float = 0.0) -> Callable[[], Any]:
    return lambda: tnjax.Decomposition(planted(structure, seed, noise))


def completion(structure: Structure, seed: int, share: float) -> Callable[[], Any]:
    """A problem with a share of the entries, a tenth of them held out."""

    def make() -> Any:
        tensor = planted(structure, seed)
        rng = np.random.default_rng([18, seed])
        indices = np.argwhere(rng.random(tensor.shape) < share)
        values = tensor[tuple(indices.T)]
        key = jax.random.key(seed)
        return tnjax.Completion(indices, values, tensor.shape, validation=0.1, key=key)

    return make


def crop(name: str, pixels: int, dims: tuple[int, ...]) -> Callable[[], Any]:
    """The middle of a picture, grey, as a tensor of its pixels in row-major order."""

    def make() -> Any:
        import skimage.color
        import skimage.data

        image = np.asarray(getattr(skimage.data, name)())
        if image.ndim == 3:
            image = 255 * skimage.color.rgb2gray(image[..., :3])
        top, left = ((n - pixels) // 2 for n in image.shape)
        part = image[top : top + pixels, left : left + pixels].astype(np.float64)
        return tnjax.Decomposition(part.reshape(dims))

    return make


def _loop(dims: tuple[int, ...], around: tuple[int, ...], ranks: tuple[int, ...]) -> Structure:
    pairs = zip(around, (*around[1:], around[0]), strict=True)
    return Structure.from_edges(dims, dict(zip(pairs, ranks, strict=True)))


_TREE = Structure.from_edges((5, 6, 4, 5, 6), {(0, 2): 2, (1, 2): 3, (2, 3): 2, (3, 4): 3})
_RING = _loop((5, 6, 7, 5, 4), (0, 2, 4, 1, 3), (2, 3, 2, 2, 3))
_CHORD = Structure.from_edges((7, 6, 8, 7), {(0, 1): 2, (1, 2): 3, (2, 3): 2, (0, 3): 3, (0, 2): 2})

CASES = {
    "tree": Case(decomposition(_TREE, 1), 1e-4),
    "ring": Case(decomposition(_RING, 2), 1e-4),
    "noisy ring": Case(decomposition(_RING, 3, 0.05), 0.052),
    "chord": Case(decomposition(_CHORD, 4), 1e-4),
    "cp": Case(decomposition(Structure.cp((6, 7, 5, 6), 3), 5, 0.02), 0.025),
    "completed train": Case(
        completion(Structure.tensor_train((9, 8, 7, 9), (2, 3, 2)), 6, 0.4),
        1e-2,
        (("max_params", 400),),
    ),
    "completed ring": Case(
        completion(_loop((6, 7, 6, 7), (0, 2, 1, 3), (2, 2, 2, 2)), 7, 0.5),
        1e-2,
        (("max_params", 300),),
    ),
    "coins": Case(crop("coins", 64, (4, 4, 4, 4, 4, 4)), 0.12),
    "brick": Case(crop("brick", 64, (8, 8, 8, 8)), 0.08),
    "grass": Case(crop("grass", 64, (8, 8, 8, 8)), 0.2),
    "page": Case(crop("page", 64, (8, 8, 8, 8)), 0.08),
    "moon": Case(crop("moon", 64, (4, 4, 4, 4, 4, 4)), 0.03),
}
SMALL = {
    "small train": Case(decomposition(Structure.tensor_train((4, 5, 4), 2), 1), 1e-4),
    "small rough": Case(decomposition(Structure.rank_one((3, 4, 3)), 2, 0.8), 0.4),
}


class Weighed(tnjax.Greedy):
    """The default strategy, which also says what its steps took."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "work", [])

    def init(self, *words, **options):
        state, info = super().init(*words, **options)
        self.work.append(info.work)
        return state, info

    def step(self, *words, **options):
        state, info = super().step(*words, **options)
        self.work.append(info.work)
        return state, info


def run(case: Case) -> dict[str, Any]:
    """What one search gives, without times: the same whenever it runs on a machine."""
    strategy = Weighed()
    found = tnjax.search(
        case.make(),
        key=jax.random.key(0),
        target_error=case.target,
        strategy=strategy,
        **dict(case.options),
    )
    return {
        "params": found.num_params,
        "error": found.error,
        "fitted": found.fitted,
        "work": sum(strategy.work),
        "status": found.status.value,
    }


def default(case: Case) -> dict[str, Any]:
    """The same with nothing overridden, the constants that it reads, its seconds, and whether two
    searches are equal: else other values cannot be compared."""
    with constants.recorded() as read:
        first = run(case)
    begin = time.perf_counter()
    result = run(case)
    seconds = time.perf_counter() - begin
    return {**result, "read": sorted(read), "seconds": seconds, "repeats": result == first}


def changed(name: str, value: Any, factor: float) -> Any:
    """The value times a factor."""
    if isinstance(value, tuple):
        return tuple(changed(name, number, factor) for number in value)
    other = 1 + factor * (value - 1) if name in NEAR_ONE else factor * value
    return max(1, round(other)) if isinstance(value, int) else other


def compare(name: str, case: Case, found: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """A result beside the default's."""
    missed = max(found["error"], usual["error"]) > case.target
    other_error = missed and abs(found["error"] / usual["error"] - 1) > 0.01
    return {
        "tensor": name,
        **found,
        "decides": other_error or any(found[key] != usual[key] for key in ("params", "status")),
        "params_ratio": found["params"] / usual["params"],
        "error_ratio": found["error"] / usual["error"] if usual["error"] else 1.0,
        "work_ratio": found["work"] / usual["work"],
        "same": all(usual[key] == value for key, value in found.items()),
    }


def verdict(runs: list[dict[str, Any]]) -> str:
    """Of a constant, by all its runs."""
    if not runs:
        return "not run"
    if any(run["decides"] for run in runs):
        return "decides"
    return "no effect" if all(run["same"] for run in runs) else "work only"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All constants asked for, on all tensors; written after each, so that a run that is stopped
    goes on where it was."""
    cases = SMALL if options.small else CASES
    cases = {name: cases[name] for name in options.tensors or cases}
    names = options.only or list(FIRST)
    if names == ["all"]:
        names = [constant.name for constant in constants.listed()]
    found = _begun(options.out)
    begin = time.perf_counter()
    late = lambda: options.seconds and time.perf_counter() - begin > options.seconds
    usual = found["default"]
    for tensor, case in cases.items():
        if tensor not in usual and not late():
            usual[tensor] = default(case)
            seconds = f"{usual[tensor]['seconds']:>8.1f} s"
            seconds += "" if usual[tensor]["repeats"] else ", but two searches differ: left out"
            print(f"{'default':<46}  {tensor:<18}{_line(usual[tensor])}{seconds}", flush=True)
            _write(options.out, found)
    for name in names:
        for factor in FACTORS:
            value = constants.current(name)
            other = changed(name, value, factor)
            if other == value or late():
                continue
            rows = found["constants"].setdefault(name, {"value": value, "factors": []})["factors"]
            row = next((row for row in rows if row["factor"] == factor), None)
            if row is None:
                rows.append(row := {"factor": factor, "value": other, "runs": []})
            done = {run["tensor"] for run in row["runs"]}
            for tensor, case in cases.items():
                if tensor in done or tensor not in usual or late():
                    continue
                long = options.each and usual[tensor]["seconds"] > options.each
                if long or not usual[tensor]["repeats"]:
                    continue
                if name not in usual[tensor]["read"]:  # so that it cannot matter
                    continue
                with constants.overridden({name: other}):
                    result = compare(tensor, case, run(case), usual[tensor])
                row["runs"].append(result)
                mark = "" if result["same"] else _line(result)
                print(f"{name:<26}{_word(other):>12}{factor:>8}  {tensor:<18}{mark}", flush=True)
            _write(options.out, found)
        if name in found["constants"]:
            constant = found["constants"][name]
            runs = [run for row in constant["factors"] for run in row["runs"]]
            read = any(name in case["read"] for case in usual.values())
            constant["verdict"] = verdict(runs) if read else "not read"
    _write(options.out, found)
    return found


def _begun(out: Path | None) -> dict[str, Any]:
    """What an earlier run has found, or nothing."""
    if out is not None and out.exists():
        return json.loads(out.read_text(encoding="utf-8"))
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    versions = {"tnjax": tnjax.__version__, "jax": jax.__version__}
    return {"about": {**machine, **versions}, "default": {}, "constants": {}}


def _write(out: Path | None, found: dict[str, Any]) -> None:
    if out is not None:
        out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _line(run: dict[str, Any]) -> str:
    ratios = ""
    if "work_ratio" in run:
        ratios = f"   x{run['params_ratio']:.3g} params, x{run['work_ratio']:.3g} work"
    return f"{run['params']:>7}{run['error']:>11.3g}{ratios}"


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_word, value))
    return f"{value:.4g}"


def table(found: dict[str, Any]) -> str:
    """One line for each constant and factor, in Markdown: what the largest changes are."""
    lines = [
        "| constant | default | tried | parameters | work | tensors that it decides | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, constant in sorted(found["constants"].items()):
        for row in constant["factors"]:
            runs, head = row["runs"], f"| `{name}` | {_word(constant['value'])} "
            if not runs and constant["verdict"] != "not read":  # there was no time for it
                continue
            others = [run["tensor"] for run in runs if run["decides"]]
            params, work = (_spread(runs, key) for key in ("params_ratio", "work_ratio"))
            lines.append(
                f"{head}| {_word(row['value'])} | {params} | {work} "
                f"| {len(others)} of {len(runs)}: {', '.join(others) or '-'} "
                f"| {verdict(runs) if runs else constant['verdict']} |"
            )
    return "\n".join(lines)


def _spread(runs: list[dict[str, Any]], key: str) -> str:
    ratios = [run[key] for run in runs]
    if not ratios:
        return "-"
    low, high = min(ratios), max(ratios)
    return f"x{low:.3g}" if low == high else f"x{low:.3g} to x{high:.3g}"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", help='names such as rival.better, or "all"')
    parser.add_argument("--tensors", nargs="+", help=f"some of {', '.join(CASES)}")
    parser.add_argument("--small", action="store_true", help="tensors that take a second or two")
    parser.add_argument("--seconds", type=float, help="after which no search is begun")
    parser.add_argument("--each", type=float, help="leave out tensors that take more seconds")
    parser.add_argument("--out", type=Path, help="JSON file; what it holds is not done again")
    parser.add_argument("--table", type=Path, help="Markdown file for the table")
    options = parser.parse_args(words)
    cases = SMALL if options.small else CASES
    for name in options.tensors or ():
        if name not in cases:
            parser.error(f"no tensor {name!r}; choose among {', '.join(cases)}")
    try:
        for name in options.only or ():
            if name != "all":
                constants.current(name)
    except ValueError as error:
        parser.error(str(error))
    jax.config.update("jax_enable_x64", True)
    found = measure(options)
    text = table(found)
    print(text)
    if options.table:
        options.table.write_text(f"{HEAD}\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
