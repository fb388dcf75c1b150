"""Many tensors fitted by one structure: one program for all of them against one `fit` each.

    python experiments/benchmarks/batch.py --out batch.json
    python experiments/benchmarks/batch.py --size small

`jax.jit(jax.vmap(run))` over tensors and keys, cold (its compilation included) and warm, against a
loop of `fit`s, cold and warm, from the same starts. "worst" is the largest difference of their
errors, "programs" how many the jitted function made. Then the gradient of the error of one fit of
100 sweeps: the temporary memory of its program, as the compiler tells it, by checkpoints, at the
optimum, and by a plain `lax.scan`, and its seconds.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from records import about, keep

from tnjax import ALS, Decomposition, Structure, TensorNetwork, fit
from tnjax.solve import Checkpointed, Implicit, random_start, run

SIZES = {"full": (64, (8, 9, 10), 100), "small": (4, (3, 4, 3), 10)}
NOISE = 0.1


def planted(ring: Structure, count: int) -> np.ndarray:
    """Rings of norm 1 with noise of a tenth of it."""
    draw = np.random.default_rng(0)
    keys = jax.random.split(jax.random.key(2), count)
    stack = []
    for key in keys:
        tensor = np.asarray(TensorNetwork.random(ring, key=key).to_dense())
        noise = draw.standard_normal(tensor.shape)
        unit = [x / np.linalg.norm(x) for x in (tensor, noise)]
        stack.append(unit[0] + NOISE * unit[1])
    return np.stack(stack)


def seconds(function, *args) -> tuple[float, object]:
    begin = time.perf_counter()
    found = jax.block_until_ready(function(*args))
    return time.perf_counter() - begin, found


def batch(ring: Structure, count: int) -> dict:
    tensors, keys = planted(ring, count), jax.random.split(jax.random.key(1), count)

    @jax.jit
    @jax.vmap
    def together(tensor, key):
        problem = Decomposition(tensor)
        return run(problem, random_start(problem, ring, key=key))

    def loop():
        pairs = zip(tensors, keys, strict=True)
        return [fit(Decomposition(tensor), ring, key=key).error for tensor, key in pairs]

    cold, _ = seconds(together, tensors, keys)
    warm = min(seconds(together, tensors, keys)[0] for _ in range(3))
    found = together(tensors, keys)
    loop_cold, _ = seconds(loop)
    loop_warm, errors = min((seconds(loop) for _ in range(3)), key=lambda pair: pair[0])
    return {
        "tensors": count,
        "programs": together._cache_size(),
        "cold": cold,
        "warm": warm,
        "loop cold": loop_cold,
        "loop warm": loop_warm,
        "worst": float(np.abs(np.asarray(errors) - np.asarray(found.error)).max()),
    }


def gradients(ring: Structure, sweeps: int) -> dict:
    (tensor,) = planted(ring, 1)
    start = TensorNetwork.random(ring, key=jax.random.key(3))
    solver = ALS(max_steps=sweeps, rtol=0.0)
    out = {}

    def plain(x):
        problem = Decomposition(x)
        begin = start * (1 / problem.scale)
        step = lambda carry, _: (solver.step(problem, *carry), None)
        carry = begin, solver.init(problem, begin)
        (network, _), _ = jax.lax.scan(step, carry, length=sweeps)
        return problem.error(network)

    def error(adjoint):
        return lambda x: run(Decomposition(x), start, solver=solver, adjoint=adjoint).error

    functions = {
        "plain scan": plain,
        "Checkpointed()": error(Checkpointed()),
        "Implicit()": error(Implicit()),
    }
    for name, function in functions.items():
        program = jax.jit(jax.grad(function)).lower(tensor).compile()
        memory = program.memory_analysis().temp_size_in_bytes
        out[name] = {"bytes": memory, "seconds": min(seconds(program, tensor)[0] for _ in range(3))}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    count, dims, sweeps = SIZES[options.size]
    ring = Structure.tensor_ring(dims, 2)
    found = {**about(__file__), "batch": batch(ring, count)}
    print("| fits | cold [s] | warm [s] |\n|---|---|---|")
    told = found["batch"]
    print(f"| jit(vmap(run)), {count} tensors | {told['cold']:.3g} | {told['warm']:.3g} |")
    print(f"| {count} calls of fit | {told['loop cold']:.3g} | {told['loop warm']:.3g} |")
    print(f"\n{told['programs']} program; errors differ by {told['worst']:.1e} at the most.\n")
    found["gradients"] = gradients(ring, sweeps)
    print(f"| gradient of {sweeps} sweeps | temporary [kB] | warm [s] |\n|---|---|---|")
    for name, row in found["gradients"].items():
        print(f"| {name} | {row['bytes'] / 1e3:.4g} | {row['seconds']:.3g} |")
    keep(options.out, found)


if __name__ == "__main__":
    main()
