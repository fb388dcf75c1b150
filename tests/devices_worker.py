"""Runs in a process of its own with eight virtual devices (see `test_devices`): each part prints
one line of JSON."""

import functools
import json
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import optax

import tnjax
from tnjax import (
    ALS,
    Completion,
    Decomposition,
    GaussNewton,
    Genetic,
    Greedy,
    LevenbergMarquardt,
    Minibatch,
    Objective,
    Setup,
    Structure,
    TensorNetwork,
    make_mesh,
)

RING = Structure.tensor_ring((6, 7, 5, 6), 2)


def planted(structure=RING, seed=1, dtype=np.float64) -> np.ndarray:
    network = TensorNetwork.random(structure, key=jax.random.key(seed), dtype=dtype)
    return np.asarray(network.to_dense())


def decomposition(mesh, dtype=np.float64) -> Decomposition:
    return Decomposition(planted(dtype=dtype), mesh=mesh)


def completion(mesh, loss="squared", offsets="mean", dtype=np.float64) -> Completion:
    tensor = planted(Structure.tensor_ring((6, 7, 5), 2), dtype=dtype)
    indices = np.argwhere(np.random.default_rng(0).random(tensor.shape) < 0.7)
    values = tensor[tuple(indices.T)]
    options = dict(validation=0.1, key=jax.random.key(0), loss=loss, offsets=offsets, ridge=1e-6)
    return Completion(indices, values, tensor.shape, mesh=mesh, **options)


def told(result) -> dict:
    return {
        "moves": [str(step.move) for step in result.path],
        "params": result.num_params,
        "error": result.error,
    }


def searches() -> dict:
    """Each search on one device, and on meshes."""
    out, whole = {}, functools.partial(Setup, compress=False)
    with tempfile.TemporaryDirectory() as folder:
        for name, problem, options in (
            (
                "decomposition",
                decomposition,
                {"target_error": 1e-6, "strategy": tnjax.Greedy(infer=False)},
            ),
            ("inferred", decomposition, {"target_error": 1e-6}),
            ("completion", completion, {"max_params": 60, "target_error": 1e-3}),
        ):
            run = lambda mesh, problem=problem, options=options, **more: tnjax.search(
                problem(mesh), key=jax.random.key(0), setup=whole(**more), **options
            )
            meshes = [make_mesh(candidates=4, data=2), make_mesh(8)]
            out[name] = [told(run(mesh)) for mesh in (None, *meshes)]
            where = Path(folder) / name
            seen = []
            stop = lambda seen=seen: seen.append(0) or len(seen) > 3
            run(meshes[0], checkpoints=where, stop=stop)
            out[name].append(told(run(None, checkpoints=where, resume=True)))
    return out


def fits() -> dict:
    """Errors of fits of one structure by every solver, on one device and on a mesh."""
    mesh, out = make_mesh(candidates=4, data=2), {}
    triple = Structure.tensor_ring((6, 7, 5), 2)
    newton = GaussNewton(max_steps=3, cg_steps=5)  # more of them differ by rounding alone
    double, single, complex_ = np.float64, np.float32, np.complex128
    cases = {
        "als": (decomposition, RING, ALS(max_steps=5), double),
        "als float32": (decomposition, RING, ALS(max_steps=5), single),
        "lm complex": (decomposition, RING, LevenbergMarquardt(max_steps=4), complex_),
        "gauss-newton": (decomposition, RING, newton, double),
        "lbfgs": (decomposition, RING, tnjax.Optax(optax.lbfgs(), max_steps=2), double),
        "completion als": (completion, triple, ALS(max_steps=5), double),
        "completion minibatch": (
            completion,
            triple,
            Minibatch(optax.adam(1e-2), 32, 10, max_steps=3),
            double,
        ),
        "completion huber": (
            lambda mesh, dtype: completion(mesh, "huber", "modes", dtype),
            triple,
            ALS(max_steps=5),
            double,
        ),
    }
    for name, (problem, structure, solver, dtype) in cases.items():
        options = dict(key=jax.random.key(2), solver=solver, num_starts=3)
        one, many = (
            tnjax.fit(problem(where, dtype=dtype), structure, **options) for where in (None, mesh)
        )
        out[name] = [one.history.tolist(), many.history.tolist()]
    return out


def strategies() -> dict:
    """Other ways to search, on one device and on a mesh."""
    mesh, out = make_mesh(candidates=4, data=2), {}
    loss = lambda x, y: (abs(x - y) ** 2).sum()
    noise = 0.01 * np.random.default_rng(3).standard_normal((4, 5, 4))
    small = planted(Structure.tensor_train((4, 5, 4), 2)) + noise
    objective = lambda mesh: Objective(loss, small.shape, data=small, mesh=mesh)
    dense = lambda mesh: Decomposition(small, mesh=mesh)
    trial = Greedy(screen="trial", increment=2, max_rank=4, infer=False, prune=False)
    for name, problem, strategy, limits in (
        ("genetic", dense, Genetic(population=6), {"max_fitted": 12, "target_error": 0.05}),
        ("tree", dense, tnjax.TreeSearch(), {"target_error": 0.05}),
        ("objective", objective, Greedy(prune=False), {"max_steps": 2}),
        ("completion", completion, trial, {"max_steps": 2}),
    ):
        options = dict(
            key=jax.random.key(0), strategy=strategy, setup=Setup(compress=False), **limits
        )
        out[name] = [told(tnjax.search(problem(where), **options)) for where in (None, mesh)]
    return out


def sketches() -> dict:
    """Whether a screen sees the same entries on one device and on a mesh, and the same sums."""
    draw = np.random.default_rng(0)
    indices = np.argwhere(draw.random((35, 36, 37)) < 0.9)
    values = draw.standard_normal(len(indices))
    options = dict(validation=0.1, key=jax.random.key(0))
    one = Completion(indices, values, (35, 36, 37), **options)
    many = one.placed(make_mesh(candidates=2, data=4))
    few, shared = one.sketch(20), many.sketch(20)
    assert few.training.count < one.training.count / 2
    same = [shared.mesh == many.mesh]
    for a, b in ((few.training, shared.training), (few.held_out, shared.held_out)):
        same += [np.array_equal(x, y) for x, y in zip(a.gathered(), b.gathered(), strict=True)]
    network = TensorNetwork.random(Structure.tensor_train((35, 36, 37), 2), key=jax.random.key(1))
    for node in range(3):
        pairs = zip(*(p.normal_equations(network, node) for p in (few, shared)), strict=True)
        same += [np.allclose(x, y, rtol=1e-9, atol=1e-12) for x, y in pairs]
    return {"same": [bool(each) for each in same]}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    assert jax.device_count() == 8
    for part in sys.argv[1:]:
        print(json.dumps({part: globals()[part]()}), flush=True)
