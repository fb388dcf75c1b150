"""Every experiment in its small setting, and the configurations that they are composed of."""

import csv
import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import tnjax

hydra = pytest.importorskip("hydra")
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
CONFIGS = EXPERIMENTS.parent / "configs"


@pytest.fixture
def experiment(monkeypatch):
    """A module of `experiments/` by name, imported as its script would be."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    monkeypatch.syspath_prepend(str(EXPERIMENTS / "benchmarks"))
    return importlib.import_module


def compose(name, *overrides):
    with hydra.initialize_config_dir(str(CONFIGS), version_base=None):
        return hydra.compose(name, list(overrides))


def read_csv(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Configurations -----------------------------------------------------------------------------


def options(group) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def test_groups_can_be_composed_and_overridden():
    config = compose("search", "structure=ring", "search=tucker", "solver=adam", "seed=7")
    assert config.search.options.format == "tucker"
    assert config.structure.edges["0-4"] == 5
    assert (config.solver.name, config.seed) == ("optax", 7)
    config = compose("search", "experiment=camera", "search=tree", "data.stride=8")
    assert (config.data.kind, config.data.stride, config.search.strategy) == ("image", 8, "tree")
    assert config.target_error == 0.15


@pytest.mark.parametrize("name", options("search"))
def test_every_search_option_makes_a_strategy(experiment, name):
    common = experiment("common")
    strategy = common.make_strategy(common.group("search", name), tnjax.ALS())
    assert isinstance(strategy, tnjax.Strategy)
    assert isinstance(strategy.solver, tnjax.ALS)


@pytest.mark.parametrize("name", options("solver"))
def test_every_solver_option_makes_a_solver(experiment, name):
    common = experiment("common")
    assert isinstance(common.make_solver(common.group("solver", name)), tnjax.Solver)


def test_the_planted_structures_are_those_of_the_benchmark(experiment):
    common, families = experiment("common"), experiment("families")
    for name, planted in families.PAPER.items():
        assert common.make_structure(common.group("structure", name)) == planted


def test_unknown_options_are_named(experiment):
    with pytest.raises(ValueError, match="choose one of cp, greedy"):
        experiment("common").group("search", "nothing")


@pytest.mark.parametrize("cores", ["normal", "uniform"])
def test_planted_tensors_hold_the_planted_network_and_the_stated_noise(experiment, cores):
    common = experiment("common")
    structure = tnjax.Structure.tensor_train((4, 5, 6), (2, 3))
    clean = common.planted_tensor(structure, cores=cores, seed=3)
    unfoldings = clean.reshape(4, -1), clean.reshape(-1, 6)
    assert [np.linalg.matrix_rank(matrix) for matrix in unfoldings] == [2, 3]
    noisy = common.planted_tensor(structure, cores=cores, seed=3, noise=0.05)
    assert np.linalg.norm(noisy - clean) == pytest.approx(0.05 * np.linalg.norm(clean))


@pytest.mark.parametrize("name", [5, 6])
@pytest.mark.parametrize("size", ["small", "full"])
def test_figures_hand_their_options_on(experiment, monkeypatch, tmp_path, name, size):
    """The scripts themselves are run by tests of their own."""
    figure = experiment(f"figure{name}")
    script = figure.complete_image if name == 5 else figure.compress_mnist
    seen = []
    monkeypatch.setattr(script, "main", seen.append)
    figure.run(compose(f"figure{name}", f"size={size}", f"output={tmp_path / 'out'}"))
    (arguments,) = seen
    assert str(tmp_path / "out") in " ".join(arguments)
    assert ("--small" in arguments) == (name == 5 and size == "small")
    config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert config["size"]["name"] == size
    if name == 5:
        options = script.parse(arguments)
        assert options.budgets == ([40, 80] if size == "small" else [2000, 5000, 10_000, 20_000])
    else:
        after = arguments[arguments.index("--fractions") + 1 :]
        assert after[:2] == (["0.02", "--formats"] if size == "small" else ["0.01", "0.02"])


def test_options_become_arguments(experiment):
    command_line = experiment("common").command_line
    options = {"final_steps": 2, "small": True, "dense": False, "dims": [4, 5], "data": None}
    expected = ["--final-steps", "2", "--small", "--no-dense", "--dims", "4", "5"]
    assert command_line(options) == expected


# Experiments --------------------------------------------------------------------------------


def test_the_ladder_of_a_format_ends_where_ranks_are_of_no_use(experiment):
    figure4 = experiment("figure4")
    trains = list(figure4.ladder("tt", (3, 3, 3)))
    assert [t.ranks for t in trains] == [(), (2, 2), (3, 3)]
    assert [t.ranks for t in figure4.ladder("tucker", (3, 3, 2))] == [(), (2, 2, 2), (3, 3, 2)]


@pytest.mark.slow
def test_figure_4_in_a_small_setting(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["figure4.py", "size=small"])
    figure4 = experiment("figure4")
    table = figure4.run(compose("figure4", "size=small", f"output={tmp_path / 'out'}"))
    assert {row["method"]: row["planted"] for row in table} == dict.fromkeys(
        ("greedy", "random-walk", "tt", "tucker", "cp"), 32
    )
    found = {row["method"]: row["median_params"] for row in table}
    assert found["greedy"] <= 32
    assert found["tt"] == 32
    rows = read_csv(tmp_path / "out" / "results.csv")
    for method in found:
        curve = [(int(r["params"]), float(r["error"])) for r in rows if r["method"] == method]
        assert curve == figure4.front(curve)
        assert len(curve) > 1
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["command"] == "python experiments/figure4.py size=small"
    assert len(record["rows"]) == len(rows)
    config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert (config["size"]["name"], config["max_params"]) == ("small", 80)  # resolved
    assert read_csv(tmp_path / "out" / "summary.csv")[0]["met"] == "1 of 1"
    with Image.open(tmp_path / "out" / "figure4.png") as image:
        assert np.asarray(image.convert("L")).std() > 5


@pytest.mark.slow
def test_a_composed_search_leaves_a_run_folder(experiment, tmp_path):
    search = experiment("search")
    result = search.run(compose("search", "structure=small", f"output={tmp_path / 'run'}"))
    assert result.num_params == 32
    loaded = tnjax.load_result(tmp_path / "run")
    assert loaded.structure == result.structure
    assert math.isclose(loaded.error, result.error)
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert written["structure"]["dims"] == [4, 4, 4]
    assert "structure.dims" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
def test_the_image_table_in_a_small_setting(experiment, tmp_path):
    table = experiment("image_table")
    rows = table.run(compose("image_table", "size=small", f"output={tmp_path / 'out'}"))
    assert [row["method"] for row in rows] == ["matrix", "greedy", "tt", "svd"]
    assert all(row["error"] <= 0.3 for row in rows)
    image = table.square("camera", 16)
    values = np.linalg.svd(image, compute_uv=False)
    rank = rows[0]["params"] // 32
    assert np.linalg.norm(values[rank:]) <= 0.3 * np.linalg.norm(image)
    assert np.linalg.norm(values[rank - 1 :]) > 0.3 * np.linalg.norm(image)
    assert len(read_csv(tmp_path / "out" / "results.csv")) == len(rows)
    with Image.open(tmp_path / "out" / "image_table.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5
