"""Planted structures from the literature, by family (nodes numbered from 0)."""

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
    "triangle": Structure.from_edges(_P5, {(0, 1): 5, (1, 2): 2, (2, 3): 5, (1, 4): 2, (2, 4): 2}),
    "train": Structure.tensor_train(_P5, (2, 3, 6, 5)),
    "ring": Structure.tensor_ring(_P5, (2, 3, 4, 5, 5)),
}
FAMILIES = {"order-4": ORDER_4, "order-5": ORDER_5, "paper": PAPER}


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
