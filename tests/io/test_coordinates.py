"""Readers of coordinates: kinds, labels, requests, predictions; damaged and wrong files."""

import gzip
import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tnjax.io import (
    Mode,
    holds_coordinates,
    read_coordinates,
    read_labels,
    read_requests,
    write_labels,
    write_predictions,
)

# As users see it: type checks would turn some wrong exceptions into right ones.
pytestmark = pytest.mark.usefixtures("unchecked")

INDICES = np.array([[0, 3, 1], [2, 0, 0], [1, 1, 1], [2, 3, 0]])
VALUES = np.array([0.5, -2.0, 1e-7, 3.0])
TABLE = "user,day,stars\nBob,2024-01-10,3\nAnn,2024-01-09,1.5\nBob,2024-01-09,-2e0\n"
MODES = (Mode("user", ("Ann", "Bob")), Mode("day", ("2024-01-09", "2024-01-10")))


def write(path, content):
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


# npz and tns --------------------------------------------------------------------------------


def test_npz_gives_indices_values_and_shape(tmp_path):
    path = archive(tmp_path / "x.npz", indices=INDICES, values=VALUES, shape=np.array([4, 4, 2]))
    found = read_coordinates(path)
    np.testing.assert_array_equal(found.indices, INDICES)
    np.testing.assert_array_equal(found.values, VALUES)
    assert (found.shape, found.modes, found.weights) == ((4, 4, 2), None, None)
    assert holds_coordinates(path)


def test_npz_without_shape_is_as_large_as_its_indices(tmp_path):
    path = archive(
        tmp_path / "x.npz", indices=INDICES.astype(np.uint8), values=VALUES, weights=VALUES**2
    )
    found = read_coordinates(path)
    assert found.shape == (3, 4, 2)
    np.testing.assert_array_equal(found.weights, VALUES**2)
    assert read_coordinates(path, shape=(5, 5, 5)).shape == (5, 5, 5)


@pytest.mark.parametrize("name", ["x.tns", "x.tns.gz"])
def test_tns_counts_from_1_and_knows_comments(tmp_path, name):
    text = "# a comment\n\n1 4 2 0.5 # and one more\n3 1\t1   -2\r\n2 2 2 1e-7\n3 4 1 3."
    found = read_coordinates(write(tmp_path / name, text))
    np.testing.assert_array_equal(found.indices, INDICES)
    np.testing.assert_array_equal(found.values, VALUES)
    assert found.shape == (3, 4, 2)


def test_tns_of_many_chunks(tmp_path):
    rng = np.random.default_rng(0)
    indices, values = rng.integers(0, 50, (70_000, 2)), rng.standard_normal(70_000)
    out = io.StringIO()
    np.savetxt(out, np.column_stack([indices + 1, values]), fmt="%d %d %.17g")
    found = read_coordinates(write(tmp_path / "x.tns", out.getvalue()))
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.values, values)


def test_duplicates_are_kept(tmp_path):
    found = read_coordinates(write(tmp_path / "x.tns", "1 1 2\n1 1 3\n"))
    np.testing.assert_array_equal(found.values, [2, 3])


@pytest.mark.parametrize(
    ("arrays", "holds"),
    [({"indices": INDICES, "values": VALUES}, True), ({"x": VALUES}, False)],
)
def test_an_archive_holds_coordinates_or_a_dense_tensor(tmp_path, arrays, holds):
    assert holds_coordinates(archive(tmp_path / "x.npz", **arrays)) is holds


# Tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz", "X.CSV"])
def test_columns_become_modes_with_sorted_labels(tmp_path, name):
    text = TABLE.replace(",", "\t") if "tsv" in name else TABLE
    found = read_coordinates(write(tmp_path / name, text))
    assert found.modes == MODES
    np.testing.assert_array_equal(found.indices, [[1, 1], [0, 0], [1, 0]])
    np.testing.assert_array_equal(found.values, [3, 1.5, -2])
    assert found.shape == (2, 2)


