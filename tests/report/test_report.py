"""The report: one page, its numbers, its drawings of each step, and run folders."""

import html.parser
import io
import json
import math
import os
import re
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from tests.helpers import make_result
from tnjax import MoveRecord, Status, Structure, report
from tnjax._report import Curves, Drawn, HeatMaps, Pictures, Table, page_html, search_sections
from tnjax._report.record import load_result, result_record
from tnjax._report.run import Run, rebuild_report, write_run
from tnjax._report.section_files import read_section, section_record
from tnjax._report.sections import heat_png
from tnjax.plot import structure_svg
from tnjax.plot.svg import path_drawing

START = Structure.rank_one((4, 5, 6))
MOVES = [
    (MoveRecord("start"), START, 0.8),
    (MoveRecord("grow", (0, 1), 1), START.with_rank((0, 1), 2), 0.5),
    (MoveRecord("grow", (1, 2), 1), Structure.tensor_train((4, 5, 6), 2), 0.3),
    (MoveRecord("grow", (0, 1), 1), Structure.tensor_train((4, 5, 6), (3, 2)), 0.1),
    (MoveRecord("prune", (0, 1), 1), Structure.tensor_train((4, 5, 6), 2), 0.2),
]


def png(color=(200, 30, 60)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 3), color).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def found():
    return make_result(MOVES)


class Page(html.parser.HTMLParser):
    """Tags, words and addresses of a page."""

    VOID = ("meta", "img", "input")

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.open, self.addresses, self.words, self.images = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def page_of(result, folder, **options) -> tuple[Page, str]:
    report(result, folder / "page.html", **options)
    text = (folder / "page.html").read_text(encoding="utf-8")
    return Page(text), text


def script_data(text: str) -> dict:
    """What the page's script reads: the frames of its first search."""
    found = re.search(r'<script type="application/json">(.*?)</script>', text)
    assert found is not None
    return json.loads(found[1])


# The page -----------------------------------------------------------------------------------


