"""What the variables of a learned distribution tell about each other."""

import numpy as np
from jaxtyping import Float, Int

from .._structure import Edge, Structure
from ._density_model import DensityModel


def shared_information(
    model: DensityModel,
    rows: Int[np.ndarray, "rows variables"],
    weights: Float[np.ndarray, " rows"],
) -> Float[np.ndarray, " variables"]:
    """What each variable tells about all others together, in nats: the mean of log p(x) - log p(x
    of the variable) - log p(x of the others), their mutual information where the rows follow the
    model.

    Args:
        model: of the rows.
        rows: categories, -1 where a value is missing; rows without a value of a variable do not
            count for it.
        weights: of the rows.
    """
    found = np.zeros(rows.shape[1])
    whole = model.log_prob(rows)
    for variable in range(rows.shape[1]):
        seen = rows[:, variable] >= 0
        if not seen.any():
            continue
        alone = np.full_like(rows, -1)
        alone[:, variable] = rows[:, variable]
        gain = whole - model.log_prob(alone) - model.log_prob(without(rows, variable))
        found[variable] = max(float(np.average(gain[seen], weights=weights[seen])), 0.0)
    return found


def without(
    rows: Int[np.ndarray, "rows variables"], variable: int
) -> Int[np.ndarray, "rows variables"]:
    """The rows as if they had no value of a variable."""
    others = rows.copy()
    others[:, variable] = -1
    return others


def least_likely(
    model: DensityModel, rows: Int[np.ndarray, "rows variables"]
) -> Int[np.ndarray, " rows"]:
    """The variable of each row whose value is least likely given all others."""
    found = np.empty(rows.shape)
    whole = model.log_prob(rows)
    for variable in range(rows.shape[1]):
        logs = whole - model.log_prob(without(rows, variable))
        found[:, variable] = np.where(rows[:, variable] >= 0, logs, np.inf)
    return found.argmin(1)


def bond_information(
    model: DensityModel, rows: Int[np.ndarray, "rows variables"]
) -> dict[Edge, float]:
    """What the parts of a tree that a bond joins tell about each other, in nats: their mutual
    information, of a bond of several nodes their total correlation.

    Args:
        model: of the rows.
        rows: samples of the model.

    Returns:
        by the bond; bonds that close a loop join no parts and are left out.
    """
    structure = model.network.structure
    whole = model.log_prob(rows)
    found = {}
    for edge in structure.edges:
        parts = _parts(structure, edge)
        if parts is None:
            continue
        logs = np.zeros(len(rows))
        for part in filter(None, parts):
            only = np.full_like(rows, -1)
            only[:, part] = rows[:, part]
            logs += model.log_prob(only)
        found[edge] = max(float(np.mean(whole - logs)), 0.0)
    return found


def _parts(structure: Structure, edge: Edge) -> list[list[int]] | None:
    """The variables that hang on each node of a bond without it; None if it closes a loop."""
    part = np.arange(structure.num_nodes)
    for other in structure.edges:
        if other != edge:
            joined = [part[node] for node in other]
            part[np.isin(part, joined)] = min(joined)
    ends = [part[node] for node in edge]
    if len(set(ends)) < len(ends):
        return None
    nodes = [np.flatnonzero(part == end) for end in ends]
    return [[mode for node in some for mode in structure.legs[node]] for some in nodes]
