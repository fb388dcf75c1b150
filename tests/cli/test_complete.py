"""`tnjax complete`: what a run folder holds, what is predicted, and the refusal of bad input."""

import csv
import io
import re

import jax
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.cli_helpers import check_refusal, run, snapshot, strict_json
from tests.helpers import dense_oracle
from tnjax import load
from tnjax.io import random_mask, read_labels

pytestmark = pytest.mark.quick

FILES = {
    "archive.safetensors",
    "checkpoints",
    "network.safetensors",
    "result.json",
    "path.csv",
    "config.yaml",
    "report.html",
    "network.svg",
    "path.svg",
}
USERS, FILMS, DAYS = 5, 4, 3


def truth() -> np.ndarray:
    """Rank one by user, film and day."""
    return np.multiply.outer(
        np.multiply.outer(np.linspace(1, 2, USERS), np.linspace(0.5, 2, FILMS)), [1.0, 3.0, 2.0]
    )


def words(index) -> list[str]:
    user, film, day = index
    return [f"u{user}", f"film, {film}", f"2024-01-{day + 9:02}"]


def text(rows, names) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    writer.writerows(rows)
    return out.getvalue()


def picture() -> np.ndarray:
    slope = np.add.outer(20 * np.arange(6), 8 * np.arange(6))
    return np.stack([slope, slope[::-1], slope.T], axis=2).astype(np.uint8)


def dense(folder) -> np.ndarray:
    """The network of a run folder as an array, contracted by NumPy."""
    network = load(folder / "network.safetensors")
    return dense_oracle(network.structure, [np.asarray(core) for core in network.cores])


def relative_error(x, y) -> float:
    return float(np.linalg.norm(np.asarray(x) - y) / np.linalg.norm(y))


@pytest.fixture(scope="module")
def table_run(tmp_path_factory):
    """Two thirds of a table; the rest is asked for, days first, and other columns are there."""
    folder = tmp_path_factory.mktemp("table")
    places = list(np.ndindex(USERS, FILMS, DAYS))
    seen = random_mask((len(places),), 2 / 3, key=jax.random.key(1))
    known = [[*words(i), "x", truth()[i]] for i, s in zip(places, seen) if s]
    (folder / "ratings.csv").write_text(text(known, ["user", "film", "day", "note", "stars"]))
    asked = [["y", *words(i)[::-1]] for i, s in zip(places, seen) if not s]
    (folder / "asked.csv").write_text(text(asked, ["note", "day", "film", "user"]))
    options = ("--modes", "user,film,day", "--target-error", "1e-6", "--test", "0.1")
    options += ("--predict", folder / "asked.csv", "--seed", "2", "--out", folder / "run")
    found = run("complete", folder / "ratings.csv", *options, progress=True)
    return folder, found, [i for i, s in zip(places, seen) if not s]


@pytest.fixture(scope="module")
def image_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    Image.fromarray(picture()).save(folder / "x.png")
    options = ("--observed", "0.7", "--max-params", "40", "--reshape", "6,2,3,3", "--seed", "3")
    return folder, run("complete", folder / "x.png", *options, "--out", folder / "run")


# A table ------------------------------------------------------------------------------------


def test_a_table_leaves_a_whole_run_folder(table_run):
    folder, (status, out, err), _ = table_run
    assert status == 0
    assert re.search(r"ratings.csv: modes user .*; values 'stars' \(\d+ rows\)\n", err)
    assert out.count("\n") == 1
    found = {path.name for path in (folder / "run").iterdir()}
    assert found == FILES | {"labels.json", "predictions.csv"}
    assert {path.name for path in folder.iterdir()} == {"ratings.csv", "asked.csv", "run"}


def test_predictions_have_the_names_and_order_of_the_request(table_run):
    folder, _, asked = table_run
    with (folder / "run" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[row["user"], row["film"], row["day"]] for row in rows] == [words(i) for i in asked]
    found = [float(row["prediction"]) for row in rows]
    np.testing.assert_allclose(found, [truth()[i] for i in asked], atol=1e-3)


