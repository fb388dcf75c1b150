"""Planted structures from the literature, by family (nodes numbered from 0)."""

import itertools

import numpy as np

from tnjax import Structure, TensorNetwork

_D4 = (16, 18, 20, 22)
_D5 = (14, 16, 18, 20, 22)
_P5 = (7, 7, 7, 7, 7)


def _edges(text: str) -> dict[tuple[int, int], int]:
    """Edges as the literature prints them: "12:3 23:4", nodes numbered from 1."""
    pairs = (word.split(":") for word in text.split())
    return {(int(nodes[0]) - 1, int(nodes[1]) - 1): int(rank) for nodes, rank in pairs}


# Zheng et al., "SVDinsTN", CVPR 2024, table 1.
ORDER_4 = {
    "train": Structure.from_edges(_D4, _edges("12:3 23:4 34:4")),
    "star": Structure.from_edges(_D4, _edges("12:3 23:4 24:2")),
    "full": Structure.from_edges(_D4, _edges("12:4 13:3 14:2 23:2 24:2 34:3")),
    "ring+chord": Structure.from_edges(_D4, _edges("12:3 14:4 23:4 24:3 34:2")),
    "ring": Structure.from_edges(_D4, _edges("12:4 14:3 23:2 34:3")),
}
ORDER_5 = {
    "full": Structure.from_edges(_D5, _edges("12:2 13:3 14:2 15:2 23:3 24:3 25:2 34:2 35:4 45:2")),
    "8 edges": Structure.from_edges(_D5, _edges("13:3 14:3 23:4 24:2 25:3 34:2 35:2 45:3")),
    "ring": Structure.from_edges(_D5, _edges("12:4 15:3 23:2 34:3 45:2")),
    "permuted ring": Structure.from_edges(_D5, _edges("13:3 14:2 24:3 25:4 35:3")),
    "rank one": Structure.rank_one(_D5),
}
# Hashemizadeh et al., arXiv 2008.05437, figure 4.
PAPER = {
    "tucker": Structure.tucker(_P5, (2, 3, 4, 3, 2)),
    "triangle": Structure.from_edges(_P5, {(0, 1): 5, (1, 2): 2, (2, 3): 5, (1, 4): 2, (2, 4): 2}),
    "train": Structure.tensor_train(_P5, (2, 3, 6, 5)),
    "ring": Structure.tensor_ring(_P5, (2, 3, 4, 5, 5)),
}
# One index shared by all nodes: no search over pairs of nodes can find it.
CP = {"rank 3": Structure.cp(_D4, 3)}


def _permuted_ring(order: int, seed: int) -> Structure:
    """A ring over shuffled modes of size 3, ranks 1 to 4 (Li and Sun, "TNLS", ICML 2022, 5.1)."""
    rng = np.random.default_rng([order, seed])
    around = rng.permutation(order).tolist()
    pairs = zip(around, around[1:] + around[:1], strict=True)
    return Structure.from_edges((3,) * order, {pair: int(rng.integers(1, 5)) for pair in pairs})


def _random_graph(order: int, seed: int) -> Structure:
    """As many bonds as nodes, drawn from all pairs of nodes, ranks 2 and 3, modes of size 5."""
    rng = np.random.default_rng([order, seed])
    pairs = list(itertools.combinations(range(order), 2))
    chosen = rng.choice(len(pairs), order, replace=False)
    return Structure.from_edges((5,) * order, {pairs[k]: int(rng.integers(2, 4)) for k in chosen})


def _ten(draw, order: int) -> dict[str, Structure]:
    return {f"{order}, no. {seed}": draw(order, seed) for seed in range(10)}


FAMILIES = {
    "order-4": ORDER_4,
    "order-5": ORDER_5,
    "paper": PAPER,
    "cp": CP,
    "ring-6": _ten(_permuted_ring, 6),
    "ring-8": _ten(_permuted_ring, 8),
    "peps": {
        "2x3": Structure.peps((3,) * 6, (2, 3), 2),
        "2x4": Structure.peps((3,) * 8, (2, 4), 2),
    },
    "graph-6": _ten(_random_graph, 6),
    "graph-8": _ten(_random_graph, 8),
    "graph-10": _ten(_random_graph, 10),
}


def planted_tensor(
    structure: Structure, *, cores: str, seed: int, noise: float = 0.0, dtype=np.float64
) -> np.ndarray:
    """The dense tensor of random cores.

    Args:
        structure: what to plant.
        cores: "normal" for N(0, 1), "uniform" for U(0, 1).
        seed: of the cores and the noise.
        noise: norm of Gaussian noise relative to the tensor's.
        dtype: of the result.
    """
    rng = np.random.default_rng(seed)
    draw = {"normal": rng.standard_normal, "uniform": rng.random}[cores]
    arrays = [draw(structure.core_shape(node)) for node in range(structure.num_nodes)]
    tensor = np.asarray(TensorNetwork(structure, arrays).to_dense(), np.float64)
    if noise:
        error = rng.standard_normal(tensor.shape)
        tensor = tensor + noise * np.linalg.norm(tensor) / np.linalg.norm(error) * error
    return tensor.astype(dtype)
