"""Every block of code of README and of the site runs, and prints what the page says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Ran, blocks, run_page, same

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A session of its own each: their code is run by `tests/search/test_extension_points.py`, and with
# eight devices below.
ELSEWHERE = ("extending.md", "devices.md")
WITH_CODE = [
    path
    for path in PAGES
    if path.name not in ELSEWHERE
    and any(b.language in ("python", "sh") for b in blocks(path.read_text(encoding="utf-8")))
]


def check(ran: Ran) -> None:
    if ran.shown is not None:
        assert same(ran.shown.text, ran.printed), ran.printed


@pytest.mark.parametrize("path", WITH_CODE, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_code_of_a_page_runs(path, tmp_path, monkeypatch, usual_promotion):
    monkeypatch.chdir(tmp_path)
    for ran in run_page(path.read_text(encoding="utf-8"), {"__name__": "page"}):
        check(ran)


def test_the_code_about_devices_runs_on_eight(tmp_path):
    code = """
import sys
from pathlib import Path
from tests.docs.test_pages import check, run_page
for ran in run_page(Path(sys.argv[1]).read_text(encoding="utf-8"), {"__name__": "page"}):
    check(ran)"""
    devices = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "docs" / "devices.md")],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg", "XLA_FLAGS": devices, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_has_a_language(path: Path):
    assert all(block.language for block in blocks(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("shown", "printed", "agree"),
    [
        ("error 0.0935, 1.5 s", "error 0.0936, 9 s", True),
        ("error 0.0935", "error 0.1935", False),
        ("4,096 weights", "4,096 cores", False),
        ("grow 0-3: 126 parameters", "grow 0-1: 126 parameters", False),
        ("1.2e-12", "3.4e-11", True),
        ("1 2", "1 2 3", False),
    ],
)
def test_what_counts_as_the_same_output(shown, printed, agree):
    assert same(shown, printed) is agree


def test_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= 8 * 1024
