"""What the estimators have in common: their parameters, how they are pickled, one fit."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from .._search.greedy.greedy import Greedy
from .._search.search import search
from .._search.setup import Setup
from ..features.kinds import Table
from ..problems import SupervisedModel, TableDensity, model_from_bytes, model_to_bytes
from ..problems.ablation import ablation, host_link
from ..solve.tables import begin_table, finish_table, held_out_share


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class Learner(BaseEstimator):
    """An estimator with a model that is pickled as a safetensors file.

    Parameters are the fields of a dataclass, checked when they are used: scikit-learn wants
    constructors that do nothing but to keep them.
    """

    max_moves: Any
    validation: Any = 0.2
    random_state: Any = 0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def __getstate__(self) -> Any:
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[arg-type]
        if isinstance(state.get("model_"), SupervisedModel | TableDensity):
            state["model_"] = model_to_bytes(state["model_"])
        return state

    def __setstate__(self, state: Any) -> None:
        if isinstance(state.get("model_"), bytes):
            state = {**state, "model_": model_from_bytes(state["model_"])}
        super().__setstate__(state)

    def _key(self) -> PRNGKeyArray:
        """Of all that is drawn in a fit."""
        return jax.random.key(check_random_state(self.random_state).randint(2**31 - 1))


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class FunctionLearner(Learner):
    """An estimator whose model is a function of the columns of a table."""

    maps: Any = "auto"
    max_moves: Any = 6
    ridge: Any = "auto"

    def _learn(
        self, table: Table, y: np.ndarray, weights: np.ndarray, maps: dict[str, Any], loss: Any
    ) -> None:
        """Structure by search, ridge by held-out rows, a last fit to all; and what the columns are
        worth.

        Args:
            table: columns by name, equal rows merged.
            y: targets, as `Supervised` wants them.
            weights: of the rows.
            maps: for the columns that are used; without any there is no model.
            loss: as of `Supervised`.
        """
        self.model_: SupervisedModel | None = None
        rises = dict.fromkeys(table, 0.0)
        if maps:
            self.model_ = self._searched(table, y, weights, maps, loss)
            rises |= ablation(self.model_, table, y, weights)
        self.feature_importances_ = as_shares(np.asarray(list(rises.values())))

    def _searched(
        self, table: Table, y: np.ndarray, weights: np.ndarray, maps: dict[str, Any], loss: Any
    ) -> SupervisedModel:
        first, second = jax.random.split(self._key())
        share = held_out_share(self.validation, len(y))
        ridge = None if self.ridge == "auto" else float(self.ridge)
        options: Any = dict(loss=loss, weights=weights, validation=share)
        begun = begin_table(table, y, maps, key=first, ridge=ridge, **options)
        network = begun.network
        if begun.grows and self.max_moves > 0:
            network = search(
                begun.problem,
                key=second,
                strategy=Greedy(effort="quick"),
                setup=Setup(start=network),
                max_steps=int(self.max_moves),
            ).network
        return begun.problem.model(finish_table(begun.problem, network))

    def _link(self, table: Table) -> np.ndarray:
        """Predictions before the inverse link; a constant where no column tells anything."""
        rows = len(next(iter(table.values())))
        if self.model_ is None:
            constant = np.asarray(vars(self)["constant_"], np.float64)
            return np.broadcast_to(constant, (rows, *constant.shape)).copy()
        return host_link(self.model_, table)


def as_shares(values: np.ndarray) -> np.ndarray:
    """Values of 0 or more as shares of 1; zeros stay zeros."""
    total = values.sum()
    return values / total if total > 0 else values