@pytest.mark.usefixtures("double")
def test_predictions_are_the_network_s_at_the_labels_that_were_kept(table_run):
    folder, _, _ = table_run
    modes = read_labels(folder / "run" / "labels.json")
    assert [mode.name for mode in modes] == ["user", "film", "day"]
    assert modes[2].labels == ("2024-01-09", "2024-01-10", "2024-01-11")
    tensor = dense(folder / "run")
    with (folder / "run" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            place = tuple(mode.encode([row[mode.name]])[0] for mode in modes)
            assert float(row["prediction"]) == pytest.approx(tensor[place], rel=1e-9, abs=1e-9)


def test_errors_are_told_for_training_validation_and_test(table_run):
    folder, (_, out, _), _ = table_run
    result = strict_json(folder / "run" / "result.json")
    errors = result["errors"]
    assert [errors[key]["entries"] for key in ("training", "validation", "test")] == [32, 4, 4]
    assert errors["validation"]["error"] == pytest.approx(result["error"], rel=1e-6)
    assert errors["test"]["error"] < 1e-3
    assert f"test error {errors['test']['error']:.4g}" in out
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    for key in ("training", "validation", "test"):
        assert re.search(rf"<th[^>]*>{key}</th><td>{errors[key]['entries']}</td>", page)
    config = yaml.safe_load((folder / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert (config["command"], config["test"]) == ("complete", 0.1)


# An image -----------------------------------------------------------------------------------


def test_an_image_is_completed_and_judged_on_what_was_hidden(image_run):
    folder, (status, _, err) = image_run
    assert (status, err) == (0, "")
    images = {"observed.png", "completed.png", "reconstruction.png", "original.png"}
    assert {path.name for path in (folder / "run").iterdir()} == FILES | images | {"completed.npy"}

    def read(name):
        with Image.open(folder / "run" / name) as image:
            return np.asarray(image).astype(float)

    x, mask = picture().astype(float), random_mask((6, 6, 3), 0.7, key=jax.random.key(3))
    y = np.clip(dense(folder / "run").reshape(6, 6, 3), 0, 255)
    np.testing.assert_array_equal(read("original.png"), x)
    np.testing.assert_array_equal(read("observed.png"), np.where(mask, x, 0))
    assert np.abs(read("completed.png") - np.where(mask, x, y)).max() <= 0.5 + 1e-6
    assert np.abs(read("reconstruction.png") - y).max() <= 0.5 + 1e-6
    errors = strict_json(folder / "run" / "result.json")["errors"]
    raw = dense(folder / "run").reshape(6, 6, 3)
    assert errors["test"]["entries"] == (~mask).sum()
    assert errors["test"]["error"] == pytest.approx(relative_error(raw[~mask], x[~mask]))
    assert errors["training"]["entries"] + errors["validation"]["entries"] == mask.sum()


def test_a_mask_image_and_padding(tmp_path):
    x = picture()[:5, :, 0]
    Image.fromarray(x).save(tmp_path / "x.png")
    mask = random_mask((5, 6), 0.8, key=jax.random.key(0))
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    options = ("--observed", tmp_path / "mask.png", "--reshape", "2,3,6", "--fit", "pad")
    options += ("--max-params", "30", "--validation", "0", "--out", tmp_path / "run")
    status, _, err = run("complete", tmp_path / "x.png", *options)
    assert status == 0, err
    errors = strict_json(tmp_path / "run" / "result.json")["errors"]
    assert errors["training"]["entries"] == mask.sum()  # what is padded is not observed
    assert errors["test"]["entries"] == (~mask).sum()
    y = dense(tmp_path / "run").reshape(6, 6)[:5]
    assert errors["training"]["error"] == pytest.approx(relative_error(y[mask], x[mask]))
    assert errors["test"]["error"] == pytest.approx(relative_error(y[~mask], x[~mask]))


# Arrays, losses -----------------------------------------------------------------------------


def test_nan_is_missing_and_offsets_and_requests_count_from_0(tmp_path):
    x = truth() + 5
    mask = random_mask(x.shape, 0.8, key=jax.random.key(4))
    np.save(tmp_path / "x.npy", np.where(mask, x, np.nan))
    asked = np.argwhere(~mask)
    np.savez(tmp_path / "asked.npz", indices=asked)
    options = ("--max-params", "40", "--offsets", "mean", "--validation", "0")
    options += ("--predict", tmp_path / "asked.npz")
    status, _, err = run("complete", tmp_path / "x.npy", *options, "--out", tmp_path / "run")
    assert (status, err) == (0, "")
    completed = np.load(tmp_path / "run" / "completed.npy")
    np.testing.assert_array_equal(completed[mask], x[mask])
    assert relative_error(completed[~mask], x[~mask]) < 1e-9
    with np.load(tmp_path / "run" / "predictions.npz") as found:
        np.testing.assert_array_equal(found["indices"], asked)
        np.testing.assert_allclose(found["values"], completed[~mask], rtol=1e-9)
    assert "test" not in strict_json(tmp_path / "run" / "result.json")["errors"]


def test_counts_in_a_tns_with_duplicates_that_are_summed(tmp_path):
    rate = np.multiply.outer([1, 2, 4, 8], [1, 3, 2])
    lines = [f"{i + 1} {j + 1} {rate[i, j] / 2}" for i, j in np.ndindex(4, 3) for _ in range(2)]
    (tmp_path / "x.tns").write_text("\n".join(lines))
    (tmp_path / "asked.tns").write_text("4 2\n1 1\n")
    options = (
        "--loss",
        "poisson",
        "--offsets",
        "mean",
        "--duplicates",
        "sum",
        "--max-params",
        "14",
    )
    options += ("--validation", "0", "--predict", tmp_path / "asked.tns")
    status, _, err = run("complete", tmp_path / "x.tns", *options, "--out", tmp_path / "run")
    assert status == 0, err
    rows = np.loadtxt(tmp_path / "run" / "predictions.tns")
    np.testing.assert_array_equal(rows[:, :2], [[4, 2], [1, 1]])
    np.testing.assert_allclose(rows[:, 2], [24, 1], rtol=0.05)  # rates, not their logarithms


# Bad input ----------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """A folder with a sound image, array and table."""
    Image.fromarray(picture()).save(tmp_path / "x.png")
    np.save(
        tmp_path / "x.npy",
        np.where(random_mask((5, 4, 3), 0.8, key=jax.random.key(0)), truth() - 3, np.nan),
    )
    rows = [[*words(i), truth()[i]] for i in np.ndindex(USERS, FILMS, DAYS)]
    (tmp_path / "x.csv").write_text(text(rows, ["user", "film", "day", "stars"]))
    return tmp_path


def save(name, content):
    def make(folder):
        if isinstance(content, np.ndarray):
            np.save(folder / name, content)
        else:
            (folder / name).write_text(content)

    return make


# What to put into the folder, the input, options ({} is the folder), a word of the message.
NAN = np.full((3, 3), np.nan)
BAD_INPUT = {
    "missing file": (None, "nowhere.csv", (), "nowhere.csv"),
    "empty file": (save("e.csv", ""), "e.csv", (), "e.csv.*empty"),
    "index 0": (save("e.tns", "0 1 2\n"), "e.tns", (), "from 1"),
    "no number": (save("e.csv", "a,b\nx,y\n"), "e.csv", (), "'b' must hold numbers"),
    "nan in a list": (save("e.tns", "1 1 nan\n1 2 1\n"), "e.tns", (), "NaN"),
    "all missing": (save("e.npy", NAN), "e.npy", (), "no entry is observed"),
    "infinite": (save("e.npy", np.array([[1, np.inf]])), "e.npy", (), "infinite"),
    "all zero": (save("e.npy", np.zeros((3, 3))), "e.npy", (), "zero"),
    "duplicates": (save("e.tns", "1 1 2\n1 1 3\n2 2 1\n"), "e.tns", (), "more than once"),
    "unknown column": (None, "x.csv", ("--value", "rating"), "'rating'.*stars"),
    "unknown mode": (None, "x.csv", ("--modes", "user,week"), "'week'"),
    "no name": (None, "x.csv", ("--modes", "user,,day"), "--modes"),
    "column of an image": (None, "x.png", ("--value", "stars"), "--value.*dense"),
    "mask of a list": (None, "x.csv", ("--observed", "0.5"), "--observed is for dense"),
    "reshape of a list": (None, "x.csv", ("--reshape", "5,12"), "--reshape is for dense"),
    "share of 0": (None, "x.png", ("--observed", "0"), "--observed"),
    "share of 2": (None, "x.png", ("--observed", "2"), "--observed"),
    "no mask": (None, "x.png", ("--observed", "{}/nowhere.npy"), "nowhere.npy"),
    "mask of another shape": (
        save("m.npy", np.ones((6, 7))),
        "x.png",
        ("--observed", "{}/m.npy"),
        "m.npy.*6x7.*6x6x3",
    ),
    "black mask": (
        save("m.npy", np.zeros((6, 6))),
        "x.png",
        ("--observed", "{}/m.npy"),
        "no entry is observed",
    ),
    "wrong reshape": (None, "x.png", ("--reshape", "6,5"), "30.*108"),
    "validation of 1": (None, "x.npy", ("--validation", "1"), "--validation"),
    "negative test": (None, "x.npy", ("--test", "-0.1"), "--test"),
    "ridge": (None, "x.npy", ("--ridge", "-1"), "--ridge"),
    "smooth": (None, "x.npy", ("--smooth", "0.1"), "--smooth"),
    "nothing to choose by": (None, "x.npy", ("--ridge", "auto", "--validation", "0"), "held-out"),
    "smooth mode": (None, "x.npy", ("--smooth", "9:0.1"), "modes 0..2"),
    "counts below 0": (None, "x.npy", ("--loss", "poisson"), "negative"),
    "no truth values": (None, "x.npy", ("--loss", "bernoulli"), "between 0"),
    "unknown label": (
        save("p.csv", "user,film,day\nu9,\"film, 0\",2024-01-09\n"),
        "x.csv",
        ("--predict", "{}/p.csv"),
        "p.csv.*'u9'",
    ),
    "request outside": (
        save("p.tns", "6 1 1\n"),
        "x.npy",
        ("--predict", "{}/p.tns"),
        r"p.tns.*\(5, 0, 0\)",
    ),
    "request cropped": (
        save("p.tns", "6 1 1\n"),
        "x.png",
        ("--predict", "{}/p.tns", "--reshape", "5,6,3", "--fit", "crop"),
        "p.tns.*cropped",
    ),
    "no criterion": (None, "x.npy", None, "--target-error"),
}  # fmt: skip


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_ends_in_one_line_and_nothing_written(files, name):
    make, source, options, word = BAD_INPUT[name]
    if make is not None:
        make(files)
    options = ("--validation", "0") if options is None else ("--max-params", "40", *options)
    options = [option.replace("{}", str(files)) for option in options]
    err = check_refusal(files, "complete", files / source, *options, "--out", files / "out")
    assert re.search(word, err), err


def test_help_teaches():
    status, out, _ = run("complete", "--help")
    assert status == 0
    for word in ("INPUT", "--observed", "--loss", "--predict", "--validation", "labels.json"):
        assert word in out


def test_the_same_seed_gives_the_same_run(image_run):
    folder, _ = image_run
    options = ("--observed", "0.7", "--max-params", "40", "--reshape", "6,2,3,3", "--seed", "3")
    assert run("complete", folder / "x.png", *options, "--out", folder / "again")[0] == 0
    first, again = snapshot(folder / "run"), snapshot(folder / "again")
    for name in ("network.safetensors", "completed.png"):
        assert first[name] == again[name]


def test_what_is_held_out_is_like_the_gaps_and_said(tmp_path):
    seen = np.broadcast_to((np.random.default_rng(1).random((9, 12)) < 0.6)[..., None], (9, 12, 4))
    data = np.where(seen, np.random.default_rng(0).random((9, 12, 4)), np.nan)
    np.save(tmp_path / "x.npy", data)
    options = ("--strategy", "fixed", "--format", "cp", "--ranks", "1", "--reshape", "9,3,4,4")
    options += ("--influence", "3")
    options += ("--out", tmp_path / "run")
    status, _, said = run("complete", tmp_path / "x.npy", *options, progress=True)
    assert status == 0
    words = "all entries along mode 2 together"  # of the tensor that was given
    assert f"held out: {words}" in said
    record = strict_json(tmp_path / "run" / "result.json")
    assert record["report"]["details"]["held out"] == words
    assert record["errors"]["validation"]["entries"] % 4 == 0
    table = record["report"]["sections"][-1]
    assert table["title"] == "Entries that move the network most"
    assert len(table["rows"]) == 3
