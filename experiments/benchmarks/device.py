"""What an accelerator, or a CPU, makes of the parts of a search: tables and a JSON file.

    python experiments/benchmarks/device.py --out device.json
    python experiments/benchmarks/device.py --parts screens bandwidth
    TNJAX_INTERPRET=0 python experiments/benchmarks/device.py --parts searches

- searches: planted tensors of order 4 and 5, the image camera as 4^8, and a planted 400^3 (at most
  `--max-seconds`, copies of the tensor counted): parameters, seconds cold and warm; programs,
  launches (calls of a program) and transfers (`jax.device_get`) for each accepted move, cold.
- screens: all bonds of 8 and of 20 nodes (28 and 190) screened together, as many at a time as fit
  into `--batch`, and one at a time within one program.
- seeds: searches from 64 seeds together (`tnjax.sweep.together`) and one after the other, warm.
- bandwidth: bytes read and written a second by the contraction of a large tensor with the cores of
  two modes, and by its negative in place.

Single precision, which every device has. Seconds are medians of `--repeats` where a part takes less
than ten of them, and end when the results are on the host.
"""

import argparse
import functools
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from families import ORDER_4, ORDER_5, planted_tensor
from records import about, keep

import tnjax
from tnjax import Structure, TensorNetwork, _compile
from tnjax._search.screening.candidates import draw_slices
from tnjax.contract import environment
from tnjax.screens import Spectral

KEY = jax.random.key(0)


def median(call: Callable[[], Any], repeats: int) -> float:
    """Seconds of a call whose first run has been made; one run where it takes ten and more."""
    seconds: list[float] = []
    while len(seconds) < (repeats if not seconds or seconds[0] < 10 else 1):
        begin = time.perf_counter()
        jax.device_get(call())
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


# Searches -------------------------------------------------------------------------------------


class Counted:
    """Counts launches of the package's programs and transfers to the host inside."""

    def __enter__(self) -> "Counted":
        self.launches = self.transfers = 0
        self._before = _compile.run, jax.device_get

        def run(*args, **options):
            self.launches += 1
            return self._before[0](*args, **options)

        def get(*args, **options):
            self.transfers += 1
            return self._before[1](*args, **options)

        _compile.run, jax.device_get = run, get
        return self

    def __exit__(self, *_) -> None:
        _compile.run, jax.device_get = self._before


def tensors(small: bool) -> dict[str, tuple[Callable[[], np.ndarray], float]]:
    """The tensor of each search, and the target error."""
    from decompose_image import grey_image

    side = 40 if small else 400
    cube = Structure.from_edges((side,) * 3, {(0, 1): 4, (1, 2): 3, (0, 2): 2})
    cases: dict[str, tuple[Callable[[], np.ndarray], float]] = {
        "order 4, ring": (lambda: planted_tensor(ORDER_4["ring"], cores="normal", seed=0), 1e-3),
        "order 4, full": (lambda: planted_tensor(ORDER_4["full"], cores="normal", seed=0), 1e-3),
        "order 5, ring": (lambda: planted_tensor(ORDER_5["ring"], cores="normal", seed=0), 1e-3),
        "camera": (lambda: grey_image("camera", 2).reshape((4,) * 8), 0.143),
        f"{side}^3": (lambda: planted_tensor(cube, cores="normal", seed=0), 1e-3),
    }
    names = ("order 4, ring", f"{side}^3")
    return {name: case for name, case in cases.items() if not small or name in names}


def searched(name: str, make: Callable[[], np.ndarray], target: float, seconds: float) -> dict:
    tensor = make().astype(np.float32)
    row: dict[str, Any] = {"name": name, "entries": tensor.size}
    for kind in ("cold", "warm"):
        if kind == "cold":
            jax.clear_caches()
        begin = time.perf_counter()
        with Counted() as counted:
            found = tnjax.search(
                tnjax.Decomposition(tensor), key=KEY, target_error=target, max_seconds=seconds
            )
        row[kind] = time.perf_counter() - begin
        row["params"], row["error"], row["status"] = found.num_params, found.error, found.status
        if kind == "cold":
            moves = max(1, len(found.path) - 1)
            row |= {"moves": moves, "programs": found.programs}
            row |= {"launches": counted.launches, "transfers": counted.transfers}
    row["status"] = row["status"].value
    print(
        f"{name:<15}{row['params']:>7} parameters, error {row['error']:.2e}  cold {row['cold']:.2f}"
        f"  warm {row['warm']:.2f} s  {row['programs']} programs, {moves} moves; of each "
        f"{row['launches'] / moves:.1f} launches, {row['transfers'] / moves:.1f} transfers",
        flush=True,
    )
    return row


# Screens --------------------------------------------------------------------------------------


