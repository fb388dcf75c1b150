"""One of two processes (see `test_processes`): prints what each part of the agreement gave."""

import json
import sys

import jax
import numpy as np

import tnjax
from tnjax import _mesh, _processes


def caught(function, *arguments) -> str:
    try:
        return repr(function(*arguments))
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"


def gathered(mesh) -> bool:
    """Whether data come back from two processes as they were, also in many pieces."""
    _mesh._PIECE_BYTES = 32
    draw = np.random.default_rng(0)
    same = []
    for shape in ((4, 3), (3, 7), (2, 9, 2)):
        tensor = draw.standard_normal(shape).astype(np.float32)
        problem = tnjax.Decomposition(tensor)
        same.append(np.array_equal(problem.placed(mesh).array, problem.array))
        where = np.argwhere(tensor > -1)
        sampled = tnjax.Completion(where, tensor[tuple(where.T)], shape)
        back = sampled.placed(mesh).on_host()
        pairs = zip(jax.tree.leaves(back), jax.tree.leaves(sampled), strict=True)
        same += [np.array_equal(a, b) for a, b in pairs]
    return all(same)


def main(coordinator: str, number: int) -> None:
    tnjax.distributed.initialize(coordinator, 2, number, timeout=60)
    mesh = tnjax.make_mesh(2)
    array = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    out = {
        "leads": _processes.leads(mesh),
        "first is over": _processes.agree(mesh, number == 0, False),
        "second is over": _processes.agree(mesh, number == 1, False),
        "second is stopped": _processes.agree(mesh, False, number == 1),
        "from first": _processes.from_first(mesh, lambda: bytes([number]) * 3).hex(),
        "refused": caught(_processes.from_first, mesh, lambda: int("x" * (1 - number) + "1")),
        "same": caught(_processes.check_same, mesh, "grow 0-1", [array]),
        "other move": caught(_processes.check_same, mesh, f"grow 0-{number + 1}", [array]),
        "other bits": caught(_processes.check_same, mesh, "grow 0-1", [array + 1e-6 * number]),
        "gathered": gathered(mesh),
    }
    with_seed = lambda seed: tnjax.search(
        tnjax.Decomposition(array + 1, mesh=mesh), key=jax.random.key(seed), max_params=12
    )
    out["error"] = with_seed(0).error
    out["other seeds"] = caught(with_seed, number)
    odd = caught(lambda: tnjax.make_mesh(1))
    print(json.dumps({**out, "odd": odd}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
