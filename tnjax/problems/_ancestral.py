"""Trees of hidden variables on the host: samples from the root to the leaves."""

import numpy as np

from .._network import TensorNetwork
from ..contract.hypertree import Layout, stacked_on_host


def sample(
    network: TensorNetwork, plan: Layout, known: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Samples of a network without negative entries.

    Args:
        network: a tree.
        plan: its layout.
        known: category of each variable, -1 where it is drawn.
        count: of samples.
        rng: draws them.

    Returns:
        categories, shape [count, variables].
    """
    stack = stacked_on_host(network.structure, network.cores).astype(np.float64)
    for step, mode in enumerate(plan.modes):
        if mode >= 0 and known[mode] >= 0:
            other = np.arange(plan.dim) != known[mode]
            stack[step, other] = 0
    owner = {edge: step for step, edge in enumerate(plan.children) if edge is not None}
    above = [-1 if edge is None else owner[edge] for edge in plan.parents]
    told = np.ones((len(plan.nodes), plan.rank))
    for step, parent in enumerate(above):
        if plan.leaf[step]:
            told[step, 1:] = 0
        stack[step] *= told[step]
        if parent >= 0:
            told[parent] *= stack[step].sum((0, 2))
            told[parent] /= told[parent].max()
    hidden = np.zeros((len(plan.nodes), count), np.int64)
    rows = np.zeros((count, len(network.dims)), np.int32)
    for step in reversed(range(len(plan.nodes))):
        state = np.zeros(count, np.int64) if above[step] < 0 else hidden[above[step]]
        table = stack[step].transpose(1, 0, 2).reshape(plan.rank, -1)
        sums = np.cumsum(table, 1)
        draws = rng.random(count) * sums[state, -1]
        picked = np.array([np.searchsorted(sums[s], u, "right") for s, u in zip(state, draws)])
        picked = np.minimum(picked, table.shape[1] - 1)
        value, hidden[step] = np.divmod(picked, plan.rank)
        if plan.modes[step] >= 0:
            rows[:, plan.modes[step]] = value
    return rows