def screened(dims: tuple[int, ...], batch: int, repeats: int) -> dict:
    """All pairs of nodes of a ring, as a program that looks at so many at a time."""
    ring = Structure.tensor_ring(dims, 2)
    network = TensorNetwork.random(ring, key=KEY, dtype=jnp.float32)
    tensor = np.random.default_rng(0).standard_normal(dims).astype(np.float32)
    problem = tnjax.Decomposition(tensor)
    edges = tuple(itertools.combinations(range(len(dims)), 2))
    slices = draw_slices(ring, ring, edges, np.float32, (0,), increment=1)
    screen = Spectral(sweeps=1)
    row: dict[str, Any] = {"dims": dims, "edges": len(edges)}
    gains = {}
    for name, size in (("together", min(batch, len(edges))), ("one by one", 1)):
        looked = jax.jit(functools.partial(_gains, screen, edges, size))
        begin = time.perf_counter()
        gains[name] = jax.device_get(looked(problem, network, slices))
        row[f"{name}, cold"] = time.perf_counter() - begin
        row[name] = median(lambda looked=looked: looked(problem, network, slices), repeats)
    same = np.allclose(*gains.values(), rtol=1e-2, atol=1e-2 * max(gains["together"]))
    row |= {"batch": min(batch, len(edges)), "same": bool(same)}
    print(
        f"{len(edges)} bonds of {len(dims)} nodes: {row['batch']} at a time {row['together']:.3f} s"
        f" ({row['together, cold']:.1f} with the compilation), one by one {row['one by one']:.3f}"
        f" s ({row['one by one, cold']:.1f}); the same gains: {row['same']}",
        flush=True,
    )
    return row


def _gains(screen, edges, size, problem, network, slices):
    return screen(problem, network, edges, slices, batch_size=size).gain


# Seeds ----------------------------------------------------------------------------------------


def seeded(count: int, dims: tuple[int, ...]) -> dict:
    from tnjax.sweep import together

    problem = tnjax.Decomposition(
        planted_tensor(Structure.tensor_ring(dims, 2), cores="normal", seed=0)
    )
    strategy = tnjax.Greedy(rewire=False, internal=False, hyperedges=False, infer=False)

    def one(seed: int) -> tnjax.SearchResult:
        return tnjax.search(
            problem, key=jax.random.key(seed), strategy=strategy, target_error=1e-2, max_steps=12
        )

    calls = [functools.partial(one, seed) for seed in range(count)]
    row: dict[str, Any] = {"seeds": count, "dims": dims}
    one(0)
    begin = time.perf_counter()
    alone = [call() for call in calls]
    row["alone"] = time.perf_counter() - begin
    together(calls)
    begin = time.perf_counter()
    met = together(calls)
    row["together"] = time.perf_counter() - begin
    pairs = zip(alone, met.results, strict=True)
    row["same"] = sum(a.structure == b.structure for a, b in pairs)
    row |= {"calls": met.calls, "batches": met.batches}
    print(
        f"{count} seeds: one after the other {row['alone']:.2f} s, together {row['together']:.2f} s"
        f" ({met.calls} calls in {met.batches} batches); {row['same']} with the same structure",
        flush=True,
    )
    return row


# Bandwidth ------------------------------------------------------------------------------------


def moved(side: int, rank: int, repeats: int) -> dict:
    """A cube contracted with the cores of two of its modes, all but the first core's."""
    train = Structure.tensor_train((side,) * 3, (rank, rank))
    cores = TensorNetwork.random(train, key=KEY, dtype=jnp.float32).cores
    cube = jax.random.normal(KEY, (side,) * 3, jnp.float32)
    contract = jax.jit(lambda cores, cube: environment(train, cores, (0,), cube))
    again = jax.jit(lambda cube: -cube, donate_argnums=0)  # no new memory, which may be slow
    row: dict[str, Any] = {"side": side, "rank": rank}
    contract(cores, cube).block_until_ready()
    seconds = median(lambda: contract(cores, cube), repeats)
    between = side * side * rank
    row["contraction"] = 4 * (side**3 + 2 * between) / seconds

    def copied() -> Any:
        nonlocal cube
        cube = again(cube)
        return cube[0, 0, 0]

    copied()
    row["copy"] = 4 * 2 * side**3 / median(copied, repeats)
    print(
        f"{side}^3 with cores of rank {rank}: {row['contraction'] / 1e9:.1f} GB/s, a copy "
        f"{row['copy'] / 1e9:.1f} GB/s ({row['contraction'] / row['copy']:.0%})",
        flush=True,
    )
    return row


PARTS = ("searches", "screens", "seeds", "bandwidth")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--small", action="store_true", help="small tensors, for a try")
    parser.add_argument("--batch", type=int, default=190, help="bonds that are screened at a time")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--max-seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    small, repeats = options.small, options.repeats
    record: dict[str, Any] = {**about(__file__, arguments), "devices": str(jax.devices())}
    print(record["machine"], record["devices"], flush=True)
    if "searches" in options.parts:
        cases = tensors(small).items()
        rows = [searched(name, *case, options.max_seconds) for name, case in cases]
        record["searches"] = rows
    if "screens" in options.parts:
        shapes = ((3,) * 5, (2,) * 7) if small else ((4,) * 8, (2,) * 20)
        record["screens"] = [screened(dims, options.batch, repeats) for dims in shapes]
    if "seeds" in options.parts:
        record["seeds"] = seeded(*((3, (4, 5, 4)) if small else (64, (8, 9, 10, 7))))
    if "bandwidth" in options.parts:
        record["bandwidth"] = moved(32 if small else 400, 8, repeats)
    keep(options.out, record)
    return record


if __name__ == "__main__":
    main()
