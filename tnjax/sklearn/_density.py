"""Densities of tables."""

import dataclasses
from typing import Any

import jax
import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._search.search import search
from ..features import Codebook
from ..problems import Density, TableDensity
from ..problems.information import shared_information
from ..solve.tables import finish_table, held_out_share
from ._learner import Learner, as_shares
from ._tables import is_frame, read, weighed


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class TNDensity(DensityMixin, Learner):
    """A tensor network that is the distribution of the rows of a table; its structure is learned.

    Columns of words, categories and booleans are categories, and so are numbers of which few are
    distinct; other numbers are put into bins, with even densities inside and exponential ones at
    the ends. Missing values are summed out. It begins with the Chow-Liu tree, and grows hidden
    variables (kind "nonnegative") or bonds ("born") where held-out rows say that they pay.

    Args:
        kind: "nonnegative" or "born".
        bins: of columns of numbers; one with at most as many distinct values is of categories.
        max_moves: changes of the network at the most; None: as many as pay.
        validation: share of the rows that is held out to choose the structure; from 40 rows on. 0:
            the Bayesian information criterion chooses, and a row that is given twice is the same as
            one of twice the weight.
        random_state: an integer for the split and the search; None draws one.

    Attributes:
        model_: a `tnjax.problems.TableDensity`.
        feature_importances_: what each column tells about all others together (their mutual
            information), as shares of 1.
        n_features_in_, feature_names_in_: as scikit-learn says.

    Example:
        >>> import numpy as np
        >>> from tnjax.sklearn import TNDensity
        >>> x = np.random.default_rng(0).normal(size=(30, 1))
        >>> density = TNDensity(bins=2).fit(np.concatenate([x, x > 0], 1))
        >>> usual, odd = density.score_samples([[1.0, 1.0], [1.0, 0.0]])
        >>> bool(usual > odd + 1)
        True
    """

    kind: Any = "nonnegative"
    bins: Any = 8
    max_moves: Any = None

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "TNDensity":
        """Learn from a table.

        Args:
            X: a data frame, or an array [rows, columns].
            y: not looked at.
            sample_weight: one for each row, 0 or more.

        Returns:
            The estimator itself.

        Raises:
            ValueError: for no row, a column without any value, more categories than 1,024.
        """
        table, weights = weighed(read(self, X, reset=True), sample_weight)
        self._pandas = is_frame(X) and type(X).__module__.startswith("pandas")
        codes = Codebook.fit(table, self.bins, weights)
        values = codes.encode(table)
        first, second = jax.random.split(self._key())
        options: Any = dict(kind=self.kind, weights=weights, key=first)
        share = held_out_share(self.validation, len(values))
        problem = Density(values, codes.dims, validation=share, **options)
        most = values.size if self.max_moves is None else int(self.max_moves)
        network = problem.named_start(None) if most == 0 else None
        if network is None:
            network = search(problem, key=second, max_steps=most).network
        network = finish_table(problem, network)
        self.model_ = TableDensity(problem.model(network), codes)
        shared = shared_information(self.model_.model, values, weights)
        self.feature_importances_ = as_shares(shared)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """The log-density of each row, in nats; the lower, the more of an anomaly.

        A category that was not seen in n rows of training has probability 1 / (n + 1).

        Args:
            X: with the columns that it was fitted to.

        Returns:
            [rows].
        """
        check_is_fitted(self)
        return self.model_.log_prob(read(self, X, reset=False), unseen="missing")

    def score(self, X: Any, y: Any = None) -> float:
        """The mean log-density of the rows, in nats.

        Args:
            X: with the columns that it was fitted to.
            y: not looked at.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Exact, independent samples of rows.

        Args:
            n_samples: how many.
            random_state: an integer; by default that of the estimator.

        Returns:
            a data frame if it was fitted to one of pandas, else an array [rows, columns].

        Raises:
            ValueError: if `n_samples` is not positive.
        """
        check_is_fitted(self)
        given = self.random_state if random_state is None else random_state
        seed = check_random_state(given).randint(2**31 - 1)
        table = self.model_.sample(jax.random.key(seed), n_samples)
        if self._pandas:
            import pandas as pd

            return pd.DataFrame(table)
        words = any(column.dtype.kind == "O" for column in table.values())
        kind = object if words else np.float64
        return np.stack([column.astype(kind) for column in table.values()], 1)
