"""The fit of a table: a start and a ridge, which held-out rows choose, then, once a search has
grown the network, a last fit to all rows."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from .._network import TensorNetwork
from .._structure import Structure
from .._tuned import tuned
from ..features import FeatureMap
from ..problems import Density, Supervised
from ._fit import fit
from ._validate import choose_ridge


@dataclasses.dataclass(frozen=True)
class Learning:
    """Functions of tables.

    Attributes:
        least_rows: different rows from which on some are held out.
        ridges: that are tried, in units of one row.
        ridge: in units of one row, where nothing is held out.
        last_steps: steps of the last fit, to all rows.
    """

    least_rows: int = 40
    ridges: tuple[float, ...] = (0.1, 1.0, 10.0)
    ridge: float = 1.0
    last_steps: int = 10


LEARNING = tuned("tables", Learning())


class Begun(NamedTuple):
    """A problem with its ridge, and the network that a search begins with."""

    problem: Supervised
    network: TensorNetwork

    @property
    def grows(self) -> bool:
        """Whether held-out rows can tell of a bond what it is good for."""
        return len(self.problem.shape) > 1 and self.problem.held_out is not None


def held_out_share(share: float, rows: int) -> float | None:
    """The share of so many rows that is held out; None where they are too few."""
    return (share or None) if rows >= LEARNING().least_rows else None


def begin_table(
    table: Mapping[str, np.ndarray],
    targets: np.ndarray,
    maps: Mapping[str, FeatureMap],
    *,
    key: PRNGKeyArray,
    ridge: float | None = None,
    **options: Any,
) -> Begun:
    """The problem of a table and the network to begin with.

    Args:
        table: columns by name.
        targets: as `Supervised` wants them.
        maps: of the columns that are used, at least one.
        key: for what is held out, and a random start where there is no other.
        ridge: in units of one row; None: held-out rows choose.
        options: `loss`, `weights` and `validation` of `Supervised`.
    """
    split, start = jax.random.split(key)
    first = LEARNING().ridge if ridge is None else ridge
    problem = Supervised(table, targets, maps=maps, key=split, ridge=first, **options)
    network = problem.named_start(None)
    if network is None:
        network = fit(problem, Structure.rank_one(problem.shape), key=start).network
    if ridge is None and problem.held_out is not None:
        grid, steps = LEARNING().ridges, LEARNING().last_steps
        choice = choose_ridge(problem, network, grid=grid, max_steps=steps)
        assert isinstance(choice.problem, Supervised)
        problem, network = choice.problem, choice.result.network
    return Begun(problem, network)


def finish_table(problem: Supervised | Density, network: TensorNetwork) -> TensorNetwork:
    """The network fitted to all rows; the start of a problem without held-out rows is so already.

    Args:
        problem: as it was searched.
        network: that the search has found.
    """
    if problem.held_out is None:
        return network
    return fit(problem.everything(), network, max_steps=LEARNING().last_steps).network
