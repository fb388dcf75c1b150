"""A function of a table's columns: structure by search, ridge by held-out rows, a last fit to all.

What `TNRegressor`, `TNClassifier` and `TNImputer` share.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from .._search.greedy.greedy import Greedy
from .._search.search import search
from .._search.setup import Setup
from .._structure import Structure
from .._tuned import tuned
from ..contract.equation import batch_label, node_labels
from ..problems import Supervised, SupervisedModel
from ..solve import choose_ridge, fit
from . import _stored
from ._tables import Table


@dataclasses.dataclass(frozen=True)
class Learning:
    """Estimators for tables.

    Attributes:
        least_rows: different rows from which on some are held out.
        ridges: that are tried, in units of one row.
        ridge: in units of one row, where nothing is held out.
        last_steps: steps of the last fit, to all rows.
        rows_at_once: rows that are predicted together: what they need fits into the cache.
    """

    least_rows: int = 40
    ridges: tuple[float, ...] = (0.1, 1.0, 10.0)
    ridge: float = 1.0
    last_steps: int = 10
    rows_at_once: int = 1024


LEARNING = tuned("estimators", Learning())


def learned(
    estimator: Any,
    table: Table,
    y: np.ndarray,
    weights: np.ndarray,
    maps: dict[str, Any],
    loss: Any,
) -> SupervisedModel:
    """The model of a table.

    Args:
        estimator: whose parameters `max_moves`, `ridge`, `validation` and `random_state` count.
        table: columns by name, equal rows merged.
        y: targets, as `Supervised` wants them.
        weights: of the rows.
        maps: for the columns that are used, at least one.
        loss: as of `Supervised`.
    """
    seed = check_random_state(estimator.random_state).randint(2**31 - 1)
    split, search_key, fit_key = jax.random.split(jax.random.key(seed), 3)
    share = estimator.validation if len(y) >= LEARNING().least_rows else None
    chosen = None if estimator.ridge == "auto" else float(estimator.ridge)
    problem: Any = Supervised(
        table,
        y,
        loss=loss,
        weights=weights,
        validation=share or None,
        key=split,
        maps=maps,
        ridge=LEARNING().ridge if chosen is None else chosen,
    )
    network = problem.named_start(None)
    if network is None:
        network = fit(problem, Structure.rank_one(problem.shape), key=fit_key).network
    if chosen is None and problem.held_out is not None:
        steps, grid = LEARNING().last_steps, LEARNING().ridges
        choice = choose_ridge(problem, network, grid=grid, max_steps=steps)
        problem, network = choice.problem, choice.result.network
    if len(problem.shape) > 1 and estimator.max_moves > 0 and problem.held_out is not None:
        network = search(
            problem,
            key=search_key,
            strategy=Greedy(effort="quick"),
            setup=Setup(start=network),
            max_steps=int(estimator.max_moves),
        ).network
    last = fit(problem.everything(), network, max_steps=LEARNING().last_steps)
    return last.model


class Learner(BaseEstimator):
    """What fitted estimators share: their model, and how they are pickled."""

    model_: SupervisedModel | None
    constant_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def __getstate__(self) -> Any:
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[arg-type]
        if isinstance(state.get("model_"), SupervisedModel):
            state["model_"] = _stored.model_to_bytes(state["model_"])
        return state

    def __setstate__(self, state: Any) -> None:
        if isinstance(state.get("model_"), bytes):
            state = {**state, "model_": _stored.model_from_bytes(state["model_"])}
        super().__setstate__(state)

    def _link(self, table: Table) -> np.ndarray:
        """Predictions before the inverse link; a constant where no column tells anything."""
        rows = len(next(iter(table.values())))
        if self.model_ is None:
            constant = np.asarray(self.constant_, np.float64)
            return np.broadcast_to(constant, (rows, *constant.shape)).copy()
        return host_link(self.model_, table)


def host_link(model: SupervisedModel, table: Table) -> np.ndarray:
    """`model.link` by NumPy in double precision: a row gets the same number, whichever rows are
    with it, and nothing is compiled for each number of rows."""
    import opt_einsum

    assert model.columns is not None
    structure = model.network.structure
    features = dict(zip((block[0] for block in model.blocks), model.columns(table), strict=True))
    sample = batch_label(structure)
    rows = len(next(iter(features.values())))
    outputs = [mode for mode in range(len(structure.dims)) if mode not in features]
    found = []
    for start in range(0, rows, LEARNING().rows_at_once):
        operands: list[Any] = []
        for node, core in enumerate(model.network.cores):
            operands += [np.asarray(core, np.float64), node_labels(structure, node)]
        for mode, part in features.items():
            operands += [part[start : start + LEARNING().rows_at_once], (sample, mode)]
        found.append(opt_einsum.contract(*operands, (sample, *outputs), optimize="greedy"))
    return np.concatenate(found) + model.offset


def importances(
    model: SupervisedModel | None, table: Table, y: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """By how much the loss rises where a column is taken out, its features replaced by their
    average, as shares of 1 over all columns of the table."""
    found = dict.fromkeys(table, 0.0)
    if model is not None and model.columns is not None:
        features = list(model.columns(table))
        plain = dataclasses.replace(model, columns=None)
        dtype = model.network.dtype
        values = jnp.asarray(y, dtype)
        share = jnp.asarray(weights / weights.sum(), dtype)

        def risk(features: list[np.ndarray]) -> float:
            loss = model.loss_function.value(plain.link(features), values)
            return float(jnp.sum(share * (loss if loss.ndim == 1 else loss.sum(1))))

        whole = risk(features)
        for k, name in enumerate(model.columns.names):
            average = np.average(features[k], axis=0, weights=weights)
            without = [*features]
            without[k] = np.broadcast_to(average, features[k].shape)
            found[name] = max(risk(without) - whole, 0.0)
    rises = np.asarray(list(found.values()))
    total = rises.sum()
    return rises / total if total > 0 else rises
