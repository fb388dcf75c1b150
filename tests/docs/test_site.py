"""What surrounds the pages: their pictures, stored notebooks, and README on a package index."""

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

import tnjax
from tests.docs.pages import ROOT
from tests.helpers import make_result
from tnjax import MoveRecord, Structure

README = (ROOT / "README.md").read_text(encoding="utf-8")
RELATIVE = re.compile(r"\]\((?!\w+:)([^)#]+)")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_readme_links_to_files_that_are_there():
    links = RELATIVE.findall(README)
    assert len(links) > 10
    assert all((ROOT / link).exists() for link in links)


@pytest.fixture(scope="module")
def hook():
    pytest.importorskip("hatchling")
    return load(ROOT / "hatch_build.py")


def test_an_index_page_gets_absolute_links(hook):
    text = hook.for_an_index(README, "https://example.org/a/tnjax", "v0.2.0")
    assert not RELATIVE.search(text)
    assert "![The report of a run" in text
    assert "(https://example.org/a/tnjax/raw/v0.2.0/docs/report.png)" in text
    assert "(https://example.org/a/tnjax/blob/v0.2.0/docs/tutorial.md)" in text
    assert set(hook.urls("https://example.org/a/tnjax", "v0.2.0")) > {"Repository", "Changelog"}


def test_without_an_address_no_link_leads_nowhere(hook):
    text = hook.for_an_index(README, "", "v0.2.0")
    assert not RELATIVE.search(text)
    assert "](https://arxiv.org/abs/2008.05437)" in text
    assert "report.png" not in text
    assert "From a run's" not in text
    assert hook.urls("", "v0.2.0") == {"Paper": hook.PAPER}


def test_classifiers_name_every_python():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for minor in range(11, 14):
        assert f"Programming Language :: Python :: 3.{minor}" in project["classifiers"]
    assert (Path(tnjax.__file__).parent / "py.typed").exists()


def test_every_paper_of_the_code_is_in_the_bibliography():
    named = set()
    for path in Path(tnjax.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"arXiv[: ]\s*([\w.-]*/?\d{4}[.\d]\d+)", text))
    page = (ROOT / "docs" / "bibliography.md").read_text(encoding="utf-8")
    assert len(named) > 20
    assert {paper for paper in named if paper not in page} == set()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_with_small_outputs_and_without_errors(path):
    assert path.stat().st_size < 100_000
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs
    assert all(output["output_type"] != "error" for output in outputs)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))


def test_a_notebook_becomes_a_page_with_what_it_shows():
    pytest.importorskip("mkdocs")
    hooks = load(ROOT / "docs" / "tools" / "hooks.py")
    page, pictures = hooks.notebook_page(json.loads(NOTEBOOKS[0].read_text()), "first")
    assert page.startswith("# A first search")
    assert "```python\nimport jax" in page
    assert "```text\n" in page
    assert list(pictures) == ["first_0.png"]
    assert pictures["first_0.png"].startswith(b"\x89PNG")
    assert "](first_0.png)" in page
    formula = hooks.on_page_content('<span class="arithmatex">\\(T \\ge 0\\)</span>')
    assert "<math" in formula
    assert "\\ge" not in formula


def test_pictures_are_files_of_their_own(tmp_path):
    script = load(ROOT / "docs" / "tools" / "pictures.py")
    start = Structure.rank_one((4, 5, 6))
    moves = [
        (MoveRecord("start"), start, 0.5),
        (MoveRecord("grow", (0, 1), 1), start.with_rank((0, 1), 2), 0.1),
    ]
    drawn = script.pictures(make_result(moves))
    script.write(drawn, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"path_{n}.svg" for n in ("0", "1", "middle", "last")} | {"curve.svg"}
    svg = (tmp_path / "path_last.svg").read_text()
    assert svg.startswith('<svg color="#1a1d21" xmlns="http://www.w3.org/2000/svg"')
    assert svg.count("<circle") == 3
    shown = {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    assert names < shown
