"""Estimators for tables: scikit-learn's own checks, and scores against its estimators.

python experiments/benchmarks/estimators.py --checks
python experiments/benchmarks/estimators.py --tables diabetes wine --folds 5
python experiments/benchmarks/estimators.py --regression 10
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np

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


def table(name: str):
    """(X, y, whether y are classes); `california` is made up after the table of that name."""
    from sklearn import datasets

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


def scores(names: list[str], folds: int) -> dict:
    """Mean and standard error over folds: R² of numbers, accuracy of classes."""
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score

    found = {}
    for name in names:
        X, y, classes = table(name)
        split = (StratifiedKFold if classes else KFold)(folds, shuffle=True, random_state=0)
        for rival, estimator in rivals(classes).items():
            begin = time.perf_counter()
            score = cross_val_score(estimator, X, y, cv=split)
            error = float(score.std(ddof=1) / np.sqrt(folds))
            seconds = (time.perf_counter() - begin) / folds
            found[f"{name}/{rival}"] = {
                "score": float(score.mean()),
                "error": error,
                "seconds": seconds,
            }
            print(f"{name:14s} {rival:10s} {score.mean():.3f} +- {error:.3f} {seconds:8.1f} s")
    return found


def regression(seeds: int, samples: int = 200, shape=(25, 25, 3), rank: int = 2) -> dict:
    """y = <W, X> + e, W of a low CP rank with entries of variance 1: test errors of each seed."""
    errors = []
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
        new, truth = draw(2000)
        problem = tnjax.Supervised([x], y, offsets=None, ridge=1.0)
        cp = tnjax.Structure(shape, ((0,), (1,), (2,)), {(0, 1, 2): rank})
        solver = tnjax.ALS(max_steps=60)
        found = tnjax.fit(problem, cp, key=jax.random.key(seed), num_starts=8, solver=solver)
        predicted = np.asarray(found.model.predict([new]))
        errors.append(float(np.mean((predicted - truth) ** 2)))
        print(f"seed {seed}: test mean squared error {errors[-1]:.3f}", flush=True)
    print(f"mean {np.mean(errors):.3f}, largest {max(errors):.3f}")
    return {"errors": errors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checks", nargs="*", default=None, metavar="ESTIMATOR")
    parser.add_argument("--tables", nargs="*", default=[])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--regression", type=int, default=0, metavar="SEEDS")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    if options.checks is not None:
        found["checks"] = checks(options.checks or list(ESTIMATORS))
    if options.tables:
        found["scores"] = scores(options.tables, options.folds)
    if options.regression:
        found["regression"] = regression(options.regression)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
