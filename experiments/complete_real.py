"""Completion of real tensors with gaps: search against fixed formats and TensorLy.

    python experiments/complete_real.py --out complete-real --seeds 5

| case | tensor | hidden for the test | score |
|---|---|---|---|
| il2 | 13x4x12x8, 192 entries missing | 10 % of the known | relative error |
| traffic | 731x24x20 (days, hours, sensors) | 30 % at random | relative error |
| traffic-blocks | the same | whole weeks of a sensor, 30 % | relative error |
| movielens | 943x1682x31 weeks, 100,000 ratings | 10 % | root mean square |
| nations, kinships | entity x relation x entity, 0 or 1 | 10 % of the cells | AUC-PR |

A tenth of what is not hidden is held out for validation (whole weeks of a sensor where such are to
be predicted): it stops fits, picks the network of a search, and picks from lists the ridge and the
rank of every fixed format and of TensorLy's.
MovieLens has offsets by user, film and week; the graphs have the Bernoulli loss and are compared
with CP of the size that the search found. Scores are means over seeds with their standard errors.
Leaves table.csv and result.json; a run that was stopped goes on in the same folder.
"""

import argparse
import csv
import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import jax
import numpy as np
import tensorly
import tensorly.decomposition

import tnjax
from tnjax import Completion, Greedy, Structure