def test_a_report_is_one_page_that_needs_nothing_else(tmp_path, found):
    page, text = page_of(found, tmp_path, images={"Original": png()})
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert page.open == []
    assert not {"link", "iframe", "object", "base", "form"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert set(re.findall(r"\w+://[^\"' <]*", text)) == {"http://www.w3.org/2000/svg"}  # a name
    assert "default-src 'none'" in text
    outside = [a for a in page.addresses if not a.startswith(("#part-", "data:image/png;base64,"))]
    assert outside == []


def test_every_picture_has_words_for_those_who_cannot_see_it(tmp_path, found):
    page, text = page_of(found, tmp_path, images={"Original": png()})
    assert all(image["alt"] for image in page.images)
    for tag in re.findall(r"<svg[^>]*>", text):
        assert 'aria-hidden="true"' in tag or re.search(r'role="img" aria-label="[^"]{10,}"', tag)
    assert '<html lang="en">' in text
    assert text.count("<h1>") == 1


def test_a_report_tells_the_numbers_of_the_search(tmp_path, found):
    page, _ = page_of(
        found,
        tmp_path,
        title="My tensor",
        details={"kind": "image"},
        options={"seed": 7, "target_error": 0.25},
        versions={"jax": "9.9"},
    )
    words = set(page.words)
    assert {"My tensor", "kind", "image", "seed", "7", "jax", "9.9", "target"} <= words
    assert {"0.2", "40", "3x", Status.TARGET_REACHED.message} <= words
    assert {"start", "grow 0-1", "grow 1-2", "prune 0-1"} <= words
    assert page.words.count("My tensor") == 2  # heading and title


def test_a_report_escapes_what_it_is_given(tmp_path, found):
    attack = "</script><script>alert('&')</script>"
    before = page_of(found, tmp_path)[1].count("<script")
    page, text = page_of(
        found,
        tmp_path,
        title=f"title {attack}",
        details={f"key {attack}": f"value {attack}"},
        images={f'caption " {attack}': png()},
        sections=[
            Table(f"table {attack}", ("a", f"column {attack}"), [(f"row {attack}", 1)]),
            Curves(f"curves {attack}", "x", "y", {f"line {attack}": [(1, 2), (2, 3)]}),
            HeatMaps(f"maps {attack}", {f"map {attack}": np.eye(2)}),
        ],
    )
    assert text.count("<script") == before
    for word in ("title", "key", "value", 'caption "', "column", "row", "line", "map"):
        assert any(f"{word} {attack}" in words for words in page.words), word


def test_reports_are_the_same_bytes_for_the_same_search(tmp_path, found):
    assert page_of(found, tmp_path)[1] == page_of(found, tmp_path)[1]


def test_a_failed_report_leaves_the_old_one_and_no_other_file(tmp_path, monkeypatch, found):
    path = tmp_path / "r.html"
    path.write_text("old")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="No space"):
                report(found, path)
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_text() == "old"
    report(found, str(path))
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_report_needs_no_matplotlib(tmp_path, monkeypatch, found):
    for module in ("matplotlib", "matplotlib.pyplot", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    assert "tn-network" in page_of(found, tmp_path)[1]


def test_pages_of_several_searches_name_each(found):
    sections = [*search_sections(found, name="first"), *search_sections(found, name="second")]
    page = Page(page_html("Both", sections))
    assert page.open == []
    assert {"first: Step by step", "second: Step by step"} <= set(page.words)
    assert page.tags.count("input") == 2


# Steps --------------------------------------------------------------------------------------


def test_the_script_gets_every_step_of_the_search(tmp_path, found):
    data = script_data(page_of(found, tmp_path)[1])
    assert len(data["frames"]) == len(found.path)
    for number, (frame, step) in enumerate(zip(data["frames"], found.path)):
        ranks = {
            tuple(sorted(int(frame["names"][node]) for node in bond)): rank
            for bond, rank in zip(data["bonds"], frame["ranks"])
            if rank
        }
        assert ranks == dict(step.structure.edges)
        assert frame["text"].startswith(f"Step {number} of 4: {step.move}")
        assert f"{step.num_params:,} parameters" in frame["text"]
        assert len(frame["point"]) == 2
    xs = [frame["point"][0] for frame in data["frames"]]
    ys = [frame["point"][1] for frame in data["frames"]]
    assert np.argsort(xs, kind="stable").tolist() == [0, 1, 2, 4, 3]  # parameters 15 24 40 54 40
    assert xs[2] == xs[4]
    assert ys == [*sorted(ys[:4]), ys[4]]  # an error that falls is drawn lower


def test_errors_that_are_not_finite_are_left_out_of_the_curve(tmp_path):
    moves = [*MOVES[:2], (MoveRecord("grow", (1, 2), 1), MOVES[2][1], math.nan)]
    data = script_data(page_of(make_result(moves), tmp_path)[1])
    assert [frame["point"] is None for frame in data["frames"]] == [False, False, True]


def test_an_error_of_zero_and_a_single_step(tmp_path):
    page, _ = page_of(make_result([(MoveRecord("start"), START, 0.0)]), tmp_path)
    assert page.open == []


def test_complex_and_internal_cores_have_factors(tmp_path):
    structure = Structure.tucker((3, 4, 5), 2)
    page, _ = page_of(make_result([(MoveRecord("start"), structure, 0.5)]), tmp_path)
    captions = {image["alt"].split(";")[0] for image in page.images}
    assert captions == {f"mode {k} (node {k})" for k in range(3)}


# Drawings of a path -------------------------------------------------------------------------


def test_nodes_stay_in_place_over_a_path():
    drawing = path_drawing([structure for _, structure, _ in MOVES])
    assert len({frame.places for frame in drawing.frames}) == 1
    assert drawing.bond_names == ("0-1", "1-2")
    assert [frame.ranks for frame in drawing.frames] == [(0, 0), (2, 0), (2, 2), (3, 2), (2, 2)]


def test_nodes_that_split_merge_and_are_numbered_anew_keep_their_modes():
    split = Structure.tucker((4, 5, 6), 2)
    merged = Structure((4, 5, 6), ((1,), (0, 2)), {(0, 1): 3})
    drawing = path_drawing([START, split, merged])
    assert len(drawing.legs) == 5  # three modes, an internal node, a merged node
    shown = [[name for name in frame.names if name] for frame in drawing.frames]
    assert shown == [["0", "1", "2"], ["0", "1", "2", "3"], ["0", "1"]]
    mode_one = drawing.legs.index(("5",))
    assert len({frame.places[mode_one] for frame in drawing.frames}) == 1
    for frame in drawing.frames:
        assert [place is None for place in frame.places] == [not name for name in frame.names]


def test_no_node_of_a_path_hides_another():
    chain = {(0, 4): 2, (1, 4): 2, (2, 5): 2, (3, 5): 2, (4, 6): 2, (5, 6): 2, (6, 7): 2}
    for structure in (
        Structure.hierarchical_tucker((3,) * 8, 2),
        Structure.from_edges((3,) * 4, chain),
        Structure.from_edges((3,) * 4, {(0, 4): 2, (1, 4): 2, (0, 5): 2, (1, 5): 2, (4, 5): 2}),
    ):
        (frame,) = path_drawing([structure]).frames
        places = [place for place in frame.places if place]
        gaps = [math.dist(a, b) for k, a in enumerate(places) for b in places[:k]]
        assert min(gaps) > 20


def test_names_stand_at_the_modes_of_a_drawing_and_have_room():
    names = ("age", "a name of more than twenty letters", "<b>")
    train = Structure.tensor_train((2, 3, 2), 2)
    picture = structure_svg(train, names=names, notes={(1, 2): "0.3"})
    root = ET.fromstring(picture)
    words = [node.text for node in root.iter() if node.text]
    assert {"age", "a name of more than…", "<b>", "2 · 0.3", "2"} <= set(words)
    left, top, wide, tall = map(float, root.attrib["viewBox"].split())
    assert (left, top) == (-wide / 2, -tall / 2)
    assert wide > tall == 316
    plain = structure_svg(train)
    assert 'viewBox="-158 -158 316 316"' in plain


# Sections -----------------------------------------------------------------------------------

SECTIONS = [
    Table("Errors", ("set", "error", "good"), [("test", 0.25, True), ("train", math.inf, None)]),
    Curves("Over steps", "step", "error", {"train": [(0, 0.5), (1, 0.2)]}, "a note"),
    Curves("Dots", "x", "y", {"seen": [(0, -1.0), (1, 1.0)], "none": [(0, 0.0)]}, dots=("seen",)),
    Drawn("Columns", Structure.tensor_train((2, 3, 2), 2), ("a", "b & c", "d"), {(0, 1): "0.3"}),
    Pictures("Two", {"First one": png(), "Second: <b>": png((1, 2, 3))}),
    HeatMaps("Maps", {"a": np.array([[1.0, -2.0], [0.0, 4.0]])}),
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_sections_come_back_from_their_records(tmp_path, section):
    record = json.loads(json.dumps(section_record(section, tmp_path), allow_nan=False))
    back = read_section(record, tmp_path)
    assert type(back) is type(section)
    assert back.body() == section.body()


def test_sections_of_unknown_kinds_cannot_be_kept(tmp_path, found):
    with pytest.raises(ValueError, match="kinds Table, Curves, Pictures, HeatMaps, Drawn"):
        section_record(search_sections(found)[0], tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "other"},
        {"kind": "table", "title": "t", "columns": ["a"], "rows": [[1, 2]], "note": ""},
        {"kind": "pictures", "title": "t", "files": {"a": "../secret.png"}, "note": ""},
        {"kind": "curves", "title": "t", "x": "", "y": "", "lines": {"a": [["b", 1]]}, "note": ""},
        {"kind": "network", "title": "t", "structure": {}, "names": [], "notes": [], "note": ""},
        {},
        [],
    ],
)
def test_damaged_sections_are_refused(tmp_path, unchecked, damage):
    with pytest.raises(ValueError, match="damaged"):
        read_section(damage, tmp_path)


