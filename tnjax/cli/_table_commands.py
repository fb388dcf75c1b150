"""`tnjax fit` and `tnjax density`."""

from __future__ import annotations

import dataclasses

from ._progress import displayed
from ._table_options import DensityOptions, FitOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit(FitOptions):
    """Learn to predict a column of a table from all others.

    A row of TABLE is a case. Columns of words are categories, of numbers smooth functions are
    taken; missing values are treated as such. The network begins with the best sum of functions of
    one column each; bonds grow where rows that are held out say that columns act together; at last
    it is fitted to these rows, too.

    Writes a run folder: as decompose, and model.safetensors (for tnjax.problems.model_from_bytes),
    predictions.csv (with --predict), anomalies.csv (with --anomalies).

    Example: tnjax fit houses.csv --target price --predict new.csv --out run
    """

    def run(self) -> int:
        from ._fitting import fit_table

        with displayed() as display:
            return fit_table(self, display)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Density(DensityOptions):
    """Learn the distribution of the rows of a table.

    It tells odd rows, draws new ones and fills gaps. Columns of words are categories, numbers are
    put into bins; missing values are summed out. The network begins with the Chow-Liu tree, and
    grows as long as rows that are held out become more likely; at last it is fitted to these rows,
    too.

    Writes a run folder: as decompose, and model.safetensors (for tnjax.problems.model_from_bytes),
    predictions.csv (with --predict), samples.csv (with --sample), anomalies.csv (with --anomalies).

    Example: tnjax density patients.csv --anomalies --sample 1000 --out run
    """

    def run(self) -> int:
        from ._learning import learn_density

        with displayed() as display:
            return learn_density(self, display)
