"""`tnjax fit` and `tnjax density`: run folders, predictions, samples, anomalies, refusals."""

import csv
import json

import jax
import numpy as np
import pytest

import tnjax
from tests.cli_helpers import check_refusal, run, strict_json
from tnjax.problems import model_from_bytes

ROWS = 60


def table(seed=0) -> dict[str, list]:
    """Two columns that decide a class and a number together, and one with gaps that does not."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.uniform(-1, 1, ROWS), 3)
    color = np.asarray(["red", "green"])[rng.integers(2, size=ROWS)]
    dose = np.where(rng.random(ROWS) < 0.1, "", np.round(rng.normal(size=ROWS), 2).astype(str))
    up = (x > 0) == (color == "red")
    kind = np.where(rng.random(ROWS) < 0.95, np.where(up, "up", "down"), "up")
    size = np.round(3 * x + (color == "red") + 0.05 * rng.normal(size=ROWS), 4)
    return {"x": x, "color": color, "dose": dose, "kind": kind, "size": size}


def write(path, columns) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read(path) -> dict[str, list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write(folder / "t.csv", table())
    new = {name: column[:5] for name, column in table(seed=1).items() if name != "kind"}
    write(folder / "new.csv", new)
    gaps = table(seed=1)
    gaps["color"] = np.where(np.arange(ROWS) % 2, gaps["color"], "")
    write(folder / "gaps.tsv", gaps)
    text = (folder / "gaps.tsv").read_text().replace(",", "\t")
    (folder / "gaps.tsv").write_text(text)
    return folder


def done(*words) -> tuple[str, dict]:
    """Standard output, and the result; files are whole and a report is there."""
    status, out, err = run(*words)
    assert (status, err) == (0, "")
    to = words[words.index("--out") + 1]
    assert (to / "network.svg").exists()
    found = strict_json(to / "result.json")
    page = (to / "report.html").read_text(encoding="utf-8")
    for section in found["report"]["sections"]:
        assert section["title"] in page
    for name in found["tensor"]["modes"]:
        assert f">{name}</text>" in page
    return out, found


@pytest.fixture(scope="module")
def classes(folder):
    told = ("--without", "size", "--anomalies", "--predict", folder / "new.csv")
    limits = ("--max-steps", 1, "--test", "10%", "--ridge", 1)
    out = folder / "classes"
    words = ("fit", folder / "t.csv", "--target", "kind", *told, *limits, "--out", out)
    return out, done(*words)


@pytest.fixture(scope="module")
def density(folder):
    told = ("--sample", 300, "--anomalies", "--predict", folder / "gaps.tsv", "--bins", 3)
    out = folder / "density"
    words = ("density", folder / "t.csv", *told, "--max-steps", 2, "--out", out, "--seed", 1)
    return out, done(*words)


# Functions ----------------------------------------------------------------------------------


def test_classes_are_predicted_with_probabilities(folder, classes):
    out, (said, found) = classes
    told = found["table"]
    assert (told["task"], told["target"]) == ("classes", "kind")
    assert said.startswith("accuracy ")
    assert said.endswith(f"see {out / 'report.html'}\n")
    predicted = read(out / "predictions.csv")
    down, up = (np.array(predicted[f"probability_{k}"], float) for k in ("down", "up"))
    assert np.allclose(down + up, 1)
    assert predicted["predicted_kind"] == np.where(up > 0.5, "up", "down").tolist()
    assert predicted["x"] == [f"{x:.10g}" for x in table(1)["x"][:5]]
    model = model_from_bytes((out / "model.safetensors").read_bytes())
    new = table(1)
    dose = np.asarray([float(v or "nan") for v in new["dose"]])
    columns = {"x": new["x"][:5], "color": new["color"][:5], "dose": dose[:5]}
    assert np.allclose(np.asarray(model.predict(columns)), up, atol=1e-6)


def test_the_report_of_classes_has_a_confusion_matrix_and_a_calibration_curve(classes):
    out, (_, found) = classes
    sections = {s["title"]: s for s in found["report"]["sections"]}
    matrix = np.asarray([row[1:] for row in sections["Confusion matrix"]["rows"]])
    assert matrix.sum() == 6  # rows of the test
    scores = {row[0]: row for row in sections["Scores"]["rows"]}
    assert matrix.trace() / 6 == pytest.approx(scores["test"][2])
    assert [scores[name][1] for name in ("training", "held out", "test")] == [43, 11, 6]
    assert "Calibration" in sections
    assert found["tensor"]["modes"] == ["x", "color", "dose"]
    loaded = tnjax.load_result(out)
    assert loaded.network.dims == tuple(found["tensor"]["dims"])


def test_anomalies_of_a_fit_come_first(classes):
    out, _ = classes
    odd = read(out / "anomalies.csv")
    score = np.array(odd["anomaly_score"], float)
    assert (np.diff(score) <= 0).all()
    assert len(score) == 54  # all but the test
    first = int(odd["row"][0]) - 1
    assert odd["x"][0] == f"{table()['x'][first]:.10g}"


def test_numbers_are_predicted(folder, tmp_path):
    told = ("--without", "kind,dose", "--max-steps", 1)
    out = tmp_path / "run"
    said, found = done("fit", folder / "t.csv", "--target", "size", *told, "--out", out)
    assert said.startswith("R² 0.9")
    sections = {s["title"]: s for s in found["report"]["sections"]}
    points = next(iter(sections["Residuals"]["lines"].values()))
    assert len(points) == 12  # held-out rows
    worth = found["table"]["columns"]
    assert worth["x"] > 0.5
    assert sum(worth.values()) == pytest.approx(1)


# Densities ----------------------------------------------------------------------------------


def test_a_density_fills_gaps_and_draws_rows(density, folder):
    out, (said, _) = density
    assert said.startswith("log-likelihood ")
    filled, given = read(out / "predictions.csv"), table(1)
    color = np.asarray(given["color"])
    odd = np.arange(ROWS) % 2 == 1
    assert (np.asarray(filled["color"])[odd] == color[odd]).all()
    assert set(filled["color"]) == {"red", "green"}
    assert np.isfinite(np.array(filled["log_likelihood"], float)).all()
    drawn = read(out / "samples.csv")
    share = np.mean(np.asarray(drawn["color"]) == "red")
    assert share == pytest.approx(np.mean(np.asarray(table()["color"]) == "red"), abs=0.1)
    assert abs(np.mean(np.array(drawn["x"], float)) - np.mean(table()["x"])) < 0.15
    model = model_from_bytes((out / "model.safetensors").read_bytes())
    again = model.sample(jax.random.split(jax.random.key(1))[0], 300)
    assert again["color"].tolist() == drawn["color"]


def test_bonds_and_pairs_have_their_information(density):
    out, (_, found) = density
    sections = {s["title"]: s for s in found["report"]["sections"]}
    rows = sections["Mutual information of two columns"]["rows"]
    model = model_from_bytes((out / "model.safetensors").read_bytes())
    names = model.codes.names
    first = [names.index(name) for name in rows[0][0].split(", ")]
    assert rows[0][1] == pytest.approx(model.model.mutual_information(first[:1], first[1:]))
    assert {names[k] for k in first} == {"x", "size"}
    assert len(sections["Columns"]["notes"]) == len(tnjax.load_result(out).structure.edges)
    assert all(float(note) >= 0 for _, note in sections["Columns"]["notes"])


def test_show_tells_of_tables(classes, density):
    for (out, (said, _)), line in (
        (classes, "classes of kind: accuracy"),
        (density, "density: log-likelihood"),
    ):
        status, text, err = run("show", out)
        assert (status, err) == (0, "")
        assert line in text
        assert said.split(",")[0] in text
        assert "color" in text
        status, text, err = run("report", out, "--out", out / "again.html")
        assert (status, err) == (0, "")
        assert (out / "again.html").read_text() == (out / "report.html").read_text()


def test_a_run_goes_on_where_it_stopped(folder, tmp_path):
    words = ("density", folder / "t.csv", "--bins", 3, "--seed", 1, "--out", tmp_path / "run")
    done(*words, "--max-steps", 1)
    (tmp_path / "run" / "result.json").unlink()
    _, found = done(*words, "--max-steps", 2, "--resume")
    first = json.loads((folder / "density" / "result.json").read_text())
    assert found["error"] == first["error"]
    assert found["path"][-1]["structure"] == first["path"][-1]["structure"]


# Refusals -----------------------------------------------------------------------------------


def changed(**changes) -> dict[str, list]:
    found = table()
    for name, change in changes.items():
        found[name] = change(np.asarray(found[name], object))
    return found


def put(row, value):
    def change(column):
        column[row] = value
        return column

    return change


FIT, DENSITY = ("fit", "--target", "kind"), ("density",)
BAD = [
    (FIT, changed(x=lambda c: c * 0 + 1), "'x' is constant (1.0 in every row)", "--without x"),
    (DENSITY, changed(color=lambda c: np.full(ROWS, "red")), "'color' is constant (red", ""),
    (DENSITY, changed(dose=lambda c: np.full(ROWS, "")), "'dose' holds no value", ""),
    (FIT, changed(x=put(7, "seven")), "'x' holds numbers, but row 8 holds 'seven'", "--words"),
    (DENSITY, changed(x=put(7, "seven")), "row 8 holds 'seven'", "--words"),
    (FIT, changed(x=put(7, "inf")), "'x' holds an infinite number in row 8", ""),
    (FIT, changed(kind=put(3, "")), "target 'kind' has no value in 1 of 60 rows", "row 4"),
    (FIT, changed(kind=lambda c: np.full(ROWS, "up")), "'up' in every row", "nothing to learn"),
    (FIT, changed(color=lambda c: [f"name {k}" for k in range(ROWS)]), "60 different words", ""),
    (FIT, {name: column[:3] for name, column in table().items()}, "3 rows are fewer than", "4"),
    (FIT, {name: [] for name in table()}, "the table is empty", "has no row"),
    (DENSITY, {name: [] for name in table()}, "the table is empty", "has no row"),
    (("fit", "--target", "kin"), table(), "--target kin", "it has x, color, dose, kind, size"),
    ((*FIT, "--without", "kind"), table(), "--without kind", "needed"),
    ((*FIT, "--weights", "x"), table(), "'x' of --weights", "0 or more"),
    ((*FIT, "--validation", "0"), table(), "--validation 0", ""),
    ((*FIT, "--test", "2"), table(), "--test", "share"),
    ((*FIT, "--task", "numbers"), table(), "holds words such as 'down'", "--task"),
    (("density", "--bins", "1"), table(), "--bins", ""),
    (("density", "--sample", "0"), table(), "--sample", ""),
    (("density", "--kind", "born", "--validation", "0"), table(), "--kind born", ""),
]


@pytest.mark.parametrize(("words", "columns", "what", "hint"), BAD, ids=range(len(BAD)))
def test_bad_tables_are_refused_in_one_line(tmp_path, words, columns, what, hint):
    write(tmp_path / "t.csv", columns)
    words = (words[0], tmp_path / "t.csv", *words[1:], "--out", tmp_path / "run")
    line = check_refusal(tmp_path, *words)
    assert what in line
    assert hint in line


@pytest.mark.parametrize("command", [FIT, DENSITY])
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"color": put(2, "blue")}, "'color' holds 'blue' in row 3, a category that t.csv"),
        ({"x": lambda c: np.full(ROWS, "high")}, "'x' holds 'high', but numbers in t.csv"),
        (None, "no column"),
    ],
)
def test_rows_to_predict_are_like_those_learned_from(tmp_path, command, changes, what):
    write(tmp_path / "t.csv", table())
    new = {"color": ["red"], "other": [1]} if changes is None else changed(**changes)
    write(tmp_path / "new.csv", new)
    words = (command[0], tmp_path / "t.csv", *command[1:], "--out", tmp_path / "run")
    line = check_refusal(tmp_path, *words, "--predict", tmp_path / "new.csv")
    assert str(tmp_path / "new.csv") in line
    assert what in line


def test_a_number_that_is_none_of_a_few_is_refused_before_the_search(tmp_path):
    few = table() | {"few": np.arange(ROWS) % 3}
    write(tmp_path / "t.csv", few)
    write(tmp_path / "new.csv", few | {"few": np.arange(ROWS) % 4})
    words = ("density", tmp_path / "t.csv", "--out", tmp_path / "run")
    line = check_refusal(tmp_path, *words, "--predict", tmp_path / "new.csv")
    assert "'few' holds 3.0 in row 4, which is none of the 3 categories" in line


def test_codes_that_look_like_numbers_are_words_if_one_says_so(tmp_path):
    columns = table() | {"code": ["7a" if k % 5 == 0 else "71" for k in range(ROWS)]}
    write(tmp_path / "t.csv", columns)
    words = ("fit", tmp_path / "t.csv", "--target", "kind", "--out", tmp_path / "run")
    assert "--words" in check_refusal(tmp_path, *words)
    found = tnjax.io.read_table(tmp_path / "t.csv", words=["code"])
    assert set(found.columns["code"].tolist()) == {"7a", "71"}