FORMATS = {
    "train": Structure.tensor_train,
    "ring": Structure.tensor_ring,
    "Tucker": Structure.tucker,
    "CP": Structure.cp,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A tensor with known entries and what is done with them.

    Attributes:
        indices, values, shape: the known entries.
        hide: seed -> truth values [entries], what is hidden for the test.
        hold: the same for validation, of which what is hidden for the test is left out; single
            entries at random by default.
        score: (predictions, values) of the test -> numbers by name.
        options: of `Completion`.
        ridges: of `Completion`, to choose from by validation.
        budget: parameters of the search.
        ranks: for the fixed formats.
        dense: whether TensorLy, which needs the dense tensor, is compared.
        equal: whether CP is given the size that the search found, and no other format is tried.
    """

    indices: np.ndarray
    values: np.ndarray
    shape: tuple[int, ...]
    hide: Callable[[int], np.ndarray]
    score: Callable[..., dict[str, float]]
    options: dict[str, Any]
    budget: int
    ranks: tuple[int, ...]
    ridges: tuple[float, ...] = (0.0,)
    dense: bool = True
    equal: bool = False
    hold: Callable[[int], np.ndarray] | None = None


# Scores -------------------------------------------------------------------------------------


def errors(guess: np.ndarray, values: np.ndarray) -> dict[str, float]:
    gap = np.linalg.norm(guess - values)
    return {"error": gap / np.linalg.norm(values), "rmse": gap / len(values) ** 0.5}


def average_precision(guess: np.ndarray, values: np.ndarray) -> float:
    """Area under the curve of precision over recall, by its steps; ties in the given order."""
    true = values[np.argsort(-guess, kind="stable")] > 0.5
    return float((np.cumsum(true) / np.arange(1, len(true) + 1))[true].mean())


def links(guess: np.ndarray, values: np.ndarray) -> dict[str, float]:
    return {"auc_pr": average_precision(guess, values)}


# Cases --------------------------------------------------------------------------------------


def share(count: int, part: float) -> Callable[[int], np.ndarray]:
    def hide(seed: int) -> np.ndarray:
        hidden = np.zeros(count, bool)
        hidden[np.random.default_rng(seed).permutation(count)[: round(part * count)]] = True
        return hidden

    return hide


def weeks(indices: np.ndarray, part: float, draw: int = 0) -> Callable[[int], np.ndarray]:
    """All 7 x 24 entries of a week of a sensor together."""

    def hide(seed: int) -> np.ndarray:
        week, sensor = indices[:, 0] // 7, indices[:, 2]
        chosen = (
            np.random.default_rng((draw, seed)).random((week.max() + 1, sensor.max() + 1)) < part
        )
        return chosen[week, sensor]

    return hide


def dense_case(tensor: np.ndarray, hide, hold=None, **settings) -> Case:
    indices = np.argwhere(~np.isnan(tensor))
    values = tensor[tuple(indices.T)]
    hold = None if hold is None else hold(indices)
    return Case(indices, values, tensor.shape, hide(indices), errors, hold=hold, **settings)


def blocks_case(tensor: np.ndarray, **settings) -> Case:
    """What is held out to choose by is missing as what is to be predicted: by whole weeks."""
    hide, hold = (lambda i: weeks(i, 0.3)), (lambda i: weeks(i, 0.1, draw=1))
    return dense_case(tensor, hide, hold, **settings)


def graph_case(graph: datasets.Triples, budget: int) -> Case:
    cells = np.argwhere(np.ones(graph.shape, bool))
    truth = np.zeros(graph.shape)
    truth[tuple(np.concatenate([graph.train, graph.validation, graph.test]).T)] = 1
    values = truth[tuple(cells.T)]
    options = {"loss": "bernoulli", "offsets": "mean"}
    hide = share(len(values), 0.1)
    about = (cells, values, graph.shape, hide, links, options, budget, ())
    return Case(*about, ridges=(0.03, 0.3), dense=False, equal=True)


def movielens_case(ratings: datasets.Ratings, budget: int) -> Case:
    options = {"offsets": "modes"}
    hide = share(len(ratings.values), 0.1)
    return Case(
        *(ratings.indices, ratings.values, ratings.shape, hide, errors, options, budget),
        ranks=(1, 2),
        ridges=(5.0, 10.0, 20.0),
        dense=False,
    )


def random_share(part: float):
    return lambda indices: share(len(indices), part)


def cases() -> dict[str, Callable[[], Case]]:
    traffic = {"options": {}, "budget": 8000, "ranks": (2, 4, 8)}
    return {
        "il2": lambda: dense_case(
            datasets.il2(), random_share(0.1), options={}, budget=600, ranks=(1, 2, 4)
        ),
        "nations": lambda: graph_case(datasets.triples("nations"), 2500),
        "movielens": lambda: movielens_case(datasets.movielens(), 16_000),
        "traffic": lambda: dense_case(datasets.traffic(), random_share(0.3), **traffic),
        "traffic-blocks": lambda: blocks_case(datasets.traffic(), **traffic),
        "kinships": lambda: graph_case(datasets.triples("kinships"), 10_000),
    }


def small_cases() -> dict[str, Callable[[], Case]]:
    """Stand-ins of the same formats, for a test."""
    rng = np.random.default_rng(0)
    rows = rng.random((14 * 24, 3)) + np.sin(np.arange(14 * 24) / 4)[:, None]
    traffic = datasets.read_traffic("\n".join(" ".join(map(str, row)) for row in rows))
    lines = [
        f"{user}\t{film}\t{1 + (user * film + k) % 5}\t{880_000_000 + 800_000 * k}"
        for user in range(6)
        for film in range(5)
        for k in range(2)
    ]
    ratings = datasets.read_ratings("\n".join(["names", *lines]))
    triples = [f"e{h}\tr{(h + t) % 3}\te{t}" for h in range(6) for t in range(6)]
    graph = datasets.read_triples(*("\n".join(triples[k::3]) for k in range(3)))
    few = {"options": {}, "budget": 90, "ranks": (1, 2)}
    return {
        "traffic-blocks": lambda: blocks_case(traffic, **few),
        "movielens": lambda: dataclasses.replace(movielens_case(ratings, 40), ranks=(1,)),
        "nations": lambda: graph_case(graph, 40),
    }


# Methods ------------------------------------------------------------------------------------


def run_case(name: str, case: Case, seed: int, options, report: Callable[[dict], None]) -> None:
    hidden = case.hide(seed)
    seen = np.flatnonzero(~hidden)
    if case.hold is None:
        held = np.random.default_rng((seed, 1)).permutation(len(seen))[: len(seen) // 10]
        held = np.sort(held)
    else:
        held = np.flatnonzero(case.hold(seed)[seen])
    begin = time.perf_counter()

    def row(method: str, params: int, guess: np.ndarray, **more) -> None:
        nonlocal begin
        scores = case.score(guess, case.values[hidden])
        seconds = time.perf_counter() - begin
        report({"case": name, "method": method, "seed": seed, "params": params}
               | scores | {"seconds": seconds} | more)  # fmt: skip
        begin = time.perf_counter()

    problems = [
        Completion(
            *(case.indices[seen], case.values[seen], case.shape),
            validation=held,
            ridge=ridge,
            **case.options,
        )
        for ridge in case.ridges
    ]
    if case.options.get("offsets") == "modes":
        base = problems[0].offsets.at(case.indices[hidden])
        row("biases", 1 + sum(case.shape), base)

    def best_row(method: str, solve: Callable, ranks: tuple) -> int:
        """Of all ridges and ranks the one with the lowest error on the held-out entries."""
        tries = [
            (ridge, rank, problem, solve(problem, rank))
            for ridge, problem in zip(case.ridges, problems)
            for rank in ranks
        ]
        ridge, rank, problem, found = min(tries, key=lambda each: each[-1].error)
        edges = {"-".join(map(str, edge)): n for edge, n in found.structure.edges.items()}
        guess = np.asarray(problem.predict(found.network, case.indices[hidden]))
        about = {"rank": rank, "ridge": ridge, "structure": json.dumps(edges)}
        row(method, found.structure.num_params, guess, **about)
        return found.structure.num_params

    key = jax.random.key(seed)
    size = best_row(
        "search",
        lambda problem, _: tnjax.search(
            problem,
            key=key,
            strategy=Greedy(prune=False),
            max_params=case.budget,
            max_seconds=options.max_seconds,
        ),
        (None,),
    )
    formats, ranks = FORMATS, case.ranks
    if case.equal:
        formats, ranks = {"CP": Structure.cp}, (max(1, round(size / sum(case.shape))),)
    for method, format in formats.items():
        solve = lambda problem, rank, format=format: tnjax.fit(
            problem, format(case.shape, rank), key=key, max_steps=options.sweeps
        )
        best_row(method, solve, ranks)
    if case.dense:
        train = np.delete(seen, held)
        for method, params, rank, tensor in tensorly_fits(case, train, seen[held], options, seed):
            row(method, params, tensor[tuple(case.indices[hidden].T)], rank=rank)


def tensorly_fits(case: Case, train: np.ndarray, held: np.ndarray, options, seed: int):
    """TensorLy's masked CP and Tucker, ranks picked by the validation entries."""
    where = lambda rows: tuple(case.indices[rows].T)
    mask = np.zeros(case.shape, bool)
    mask[where(train)] = True
    start = np.full(case.shape, case.values[train].mean())
    start[where(train)] = case.values[train]
    more = {"mask": mask, "n_iter_max": options.tensorly_sweeps, "random_state": seed, "tol": 1e-7}
    for method in ("CP", "Tucker"):
        tries = []
        for rank in case.ranks:
            ranks = [min(rank, n) for n in case.shape]
            if method == "CP":
                found = tensorly.decomposition.parafac(start, rank, **more)
                tensor, params = tensorly.cp_to_tensor(found), rank * sum(case.shape)
            else:
                found = tensorly.decomposition.tucker(start, ranks, **more)
                tensor = tensorly.tucker_to_tensor(found)
                params = found[0].size + sum(factor.size for factor in found[1])
            gap = np.linalg.norm(tensor[where(held)] - case.values[held])
            tries.append((gap, params, rank, tensor))
        _, params, rank, tensor = min(tries, key=lambda each: each[0])
        yield f"TensorLy {method}", params, rank, tensor


# Table --------------------------------------------------------------------------------------

SCORES = ("error", "rmse", "auc_pr")


def table(rows: list[dict]) -> list[dict]:
    """Means over seeds with their standard errors."""
    out = []
    for case, method in dict.fromkeys((row["case"], row["method"]) for row in rows):
        mine = [row for row in rows if (row["case"], row["method"]) == (case, method)]
        line = {"case": case, "method": method, "seeds": len(mine)}
        line["params"] = float(np.mean([row["params"] for row in mine]))
        for score in SCORES:
            values = [row[score] for row in mine if score in row]
            if values:
                spread = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else None
                line |= {score: float(np.mean(values)), f"{score}_se": spread}
        out.append(line)
    return out


def print_table(lines: list[dict]) -> None:
    print(
        f"\n{'case':<16}{'method':<17}{'seeds':>5}{'params':>8}"
        + "".join(f"{s:>18}" for s in SCORES)
    )
    for line in lines:
        cells = []
        for score in SCORES:
            spread = line.get(f"{score}_se")
            cell = "" if score not in line else f"{line[score]:.4f}"
            cells.append(cell if spread is None else f"{cell} ± {spread:.4f}")
        text = "".join(f"{cell:>18}" for cell in cells)
        print(
            f"{line['case']:<16}{line['method']:<17}{line['seeds']:>5}{line['params']:>8.0f}{text}"
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder")
    parser.add_argument("--cases", nargs="*", help=f"of {', '.join(cases())}; default all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sweeps", type=int, default=50, help="of the fixed formats")
    parser.add_argument("--tensorly-sweeps", type=int, default=200)
    parser.add_argument("--max-seconds", type=float, help="of each search")
    parser.add_argument("--small", action="store_true", help="stand-ins for the data, for a test")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = finished(options.out / "result.json")
    missing: list[str] = []

    def report(row: dict) -> None:
        rows.append(row)
        scores = "".join(f"  {score} {row[score]:.4f}" for score in SCORES if score in row)
        print(
            f"{row['case']:<16}{row['method']:<17}{row['seed']:>3}{row['params']:>8}{scores}"
            f"  {row['seconds']:.1f} s",
            flush=True,
        )
        write(options, rows)

    for name, load in (small_cases() if options.small else cases()).items():
        if options.cases and name not in options.cases:
            continue
        try:
            case = load()
        except datasets.DataMissing as error:
            missing.append(f"{name}: {error}")
            continue
        for seed in range(options.seeds):
            if not any((row["case"], row["seed"]) == (name, seed) for row in rows):
                run_case(name, case, seed, options, report)
                rows[-1]["last"] = True
                write(options, rows)
    print_table(table(rows))
    for line in missing:
        print(f"left out, {line}", file=sys.stderr)
    return 1 if missing else 0


def finished(path: Path) -> list[dict]:
    """Rows of an earlier run in the same folder, of those seeds that it finished."""
    if not path.is_file():
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    whole = {(row["case"], row["seed"]) for row in rows if row.get("last")}
    return [row for row in rows if (row["case"], row["seed"]) in whole]


def write(options: argparse.Namespace, rows: list[dict]) -> None:
    """What was found so far: a run that is stopped keeps it."""
    lines = table(rows)
    with open(options.out / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for line in lines for key in line)))
        writer.writeheader()
        writer.writerows(lines)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
    record = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "settings": settings,
        "versions": {m.__name__: m.__version__ for m in (tnjax, jax, np, tensorly)},
        "machine": {"processor": platform.processor(), "cores": os.cpu_count()},
        "table": lines,
        "rows": rows,
    }
    (options.out / "result.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