def test_parquet_keeps_text_integers_and_dates(tmp_path):
    dates = np.array(["2024-01-10", "2024-01-09", "2024-01-09"], "datetime64[D]")
    columns = {"stars": [3, 1, 2], "user": ["Bob", "Ann", "Bob"], "day": dates, "n": [10, 9, -1]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    found = read_coordinates(tmp_path / "x.parquet", value="stars")
    assert found.modes == (*MODES, Mode("n", ("-1", "9", "10")))
    np.testing.assert_array_equal(found.indices, [[1, 1, 2], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(found.values, [3, 1, 2])


def test_columns_are_chosen_by_name(tmp_path):
    text = "w,note,b,a,v\n1,x,5,1,7\n2,y,4,2,8\n"
    found = read_coordinates(
        write(tmp_path / "x.csv", text), value="v", modes=("a", "b"), weights="w"
    )
    assert [mode.name for mode in found.modes] == ["a", "b"]
    np.testing.assert_array_equal(found.indices, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(found.weights, [1, 2])


def test_words_are_kept_as_they_were_written(tmp_path):
    text = 'id,v\n007,1\n7,2\n"a, ""b""",3\nnull,4\nÄ,5\n'
    found = read_coordinates(write(tmp_path / "x.csv", text))
    assert set(found.modes[0].labels) == {"007", "7", 'a, "b"', "null", "Ä"}
    assert found.modes[0].decode(found.indices[:, 0]) == ["007", "7", 'a, "b"', "null", "Ä"]


def test_integers_are_in_numeric_order(tmp_path):
    found = read_coordinates(write(tmp_path / "x.csv", "n,v\n10,1\n9,2\n-3,3\n"))
    assert found.modes[0].labels == ("-3", "9", "10")


def test_labels_survive_their_file(tmp_path):
    write_labels(tmp_path / "labels.json", MODES)
    assert read_labels(tmp_path / "labels.json") == MODES


# Requests and predictions -------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("modes", [MODES, None])
def test_predictions_come_back_in_the_names_of_the_request(tmp_path, suffix, modes):
    indices, values = np.array([[1, 0], [0, 1], [1, 0]]), np.array([0.1, 1 / 3, -2.0])
    path = tmp_path / f"x{suffix}"
    write_predictions(path, indices, values, modes)
    np.testing.assert_array_equal(read_requests(path, (2, 2), modes), indices)
    if modes is not None:  # and as data they are what was written
        again = read_coordinates(path)
        assert again.modes == modes
        np.testing.assert_array_equal(again.values, values)


@pytest.mark.parametrize("suffix", [".tns", ".npz"])
def test_predictions_without_labels_are_coordinates_again(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_predictions(path, INDICES, VALUES)
    np.testing.assert_array_equal(read_requests(path, (3, 4, 2)), INDICES)
    np.testing.assert_array_equal(read_coordinates(path).values, VALUES)


def test_requests_need_no_values_and_may_have_other_columns(tmp_path):
    path = write(tmp_path / "x.csv", "note,day,user\nx,2024-01-10,Ann\n")
    np.testing.assert_array_equal(read_requests(path, (2, 2), MODES), [[0, 1]])
    path = write(tmp_path / "x.tns", "1 4 2\n3 1 1\n")
    np.testing.assert_array_equal(read_requests(path, (3, 4, 2)), INDICES[:2])


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("x.csv", "user,day\nEve,2024-01-09\n", "x.csv: 'Eve' is no label of 'user'.*'Ann'"),
        ("x.csv", "user\nAnn\n", "no column 'day'"),
        ("x.csv", "user,day\n", "no entries"),
        ("x.tns", "3 1\n", r"\(2, 0\).*outside"),
        ("x.tns", "0 1\n", "from 1"),
        ("x.tns", "1 1 1 1\n", "2 modes"),
        ("x.tns", "1 1.5\n", "whole"),
        ("x.json", "{}", "kind"),
        ("x.npz", "text", "x.npz"),
    ],
)
def test_wrong_requests_are_refused(tmp_path, name, text, word):
    with pytest.raises(ValueError, match=word):
        read_requests(write(tmp_path / name, text), (2, 2), MODES)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"\.csv"):
        write_predictions(tmp_path / "x.txt", INDICES, VALUES)
    assert list(tmp_path.iterdir()) == []


# Bad files ----------------------------------------------------------------------------------

BAD = {
    "empty tns": ("x.tns", "", {}, "empty"),
    "comments only": ("x.tns", "# nothing\n\n", {}, "empty"),
    "no indices": ("x.tns", "1\n2\n", {}, "indices and a value"),
    "index 0": ("x.tns", "1 1 5\n0 2 5\n", {}, r"entry 2 .*\(0, 2\).*from 1"),
    "negative": ("x.tns", "-1 2 5\n", {}, r"\(-1, 2\)"),
    "fraction": ("x.tns", "1.5 2 5\n", {}, "whole"),
    "nan index": ("x.tns", "nan 2 5\n", {}, "whole"),
    "text": ("x.tns", "1 two 5\n", {}, "two"),
    "ragged": ("x.tns", "1 1 5\n1 1 1 5\n", {}, "columns"),
    "nan value": ("x.tns", "1 2 5\n1 1 nan\n", {}, r"1 of 2 values.*\(0, 0\)"),
    "huge index": ("x.tns", f"1 {10**15} 5\n", {}, "too large"),
    "outside": ("x.tns", "1 9 5\n", {"shape": (4, 4)}, r"\(0, 8\).*outside.*\(4, 4\)"),
    "fewer modes": ("x.tns", "1 9 5\n", {"shape": (4, 4, 4)}, "3 modes"),
    "not gzipped": ("x.tns.gz", None, {}, "x.tns.gz"),
    "column of a tns": ("x.tns", "1 1 5\n", {"value": "v"}, "tables"),
    "empty table": ("x.csv", "", {}, "empty"),
    "names only": ("x.csv", "a,b,v\n", {}, "no entries"),
    "no names": ("x.csv", "1,2,3\n4,5,6\n", {}, "name the columns"),
    "no number": ("x.csv", "a,v\nx,1\ny,two\n", {}, "'v' must hold numbers, but row 2 holds 'two'"),
    "no value": ("x.csv", "a,v\nx,1\ny,\n", {}, "row 2 holds nothing"),
    "nan in a table": ("x.csv", "a,v\nx,nan\n", {}, "NaN"),
    "no label": ("x.csv", "a,b,v\n,x,1\n", {}, "'a'"),
    "ragged table": ("x.csv", "a,b,v\nx,1\n", {}, "3 columns"),
    "twice a name": ("x.csv", "a,a,v\nx,y,1\n", {}, "'a' is there twice"),
    "unknown value": ("x.csv", TABLE, {"value": "rating"}, "'rating'.*user, day, stars"),
    "unknown mode": ("x.csv", TABLE, {"modes": ("user", "week")}, "'week'"),
    "unknown weights": ("x.csv", TABLE, {"weights": "w"}, "'w'"),
    "a column twice": ("x.csv", TABLE, {"modes": ("user", "user")}, "different"),
    "only values": ("x.csv", "v\n1\n", {}, "no column is left"),
    "text as parquet": ("x.parquet", "text", {}, "x.parquet"),
    "not utf-8": ("x.csv", b"a,v\n\xff\xfe,1\n", {}, "x.csv"),
    "unknown kind": ("x.dat", "1 1 5\n", {}, r"\.tns"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, name):
    file, content, options, word = BAD[name]
    path = tmp_path / file
    path.write_bytes(b"plain") if content is None else write(path, content)
    with pytest.raises(ValueError, match=word) as caught:
        read_coordinates(path, **options)
    assert re.match(re.escape(str(path)), str(caught.value))
    assert len(str(caught.value)) < 500 + len(str(path))


BAD_ARRAYS = {
    "negative": ({"indices": -INDICES, "values": VALUES}, "outside"),
    "outside": ({"indices": INDICES, "values": VALUES, "shape": [3, 3, 2]}, r"\(0, 3, 1\)"),
    "other lengths": ({"indices": INDICES, "values": VALUES[:2]}, r"\[4, 3\] and \[2\]"),
    "flat": ({"indices": INDICES.ravel(), "values": VALUES}, "entries, modes"),
    "no values": ({"indices": INDICES}, "values"),
    "real indices": ({"indices": INDICES * 1.0, "values": VALUES}, "integers"),
    "real shape": ({"indices": INDICES, "values": VALUES, "shape": [3.0]}, "shape.*integers"),
    "other order": ({"indices": INDICES, "values": VALUES, "shape": [3, 4]}, "2 modes"),
    "nothing": ({"indices": INDICES[:0], "values": VALUES[:0], "shape": [3, 4, 2]}, "no entries"),
    "nan": ({"indices": INDICES, "values": VALUES * np.nan}, "4 of 4 values are NaN"),
    "text": ({"indices": INDICES, "values": VALUES.astype(str)}, "numbers"),
    "wrong weights": ({"indices": INDICES, "values": VALUES, "weights": VALUES[:3]}, "weights"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays_are_refused_in_one_line(tmp_path, name):
    arrays, word = BAD_ARRAYS[name]
    with pytest.raises(ValueError, match=word) as caught:
        read_coordinates(archive(tmp_path / "x.npz", **arrays))
    assert str(tmp_path / "x.npz") in str(caught.value)


@pytest.mark.parametrize("name", ["x.tns.gz", "x.csv.gz"])
def test_a_small_file_does_not_fill_the_memory(tmp_path, name):
    lines = b"1 1 1\n" if "tns" in name else b"a,v\n" + b"x,1\n"
    path = write(tmp_path / name, lines * 400_000)
    with pytest.raises(ValueError, match="max_bytes"):
        read_coordinates(path, max_bytes=2**20)


def test_parquet_that_unpacks_to_too_much_is_refused(tmp_path):
    table = pa.table({"a": ["x"] * 400_000, "v": np.zeros(400_000)})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="max_bytes"):
        read_coordinates(tmp_path / "x.parquet", max_bytes=2**18)


@pytest.mark.parametrize(
    "kinds",
    [
        {"a": pa.array([1.5, 2.0]), "v": pa.array([1, 2])},
        {"a": pa.array([[1], [2]]), "v": pa.array([1, 2])},
        {"a": pa.array(["x", None]), "v": pa.array([1, 2])},
        {"a": pa.array(["x", "y"]), "v": pa.array([1, None])},
        {"a": pa.array(["x", "y"]), "v": pa.array([[1], [2]])},
    ],
    ids=["fractions", "lists", "no label", "no value", "lists of values"],
)
def test_parquet_columns_of_other_kinds_are_refused(tmp_path, kinds):
    pq.write_table(pa.table(kinds), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"x\.parquet: .*column"):
        read_coordinates(tmp_path / "x.parquet")


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_coordinates(tmp_path / "nowhere.tns")
    with pytest.raises(ValueError, match="folder"):
        read_coordinates(tmp_path)


BAD_MODES = (
    "7",
    "[7]",
    '[{"name": "a"}]',
    '[{"name": 1, "labels": []}]',
    '[{"name": "a", "labels": [1]}]',
    '[{"name": "a", "labels": ["x", "x"]}]',
    '[{"name": "a", "labels": "xy"}]',
    '[{"name": "a", "labels": [], "more": 1}]',
)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", "[" * 9999, '{"format": "other"}'),
        '{"format": "tnjax.labels", "version": 2}',
        *(f'{{"format": "tnjax.labels", "version": 1, "modes": {modes}}}' for modes in BAD_MODES),
    ],
)
def test_damaged_labels_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r"labels\.json"):
        read_labels(write(tmp_path / "labels.json", text))
