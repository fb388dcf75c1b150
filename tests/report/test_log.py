"""Loggers for `on_step=`, and what notebooks show."""

import json
import math
import pathlib
import re
import struct
import sys

import pytest

import tnjax
from tests.helpers import make_result, random_network
from tests.report.test_report import MOVES, START, Page
from tnjax import MoveRecord, Structure
from tnjax._install import install_hint


@pytest.fixture
def path():
    return make_result(MOVES).path


def log_all(log, path) -> None:
    for step in path:
        log(step)


# Files --------------------------------------------------------------------------------------


def test_json_lines_hold_each_step_at_once(tmp_path, path):
    log = tnjax.log.JSONLines(tmp_path / "steps.jsonl")
    for number, step in enumerate(path):
        log(step)
        lines = log.path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == number + 1
        record = json.loads(lines[-1])
        assert (record["step"], record["move"]) == (number, step.move.kind)
        assert record["error"] == step.error
        edges = {tuple(map(int, k.split("-"))): r for k, r in json.loads(record["edges"]).items()}
        assert edges == dict(step.structure.edges)


def test_json_lines_go_on_in_a_file_and_write_no_nan(tmp_path, path):
    file = tmp_path / "steps.jsonl"
    log_all(tnjax.log.JSONLines(file), path[:2])
    log_all(tnjax.log.JSONLines(file), path[2:])
    log = tnjax.log.JSONLines(str(file))
    log(make_result([(MoveRecord("start"), START, math.nan)]).path[0])

    def refuse(word):
        raise ValueError(word)

    lines = file.read_text().splitlines()
    records = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [record["step"] for record in records] == list(range(len(path) + 1))
    assert records[-1]["error"] is None


def events(file) -> list:
    """The records of an event file: length, checksum, data, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, out, at = file.read_bytes(), [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        out.append(Event.FromString(data[at + 12 : at + 12 + length]))
        at += 16 + length
    return out


def test_tensorboard_has_a_curve_for_each_number(tmp_path, path):
    pytest.importorskip("tensorboardX")
    with tnjax.log.TensorBoard(tmp_path / "board", first=3) as log:
        log_all(log, path)
    (file,) = (tmp_path / "board").glob("events.out.tfevents.*")
    found: dict[str, list] = {}
    for event in events(file):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert set(found) == {
        f"search/{name}"
        for name in ("error", "params", "compression", "seconds", "compile_seconds")
    }
    assert [number for number, _ in found["search/error"]] == [3, 4, 5, 6, 7]
    assert [v for _, v in found["search/error"]] == pytest.approx([s.error for s in path])
    assert [v for _, v in found["search/params"]] == [s.num_params for s in path]


def test_without_tensorboardx_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=re.escape(install_hint("tensorboard"))):
        tnjax.log.TensorBoard(tmp_path / "board")
    assert list(tmp_path.iterdir()) == []


def test_several_loggers_get_every_step_in_order(path):
    seen = []
    log = tnjax.log.Several(lambda s: seen.append(("a", s)), lambda s: seen.append(("b", s)))
    log_all(log, path)
    assert seen == [(name, step) for step in path for name in "ab"]


# Notebooks ----------------------------------------------------------------------------------


def test_live_draws_in_one_place(monkeypatch, path):
    IPython = pytest.importorskip("IPython")
    shown = []

    class Handle:
        def update(self, picture):
            shown.append(("update", picture.data))

    def display(picture, display_id):
        assert display_id
        shown.append(("display", picture.data))
        return Handle()

    monkeypatch.setattr(IPython.display, "display", display)
    log_all(tnjax.log.Live(), path)
    assert [kind for kind, _ in shown] == ["display", *["update"] * (len(path) - 1)]
    for step, (_, text) in zip(path, shown):
        assert Page(text).open == []
        assert f"<b>{step.move}</b>, {step.num_params:,} parameters" in text


def test_values_show_themselves_in_notebooks():
    result = make_result(MOVES)
    network = random_network(Structure.cp((3, 4, 5), 2))
    many = random_network(Structure.rank_one((2,) * 30))
    for value, words in (
        (result.structure, ["4 x 5 x 6", "40", "3x"]),
        (network, ["core 0", "3 x 2", "float64", "24"]),
        (many, ["core 0", "... 19 more"]),
        (result, ["0.2 (relative, unsquared)", result.status.message, "result"]),
    ):
        text = value._repr_html_()
        page = Page(text)
        assert page.open == []
        assert "svg" in page.tags
        assert not {"script", "link", "style"} & set(page.tags)
        for word in words:
            assert word in page.words, word


def test_repr_html_does_not_need_a_picture_to_be_registered(monkeypatch):
    monkeypatch.setattr(tnjax._display, "_formatters", {})
    assert START._repr_html_() is None


def test_structures_do_not_import_pictures():
    """The registry keeps the direction of dependence: nothing below asks for a leaf."""
    root = pathlib.Path(tnjax.__file__).parent
    below = [
        *root.glob("_*.py"),
        *(root / "search").glob("*.py"),
        *(root / "_contract").glob("*.py"),
    ]
    for file in below:
        if file.name == "__init__.py" and file.parent == root:
            continue
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"from \.+(plot|report|log|cli)\b", text), file
