"""Which columns are modes and values, how text tables are laid out, what labels are."""

import datetime as dt
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tnjax.io import Mode, parse_labels, read_coordinates

# As users see it: type checks would turn some wrong exceptions into right ones.
pytestmark = pytest.mark.usefixtures("unchecked")
RNG = np.random.default_rng(0)


@pytest.fixture
def no_pyarrow(monkeypatch):
    """As if it were not installed."""
    for name in ("pyarrow", "pyarrow.csv", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)


def read(tmp_path, text, name="x.csv", **options):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_coordinates(tmp_path / name, **options)


def names(found):
    return [mode.name for mode in found.modes], found.value_name


# Columns ------------------------------------------------------------------------------------


def test_what_pandas_stores_is_honored(tmp_path):
    pandas = pytest.importorskip("pandas")
    rows = [(f"u{a}", f"i{b}", (a * b) % 5 + 1) for a in range(4) for b in range(4)]
    frame = pandas.DataFrame(rows, columns=["user", "item", "rating"])
    frame[frame.rating > 1].to_parquet(tmp_path / "filtered.parquet")
    frame.to_csv(tmp_path / "index.csv")
    frame[frame.rating > 1].to_csv(tmp_path / "filtered.csv")
    frame.set_index(["user", "item"]).to_parquet(tmp_path / "levels.parquet")
    kept = {"filtered.parquet": True, "index.csv": False, "filtered.csv": True}
    kept["levels.parquet"] = False
    for name, filtered in kept.items():
        found = read_coordinates(tmp_path / name)
        assert names(found) == (["user", "item"], "rating"), name
        expected = [row for row in rows if not filtered or row[2] > 1]
        got = list(
            zip(*(m.decode(found.indices[:, k]) for k, m in enumerate(found.modes)), found.values)
        )
        assert got == expected, name
        assert any("index" in note for note in found.notes) == (name != "levels.parquet")


def test_the_value_column_is_the_last_or_the_only_one_with_numbers(tmp_path):
    assert names(read(tmp_path, "a,b,v\nx,1,2\ny,2,3\n")) == (["a", "b"], "v")
    assert names(read(tmp_path, "v,a,b\n2,x,p\n3,y,q\n")) == (["a", "b"], "v")
    assert names(read(tmp_path, "v,a,b\n2,1,1\n3,2,2\n", value="v")) == (["a", "b"], "v")