def test_heat_maps_show_sign_by_color_and_size_by_strength():
    data = HeatMaps("m", {"a": np.array([[4.0, -4.0], [0.0, 1.0]])})
    with Image.open(io.BytesIO(heat_png(data.matrices["a"]))) as image:
        pixels = np.asarray(image)
    assert pixels[..., 3].tolist() == [[255, 255], [0, 128]]
    assert (pixels[0, 0, :3] == pixels[1, 1, :3]).all()
    assert (pixels[0, 0, :3] != pixels[0, 1, :3]).any()
    for bad in (np.zeros(3), np.array([[math.nan]]), np.array([[1j]])):
        with pytest.raises(ValueError, match="finite real"):
            heat_png(bad)


# Run folders --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, found):
    run = Run(
        "A run",
        found,
        {"seed": 3, "target_error": 0.25},
        {"input": "x"},
        details={"seed": 3},
        sections=SECTIONS,
        extra={"mark": 1},
    )
    path = tmp_path / "run"
    path.mkdir()
    write_run(path, run)
    return path


def test_a_run_folder_gives_its_result_and_the_same_report_again(folder, found):
    names = {path.name for path in folder.iterdir()}
    assert {"report.html", "network.svg", "path.svg", "first-one.png", "second-b.png"} <= names
    result = load_result(folder)
    assert result.path == found.path
    assert [(r.structure, r.error) for r in result.pareto] == [
        (r.structure, r.error) for r in found.pareto
    ]
    for ours, theirs in zip(result.pareto, found.pareto):
        for a, b in zip(ours.network.cores, theirs.network.cores):
            np.testing.assert_array_equal(a, b)
    assert result_record(result) == result_record(found)
    assert json.loads((folder / "result.json").read_text())["mark"] == 1
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert rebuild_report(folder) == folder / "report.html"
    assert (folder / "report.html").read_bytes() == before
    assert {path.name for path in folder.iterdir()} == names


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", []),
        ("path", [{}]),
        ("path", 3),
        ("status", "odd"),
        ("error", "x"),
        ("version", 2),
        ("format", "other"),
        ("report", 3),
        ("report", {"sections": [{"kind": "other"}]}),
        ("report", {"sections": [{"kind": "pictures", "title": "", "files": 3, "note": ""}]}),
    ],
)
def test_damaged_run_folders_are_refused_by_name(folder, key, value):
    record = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**record, key: value}))
    before = (folder / "report.html").read_bytes()
    with pytest.raises(ValueError, match=r"result\.json"):
        rebuild_report(folder)
    assert (folder / "report.html").read_bytes() == before


@pytest.mark.parametrize("name", ["archive.safetensors", "network.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "text", "other", "missing"])
def test_damaged_cores_are_refused_by_name(folder, name, damage):
    data = (folder / name).read_bytes()
    others = {"archive.safetensors": "network.safetensors"}
    match damage:
        case "cut":
            (folder / name).write_bytes(data[:-1])
        case "text":
            (folder / name).write_text("text")
        case "other":
            other = others.get(name, "archive.safetensors")
            (folder / name).write_bytes((folder / other).read_bytes())
        case "missing":
            (folder / name).unlink()
    with pytest.raises((ValueError, OSError), match=name):
        rebuild_report(folder)


@pytest.mark.parametrize("text", ["- a", "a: [", "3"])
def test_damaged_options_are_refused_by_name(folder, text):
    (folder / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml"):
        rebuild_report(folder)
