"""What messages say about missing packages can be pasted into a shell, and works."""

import json
import re
import shlex
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from tnjax._install import install_hint

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("tnjax", "experiments", "notebooks")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".ipynb") and path.name != "_install.py"
]


def installed(monkeypatch, text: str | None) -> None:
    """As if pip had left this note about where tnjax came from."""
    found = SimpleNamespace(read_text=lambda name: text if name == "direct_url.json" else None)
    monkeypatch.setattr(metadata, "distribution", lambda name: found)


@pytest.mark.parametrize(
    ("note", "command"),
    [
        (None, "pip install 'tnjax[tables]'"),
        ("not JSON", "pip install 'tnjax[tables]'"),
        ("[]", "pip install 'tnjax[tables]'"),
        (
            {"url": "file:///src/tnjax", "dir_info": {"editable": True}},
            "cd /src/tnjax && pip install -e '.[tables]'",
        ),
        (
            {"url": "file:///src/my%20work/tnjax", "dir_info": {}},
            "cd '/src/my work/tnjax' && pip install '.[tables]'",
        ),
        (
            {"url": "file:///src/tnjax-0.2-py3-none-any.whl", "archive_info": {}},
            "pip install 'tnjax[tables] @ file:///src/tnjax-0.2-py3-none-any.whl'",
        ),
        (
            {
                "url": "https://example.org/tnjax.git",
                "vcs_info": {"vcs": "git", "commit_id": "0f1e"},
            },
            "pip install 'tnjax[tables] @ git+https://example.org/tnjax.git@0f1e'",
        ),
    ],
)
def test_the_hint_follows_how_tnjax_was_installed(monkeypatch, note, command):
    installed(monkeypatch, json.dumps(note) if isinstance(note, dict) else note)
    assert install_hint("tables") == command
    assert shlex.split(command)[-1].startswith((".[tables]", "tnjax[tables]"))


def test_without_any_note_there_is_a_hint(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert install_hint("plot") == "pip install 'tnjax[plot]'"


def test_every_message_asks_for_the_hint_of_an_extra_that_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set()
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip install '?(tnjax|\.)\[", text), f"{path}: use install_hint"
        named |= set(re.findall(r"install_hint\(['\"](\w+)['\"]\)", text))
    assert {"arrays", "plot", "ray", "tables", "tensorboard", "video"} <= named
    assert named <= set(project["optional-dependencies"])
