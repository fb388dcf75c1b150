"""Parameters at equal error on real data: a table and a JSON file.

    python experiments/benchmarks/real.py --data camera coins --errors 0.15 0.1 --out real.json

For each tensor and error: the search (greedy from rank one, trees from the spectra, and greedy
tidying of the best tree), every fixed format with ranks chosen for the error and refined by
fits, the truncated SVD of the image, and TensorLy's TT, Tucker and CP at the same error. Images
are 256 x 256, as 4^8 in row-major order. A method that does not reach the error in its time has
no parameters in the table. Seconds are those of the processor.
"""

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import datasets
from records import about, keep

import tnjax

IMAGES = ("camera", "astronaut", "coins", "brick")
TENSORS: dict[str, Callable[[], np.ndarray]] = {
    "kinetic": datasets.kinetic_fluorescence,
    "pines": datasets.indian_pines,
    "carphone": datasets.carphone,
}
ERRORS = {"image": (0.15, 0.1, 0.05), "tensor": (0.1, 0.05, 0.01)}
FIXED = ("svd", "tt", "tr", "tucker", "ht", "cp")
TENSORLY = ("tt", "tucker", "cp")
SEARCHES = ("tree", "greedy", "tree+greedy")
METHODS = (
    *SEARCHES,
    *(f"fixed {name}" for name in FIXED),
    "svd of the image",
    *(f"tensorly {name}" for name in TENSORLY),
)


def load(name: str, size: int | None = None) -> np.ndarray:
    """A tensor by name; of an image only the first `size` rows and columns, if given."""
    if name not in IMAGES:
        return TENSORS[name]()
    pixels = datasets.image(name)[:size, :size]
    return pixels.reshape((4,) * round(math.log(pixels.size, 4)))


def run(
    method: str, tensor: np.ndarray, error: float, options: argparse.Namespace, known: dict
) -> dict:
    """Parameters, error and seconds of one method; `known` holds the best tree."""
    begin = time.process_time()
    if method == "svd of the image":
        row = _svd(tensor, error)
    elif method.startswith("tensorly "):
        row = _tensorly(method.removeprefix("tensorly "), tensor, error, options.max_seconds / 2)
    else:
        row = _search(method, tensor, error, options, known)
    row["seconds"] = time.process_time() - begin
    return row


def _stopwatch(seconds: float) -> Callable[[], bool]:
    """True once this process has used so many seconds of the processor, whoever shares it."""
    end = time.process_time() + seconds
    return lambda: time.process_time() > end


def _search(method: str, tensor: np.ndarray, error: float, options, known: dict) -> dict:
    problem = tnjax.Decomposition(tensor)
    common = {
        "key": jax.random.key(options.seed),
        "target_error": error,
        "max_params": tensor.size,
        "memory_limit": options.memory_limit,
        "setup": tnjax.Setup(stop=_stopwatch(options.max_seconds)),
    }
    if method.startswith("fixed "):
        strategy = tnjax.FixedFormat(method.removeprefix("fixed "))
        result = tnjax.search(problem, strategy=strategy, **common)
    elif method == "greedy":
        result = tnjax.search(problem, strategy=tnjax.Greedy(), **common)
    elif method == "tree":
        result = tnjax.search(problem, strategy=tnjax.TreeSearch(), **common)
        known["tree"] = result
    else:
        tree = known.get("tree") or tnjax.search(problem, strategy=tnjax.TreeSearch(), **common)
        started = {**common, "setup": dataclasses.replace(common["setup"], start=tree.network)}
        result = tnjax.search(problem, **started) if tree.path[1:] else tree
        if tree.error <= error and not result.num_params < tree.num_params:
            result = tree
    dense = np.asarray(result.network.to_dense())
    return {
        "params": result.num_params,
        "error": float(np.linalg.norm(dense - tensor) / np.linalg.norm(tensor)),
        "compile_seconds": result.compile_seconds,
        "fitted": result.fitted,
        "status": result.status.value,
        "structure": json.loads(result.structure.to_json()),
    }


def _svd(tensor: np.ndarray, error: float) -> dict:
    side = math.isqrt(tensor.size)
    s = np.linalg.svd(tensor.reshape(side, side), compute_uv=False)
    tails = np.append(np.sqrt(np.cumsum(s[::-1] ** 2)[::-1]), 0.0) / np.linalg.norm(s)
    rank = int(np.flatnonzero(tails <= error)[0])
    return {"params": rank * 2 * side, "error": float(tails[rank])}


