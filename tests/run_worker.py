"""Runs in a process of its own with four virtual devices (see `test_run`): prints one line of
JSON, for each solver the errors under `shard_map` and under `vmap`."""

import json

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from tnjax import (
    ALS,
    Completion,
    Decomposition,
    GaussNewton,
    Huber,
    Objective,
    Structure,
    TensorNetwork,
)
from tnjax.solve import Checkpointed, Implicit, random_start, run

RING = Structure.tensor_ring((4, 5, 6), 2)
INDICES = np.argwhere(np.ones(RING.dims))


def squared(x, y):
    return ((x - y) ** 2).sum()


def main() -> dict:
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("i",))
    tensors = np.random.default_rng(0).standard_normal((8, *RING.dims))
    keys = jax.random.split(jax.random.key(1), 8)
    start = TensorNetwork.random(RING, key=jax.random.key(2))
    out = {}

    def both(name, one, check=True):
        lanes, spec = jax.vmap(one), P("i")
        split = jax.shard_map(
            lanes, mesh=mesh, in_specs=(spec, spec), out_specs=spec, check_vma=check
        )
        out[name] = [jax.jit(f)(tensors, keys).tolist() for f in (split, lanes)]

    def decomposition(x, key, **options):
        problem = Decomposition(x)
        return run(problem, random_start(problem, RING, key=key), **options).error

    for name, options in {
        "als": {"solver": ALS(max_steps=5)},
        "newton": {"solver": GaussNewton(max_steps=3, cg_steps=5)},
        "checkpointed": {"solver": ALS(max_steps=5), "adjoint": Checkpointed()},
        "implicit": {"solver": ALS(max_steps=5), "adjoint": Implicit()},
    }.items():
        one = lambda x, key, options=options: decomposition(x, key, **options)
        both(name, one, check=name != "checkpointed")
    gradient = jax.grad(decomposition)
    checkpointed = dict(solver=ALS(max_steps=4), adjoint=Checkpointed())
    both("gradient", lambda x, key: gradient(x, key, **checkpointed).sum(), check=False)
    entries = lambda x: Completion(INDICES, x.ravel(), RING.dims, loss=Huber())
    both("huber", lambda x, key: run(entries(x), start, max_steps=4).error)
    own = lambda x: Objective(squared, RING.dims, data=x)
    both("objective", lambda x, key: run(own(x), start, max_steps=2).error, check=False)
    return out


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    assert jax.device_count() == 4
    print(json.dumps(main()), flush=True)
