"""Runs in a process of its own with eight virtual devices (see `test_step_cost`): what the model
of costs says and what XLA says of its own programs, as one line of JSON for each part."""

import itertools
import json
import math
import re
import sys

import jax
import numpy as np

from tnjax import (
    ALS,
    Completion,
    Decomposition,
    Spectral,
    Structure,
    TensorNetwork,
    _compile,
    _mesh,
    make_mesh,
)
from tnjax._search.screening.candidates import draw_slices
from tnjax.distributed import StepCost, dense_screen, dense_sweep, sample_sweep
from tnjax.solve.limits import limits_of
from tnjax.solve.programs import _whole

DEVICES = (1, 2, 4, 8)
RING = Structure.tensor_ring((16, 18, 20, 22), 2)
TRAIN = Structure.tensor_train((6, 7, 8, 9, 10), 3)
WIDE = Structure.tensor_ring((32, 24, 20, 16), 4)
_SIZES = {"f64": 8, "f32": 4, "s32": 4, "pred": 1}


def sweep(problem, network):
    solver = ALS()
    network, _ = solver.step(problem, network, solver.init(problem, network))
    return network, problem.error(network)


def figures(function, *args) -> dict[str, float]:
    """What XLA says of a program: figures of one device."""
    mesh = _mesh.of(args)
    layout, options = _mesh.shardings(args, mesh), _compile._options("cpu", "full")
    program = _compile._lowered(function, args, mesh, layout, options).compile()
    told, memory = program.cost_analysis(), program.memory_analysis()
    sent = 0
    pattern = r" = (.*?) (?:all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\("
    for shapes in re.findall(pattern, program.as_text()):
        for kind, dims in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            sent += _SIZES[kind] * math.prod(int(n) for n in dims.split(",") if n)
    return {
        "flops": told["flops"],
        "bytes": told["bytes accessed"],
        "collective_bytes": sent,
        "peak_bytes": memory.argument_size_in_bytes + memory.temp_size_in_bytes,
    }


def pair(cost: StepCost, found: dict[str, float]) -> dict:
    return {name: [getattr(cost, name), value] for name, value in found.items()}


def planted(structure) -> tuple[TensorNetwork, np.ndarray]:
    network = TensorNetwork.random(structure, key=jax.random.key(1))
    return network, np.asarray(network.to_dense())


def dense() -> dict:
    out = {}
    cases = [("ring", RING, data) for data in DEVICES]
    cases += [(name, part, 8) for name, part in (("train", TRAIN), ("wide", WIDE))]
    for name, structure, data in cases:
        network, tensor = planted(structure)
        problem = Decomposition(tensor, mesh=make_mesh(data))
        cost = dense_sweep(structure, data=data)
        out[f"{name} {data}"] = pair(cost, figures(sweep, problem, network))
    return out


def sampled() -> dict:
    out = {}
    for rank, data in ((2, 1), (2, 2), (2, 8), (3, 4)):
        structure = Structure.tensor_ring((16, 18, 20, 22), rank)
        network, tensor = planted(structure)
        where = np.argwhere(np.random.default_rng(0).random(tensor.shape) < 0.05)
        problem = Completion(where, tensor[tuple(where.T)], tensor.shape, mesh=make_mesh(data))
        cost = sample_sweep(structure, len(where), data=data)
        out[f"rank {rank} {data}"] = pair(cost, figures(sweep, problem, network))
    return out


def screened() -> dict:
    out = {}
    edges = tuple(itertools.combinations(range(4), 2))
    network, tensor = planted(RING)
    slices = draw_slices(RING, RING, edges, np.float64, (0,), increment=1)
    for candidates, data in ((1, 1), (2, 1), (4, 2), (1, 8)):
        problem = Decomposition(tensor, mesh=make_mesh(candidates=candidates, data=data))
        screen = lambda problem, network, slices: Spectral()(problem, network, edges, slices)
        cost = dense_screen(RING, candidates=candidates, data=data)
        found = figures(screen, problem, network, slices)
        out[f"{candidates} x {data}"] = pair(cost, found)
    return out


def shared() -> dict:
    """Bytes of one device in a whole fit."""
    out = {}
    structure = Structure.tensor_ring((16, 18, 20, 176), 2)
    network, tensor = planted(structure)
    solver = ALS()
    for data in DEVICES:
        problem = Decomposition(tensor, mesh=make_mesh(data))
        (part,) = {shard.data.nbytes for shard in problem.target.addressable_shards}
        assert part == tensor.nbytes // data
        limits = limits_of(solver, problem, target_error=1e-6, max_steps=10)
        out[str(data)] = figures(_whole, problem, solver, network, limits)["peak_bytes"]
    return out


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for part in sys.argv[1:]:
        print(json.dumps({part: globals()[part]()}), flush=True)
