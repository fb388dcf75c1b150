"""Anomalies in tables with labels: a learned density against scikit-learn's detectors.

    python experiments/anomalies.py --seeds 5 --out anomalies.json
    python experiments/anomalies.py --tables mixed --seeds 1

Each detector learns from 60 % of the normal rows and ranks the others together with all anomalies;
the score is the area below the ROC curve. Tables: breast cancer (malignant cases are the
anomalies), wine (its third class), digits (each second image, all eights as the anomalies; pixels
above 7 are black), and a table of mixed types that is made up: columns that depend
on each other, anomalies whose values are all usual but do not go together. Words are coded as one
number each for the detectors that want numbers.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from records import about, keep

NAMES = ("breast_cancer", "wine", "digits", "mixed")


def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows [rows, columns] and whether each is an anomaly.

    Raises:
        SystemExit: for a table that is not known.
    """
    from sklearn import datasets

    if name == "mixed":
        return mixed()
    if name not in NAMES:
        raise SystemExit(f"anomalies.py: there is no table {name!r}; expected {', '.join(NAMES)}.")
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "digits":
        some = (y == 8) | (np.arange(len(y)) % 2 == 0)
        return (X[some] > 7).astype(np.float64), y[some] == 8
    return X, y == (0 if name == "breast_cancer" else 2)


def mixed(rows: int = 1200, anomalies: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A hidden cause with three values decides a word, a grade and two numbers; the columns of an
    anomaly come from different rows."""
    rng = np.random.default_rng(0)

    def draw(count: int) -> list[np.ndarray]:
        cause = rng.integers(3, size=count)
        word = np.where(rng.random(count) < 0.9, cause, rng.integers(3, size=count))
        grade = np.clip(cause + rng.integers(-1, 2, size=count), 0, 3)
        x = cause + 0.4 * rng.standard_normal(count)
        y = np.sin(3 * x) + 0.2 * rng.standard_normal(count)
        return [np.asarray(["red", "green", "blue"], object)[word], grade, x, y]

    normal = draw(rows)
    odd = [rng.permutation(column[:anomalies]) for column in draw(anomalies)]
    X = np.empty((rows + anomalies, 4), object)
    for k in range(4):
        X[:, k] = np.concatenate([normal[k], odd[k]])
    return X, np.arange(len(X)) >= rows


def detectors(seed: int):
    """Each with a function that ranks rows, given rows to learn from; the most normal ones get the
    largest numbers."""
    from sklearn.ensemble import IsolationForest
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    from tnjax.sklearn import TNDensity

    return {
        "tnjax": TNDensity(random_state=seed),
        "Chow-Liu": TNDensity(random_state=seed, max_moves=0),
        "forest": IsolationForest(random_state=seed),
        "svm": make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)),
    }


def coded(X: np.ndarray) -> np.ndarray:
    """Words as numbers, in alphabetical order."""
    columns = []
    for column in X.T:
        words = any(isinstance(value, str) for value in column)
        codes = np.unique(column.astype(str), return_inverse=True)[1] if words else column
        columns.append(np.asarray(codes, np.float64))
    return np.stack(columns, 1)


def main(arguments: list[str] | None = None) -> list[dict]:
    from sklearn.metrics import roc_auc_score

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=list(NAMES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="normal rows to learn from, at most")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    lines: list[dict] = []
    for name in options.tables:
        X, odd = table(name)
        found: dict[str, list[tuple[float, float]]] = {}
        for seed in range(options.seeds):
            normal = np.random.default_rng(seed).permutation(np.flatnonzero(~odd))
            cut = int(0.6 * len(normal))
            train = normal[: min(cut, options.rows or cut)]
            test = np.concatenate([normal[cut:], np.flatnonzero(odd)])
            for rival, detector in detectors(seed).items():
                rows = X if hasattr(detector, "kind") else coded(X)
                begin = time.perf_counter()
                score = detector.fit(rows[train]).score_samples(rows[test])
                seconds = time.perf_counter() - begin
                found.setdefault(rival, []).append((roc_auc_score(~odd[test], score), seconds))
        for rival, pairs in found.items():
            areas = np.asarray([area for area, _ in pairs])
            error = areas.std(ddof=1) / np.sqrt(len(areas)) if len(areas) > 1 else 0.0
            seconds = float(np.median([seconds for _, seconds in pairs]))
            line = {"table": name, "detector": rival, "auc": float(areas.mean()), "error": error}
            lines.append({**line, "areas": areas.tolist(), "seconds": seconds})
            print(
                f"{name:14s} {rival:10s} {areas.mean():.3f} +- {error:.3f} {seconds:8.1f} s",
                flush=True,
            )
    keep(options.out, {**about(__file__, arguments), "lines": lines})
    return lines


if __name__ == "__main__":
    main()