@pytest.mark.parametrize(
    ("text", "options", "word"),
    [
        ("u1,i1,5\nu2,i2,4\n", {}, "first line must name the columns.*'5'"),
        (",a,v\nx,p,1\ny,q,2\n", {}, "column has no name"),
        ("x,a,v\n0.5,p,1\n0.7,q,2\n", {}, "'x' holds fractions.*bins"),
        ("x,v\n0.5,1\n0.7,2\n", {"modes": ["x"]}, "'x' holds fractions"),
        ("a,v\np,1\nq,nan\n", {}, "column 'v'.*a 'q'"),
        ("a;v\np;1,234\nq;5,678\n", {}, "'v' must hold numbers.*comma"),
        ("a;v\np;1.234,5\nq;2\n", {}, "'v' must hold numbers, but row 1"),
        ("d,v\n03/04/2024,1\n04/03/2024,2\n", {}, "'d'.*day first or month first"),
        ("d,v\n03/04/24,1\n04/03/24,2\n", {}, "'d'.*two digits"),
        ("a,v\np,1\n", {"labels": {"b": ["1"]}}, "no mode 'b'"),
        ("a,v\np,1\n", {"labels": {"a": ["x"]}}, "'p' is no label of 'a'"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path, text, options, word):
    with pytest.raises(ValueError, match=word) as caught:
        read(tmp_path, text, **options)
    assert str(caught.value).startswith(str(tmp_path / "x.csv"))


def test_fractions_that_repeat_are_labels_if_they_are_named(tmp_path):
    found = read(tmp_path, "x,v\n10.5,1\n9.25,2\n10.5,3\n9.25,4\n", modes=["x"])
    assert found.modes[0].labels == ("9.25", "10.5")


# Layout -------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_separators_are_seen(tmp_path, request, plain, delimiter, suffix):
    if plain:
        request.getfixturevalue("no_pyarrow")
    lines = [["user name", "day", "v"], ['"a, b; c"', "2", "1.5"], ["x", "10", "-2e1"]]
    text = "\n".join(delimiter.join(cells) for cells in lines)
    if delimiter == "|":
        text = text.replace('"a, b; c"', "abc")
    found = read(tmp_path, text, f"x{suffix}")
    assert names(found) == (["user name", "day"], "v")
    assert found.modes[1].labels == ("2", "10")
    np.testing.assert_array_equal(found.values, [1.5, -20])


@pytest.mark.parametrize("plain", [False, True])
def test_decimal_commas_and_blanks(tmp_path, request, plain):
    if plain:
        request.getfixturevalue("no_pyarrow")
    found = read(tmp_path, "user ; v\n Ann;3,5\nAnn ;-0,25\nBob; 7\n")
    assert found.modes == (Mode("user", ("Ann", "Bob")),)
    np.testing.assert_array_equal(found.values, [3.5, -0.25, 7])


def random_table(rng):
    """Text, and what is in it."""
    rows = int(rng.integers(2, 30))
    words = ['"q ""x"" y"', "ä", "007", "null", "a b", '"two\nlines"', "NA", "x"]
    columns = {"a": rng.choice(words, rows), "b": rng.integers(-5, 99, rows).astype(str)}
    values = rng.normal(size=rows) * 10.0 ** rng.integers(-9, 9, rows)
    columns["v"] = [repr(float(x)) for x in values]
    delimiter = rng.choice([",", ";", "\t"])
    end = rng.choice(["\n", "\r\n"])
    lines = [delimiter.join(columns), *(delimiter.join(row) for row in zip(*columns.values()))]
    return ("\ufeff" if rng.random() < 0.3 else "") + end.join(lines), columns, values


def test_both_readers_of_text_give_the_same(tmp_path, monkeypatch):
    for seed in range(60):
        text, columns, values = random_table(np.random.default_rng(seed))
        (tmp_path / "x.csv").write_bytes(text.encode())
        with monkeypatch.context() as patch:
            fast = read_coordinates(tmp_path / "x.csv")
            patch.setitem(sys.modules, "pyarrow", None)
            slow = read_coordinates(tmp_path / "x.csv")
        assert fast.modes == slow.modes
        np.testing.assert_array_equal(fast.indices, slow.indices)
        np.testing.assert_array_equal(fast.values, slow.values)
        np.testing.assert_array_equal(fast.values, values)
        expected = [w.strip('"').replace('""', '"') for w in columns["a"]]
        assert fast.modes[0].decode(fast.indices[:, 0]) == expected
        assert fast.modes[1].decode(fast.indices[:, 1]) == list(columns["b"])


def test_ragged_lines_and_parquet_without_pyarrow(tmp_path, no_pyarrow):
    with pytest.raises(ValueError, match=r"x\.csv.*line 3: expected 2 columns, got 1"):
        read(tmp_path, "a,v\nx,1\ny\n")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ImportError, match=r"needs pyarrow: .*\[tables\].*without it"):
        read_coordinates(tmp_path / "x.parquet")


# Labels -------------------------------------------------------------------------------------


DAYS = [dt.date(2023, 11, 20) + dt.timedelta(days=9 * k) for k in range(12)]


@pytest.mark.parametrize(
    "write",
    [
        lambda d: d.isoformat(),
        lambda d: f"{d.year}/{d.month}/{d.day}",
        lambda d: f"{d.day}.{d.month}.{d.year}",
        lambda d: f"{d.day:02}/{d.month:02}/{d.year}",
        lambda d: f"{d.month}/{d.day}/{d.year}",
        lambda d: f"{d.day} {d:%b} {d.year}",
        lambda d: f"{d:%B} {d.day}, {d.year}",
        lambda d: f"{d.day}-{d.month}-{d.year} 9:30",
        lambda d: f"{d.isoformat()}T{d.day % 24:02}:00:00Z",
    ],
)
def test_dates_are_in_the_order_of_time(write):
    words = [write(day) for day in DAYS]
    shuffled = [words[k] for k in RNG.permutation(len(words))]
    assert Mode.of("day", shuffled).labels == tuple(words)


@pytest.mark.parametrize(
    "ordered",
    [
        [f"{k}.0" for k in range(1, 61)],
        ["-2e1", "-3.5", "0", "+7", "1e2"],
        ["Jan", "february", "Mar.", "SEP", "Dec"],
        ["Monday", "tue", "Sun"],
        ["9:05", "10:00", "23:59:59"],
        ["week 2", "week 10", "week 11b"],
        ["00501", "2134", "90210x"],
        ["2023-Q4", "2024-Q1", "2024-Q2"],
    ],
    ids=lambda words: words[0],
)
def test_labels_are_in_the_order_of_what_they_are(ordered):
    shuffled = [ordered[k] for k in RNG.permutation(len(ordered))]
    assert Mode.of("x", shuffled).labels == tuple(ordered)


def test_words_that_mean_the_same_number_are_one_label():
    mode = Mode.of("x", ["10", "1.0", "1", "2"])
    assert mode.labels == ("1", "2", "10")
    assert mode.encode(["1.0", "10.00", "2e0"]).tolist() == [0, 2, 1]
    assert Mode.of("x", ["01", "1", "a"]).size == 3


def test_labels_that_no_row_has(tmp_path):
    (tmp_path / "days.txt").write_text("c\n\nb\na\n")
    labels = parse_labels(f"week=1..60,day={tmp_path / 'days.txt'}")
    found = read(tmp_path, "week,day,v\n1.0,a,1\n60.0,b,2\n", labels=labels)
    assert found.shape == (60, 3)
    assert found.modes[1].labels == ("c", "b", "a")
    np.testing.assert_array_equal(found.indices, [[0, 2], [59, 1]])


@pytest.mark.parametrize("text", ["week", "week=", "=1..3", "w=3..1", "w=1..2,w=1..2", ""])
def test_wrong_labels_are_refused(text):
    with pytest.raises(ValueError, match="label"):
        parse_labels(text)


def test_parquet_of_whole_floats_and_of_dates(tmp_path):
    days = pa.array(DAYS)
    table = pa.table({"n": [float(k) for k in range(12)], "day": days, "v": np.arange(12) / 7})
    pq.write_table(table, tmp_path / "x.parquet")
    found = read_coordinates(tmp_path / "x.parquet")
    assert found.modes[0].labels == tuple(map(str, range(12)))
    assert found.modes[1].labels == tuple(day.isoformat() for day in DAYS)