def _tensorly(name: str, tensor: np.ndarray, error: float, seconds: float) -> dict:
    """TensorLy at the smallest ranks for which its result stays within the error: TT and Tucker
    ranks by truncation at one tolerance, CP's by doubling and bisection."""
    import tensorly
    from tensorly import decomposition

    norm, stop = np.linalg.norm(tensor), _stopwatch(seconds)

    def ranks(tolerance: float) -> list[int]:
        if name == "tt":
            shapes = [(math.prod(tensor.shape[:k]), -1) for k in range(1, tensor.ndim)]
            spectra = [_gram_values(tensor.reshape(shape)) for shape in shapes]
        else:
            spectra = [_gram_values(tensorly.unfold(tensor, k)) for k in range(tensor.ndim)]
        tails = [np.append(np.sqrt(np.cumsum(s[::-1] ** 2)[::-1]), 0.0) for s in spectra]
        return [max(1, int(np.flatnonzero(t <= tolerance * norm)[0])) for t in tails]

    def attempt(size) -> tuple[float, int]:
        if name == "tt":
            found = decomposition.tensor_train(tensor, [1, *size, 1])
            dense, params = tensorly.tt_to_tensor(found), sum(f.size for f in found.factors)
        elif name == "tucker":
            core, factors = decomposition.tucker(tensor, size, n_iter_max=20, tol=1e-5)
            dense = tensorly.tucker_to_tensor((core, factors))
            params = core.size + sum(f.size for f in factors)
        else:
            found = decomposition.parafac(tensor, size, n_iter_max=60, tol=1e-6, random_state=0)
            dense, params = tensorly.cp_to_tensor(found), size * sum(tensor.shape)
        return float(np.linalg.norm(dense - tensor) / norm), int(params)

    best: dict = {"params": None, "error": None, "status": "not reached"}
    if name != "cp":
        for factor in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
            if stop():
                break
            found, params = attempt(ranks(factor * error))
            if found <= error and (best["params"] is None or params < best["params"]):
                best = {"params": params, "error": found}
        return best
    low, high = 0, None
    while not stop() and (high is None or high - low > max(1, low // 16)):
        rank = max(1, 2 * low) if high is None else (low + high) // 2
        if rank * sum(tensor.shape) > tensor.size:
            break
        found, params = attempt(rank)
        if found <= error:
            high, best = rank, {"params": params, "error": found}
        else:
            low = rank
    return best


def _gram_values(matrix: np.ndarray) -> np.ndarray:
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    return np.sqrt(np.maximum(np.linalg.eigvalsh(matrix @ matrix.T)[::-1], 0))


def measure(options: argparse.Namespace) -> list[dict]:
    rows = []
    for name in options.data:
        tensor = load(name, options.size)
        is_image = name in IMAGES
        for error in options.errors or ERRORS["image" if is_image else "tensor"]:
            known: dict = {}
            for method in options.methods:
                if method == "svd of the image" and not is_image:
                    continue
                row = {"data": name, "shape": tensor.shape, "target": error, "method": method}
                row |= run(method, tensor, error, options, known)
                rows.append(row)
                print(_line(row), flush=True)
                if options.out:
                    write(options, rows)
            print(_verdict([r for r in rows if (r["data"], r["target"]) == (name, error)]))
    return rows


_HEAD = f"{'data':<11}{'target':>7}  {'method':<18}{'params':>9}{'error':>10}{'fitted':>8}{'s':>8}"


def _line(row: dict) -> str:
    reached = row["params"] is not None and row["error"] <= row["target"] * (1 + 1e-9)
    params = row["params"] if reached else "-"
    error = "-" if row["error"] is None else f"{row['error']:.4f}"
    return (
        f"{row['data']:<11}{row['target']:>7g}  {row['method']:<18}{params:>9}{error:>10}"
        f"{row.get('fitted', '-'):>8}{row['seconds']:>8.1f}"
    )


def _verdict(rows: list[dict]) -> str:
    """Whether the searches need fewer parameters than all others."""
    reached = [r for r in rows if r["params"] and r["error"] <= r["target"] * (1 + 1e-9)]
    ours = [r for r in reached if r["method"] in SEARCHES]
    others = [r for r in reached if r["method"] not in SEARCHES]
    if not ours or not others:
        return "nothing to compare"
    best, rival = (min(group, key=lambda r: r["params"]) for group in (ours, others))
    word = "fewer than" if best["params"] < rival["params"] else "NOT fewer than"
    return f"  {best['method']}: {best['params']}, {word} {rival['method']}: {rival['params']}"


def write(options: argparse.Namespace, rows: list[dict]) -> None:
    keep(options.out, {**about(__file__, options.arguments), "seed": options.seed, "rows": rows})


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=(*IMAGES, *TENSORS), default=list(IMAGES))
    parser.add_argument("--errors", nargs="+", type=float, help="three by default")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--size", type=int, help="rows and columns of an image that are used")
    parser.add_argument(
        "--max-seconds", type=float, default=240.0, help="of the processor, for each search"
    )
    parser.add_argument("--memory-limit", type=int, default=3 * 2**30, help="bytes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    options.arguments = arguments or sys.argv[1:]
    if options.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    print(_HEAD)
    return measure(options)


if __name__ == "__main__":
    main()
