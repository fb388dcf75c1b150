"""--help: what everybody needs first, then groups; every format and strategy; plain types."""

import dataclasses
import re
import typing

import numpy as np
import pytest

import tnjax
from tests.cli_helpers import check_refusal, run
from tnjax.cli._arguments import share
from tnjax.cli._complete import Complete
from tnjax.cli._decompose import Decompose
from tnjax.cli._groups import grouped
from tnjax.cli._main import _COMMANDS
from tnjax.io import _readers, _slabs, _tables, _video

# A title of a box: at a terminal in its upper edge, elsewhere above a rule.
TITLE = re.compile(r"^[ ╭+─-]*((?:[a-z]+ )?options|positional arguments)[ ╮+─-]*$", re.MULTILINE)
EDGES = re.compile(r"[│|\s]+")


def screen(monkeypatch, command, columns=80) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    return out


def boxes(text) -> dict[str, str]:
    """Title and text of each box, where they are one below the other."""
    titles = TITLE.findall(text)
    bodies = TITLE.split(text)[2::2]
    return {title: EDGES.sub(" ", body) for title, body in zip(titles, bodies, strict=True)}


@pytest.mark.parametrize("command", ["decompose", "complete"])
def test_what_everybody_needs_comes_first_then_groups(monkeypatch, command):
    found = boxes(screen(monkeypatch, command))
    assert list(found)[:2] == ["positional arguments", "options"]
    usual = re.findall(r" --([a-z][a-z-]+)", found["options"])
    first = ["out", "target-error", "max-params", "max-seconds", "effort", "reshape"]
    assert [name for name in usual if name in first] == first
    assert len([name for name in usual if name != "help"]) <= 6
    order = [f"{name} options" for name in ("stop", "search", "computing", "cluster")]
    assert [title for title in found if title in order] == order
    assert "--max-steps" in found["stop options"]
    assert "--strategy" in found["search options"]
    assert "--digits" in found["input options"]
    assert "--coordinator" in found["cluster options"]


def test_the_list_of_commands_fits_on_two_screens(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert len(out.splitlines()) <= 48
    text = EDGES.sub(" ", out)
    for name, cls in _COMMANDS.items():
        first = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        assert f"{name} {first}" in text


@pytest.mark.parametrize("command", list(_COMMANDS))
@pytest.mark.parametrize("columns", [80, 200])
def test_help_is_plain_and_fits(monkeypatch, command, columns):
    text = screen(monkeypatch, command, columns)
    assert "None" not in text
    assert max(map(len, text.splitlines())) <= columns
    for field in dataclasses.fields(_COMMANDS[command]):
        if field.name in ("input", "model", "file", "folder"):
            assert f"--{field.name}" not in text
        else:
            assert f"--{field.name.replace('_', '-')}" in text, field.name


@pytest.mark.parametrize("command", list(_COMMANDS))
def test_every_option_is_explained(monkeypatch, command):
    text = " ".join(boxes(screen(monkeypatch, command)).values())
    metavar = r"(, --no-[a-z-]+|( [A-Z]+)| \{[^}]*\}| [A-Z]+ \[[^]]*\]+| \[[^]]*\]+)?"
    for field in dataclasses.fields(_COMMANDS[command]):
        flag = f"--{field.name.replace('_', '-')}"
        for after in re.findall(rf" {flag}(?![a-z-]){metavar} (.*)", text)[:1]:
            assert re.match(r"[\w ]", after[-1]), (flag, after[-1][:40])
            assert not after[-1].startswith("--"), flag


def test_every_strategy_is_listed(monkeypatch):
    found = boxes(screen(monkeypatch, "decompose"))["search options"]
    for name in tnjax.strategies.strategy_names():
        assert re.search(rf"\b{name}\b", found), name


def test_every_format_is_listed(monkeypatch):
    dense = (
        *_readers.IMAGE_SUFFIXES,
        *_readers._ARRAY_SUFFIXES,
        *_slabs.HDF5_SUFFIXES,
        _slabs.ZARR_SUFFIX,
        *_video.VIDEO_SUFFIXES,
    )
    for command in ("decompose", "complete"):
        found = boxes(screen(monkeypatch, command))["positional arguments"]
        for suffix in dense:
            assert re.search(rf"{re.escape(suffix)}\b", found), suffix
    for suffix in (*_tables.TABLE_SUFFIXES, ".tns"):
        assert suffix in found, suffix


@pytest.mark.parametrize("command", list(_COMMANDS.values()), ids=lambda cls: cls.__name__)
def test_groups_hold_each_option_once(command):
    names = []
    for field in dataclasses.fields(grouped(command)):
        group = typing.get_args(field.type)[0]
        parts = dataclasses.fields(group) if dataclasses.is_dataclass(group) else [field]
        names += [part.name for part in parts]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(command))


# Percentages --------------------------------------------------------------------------------


def test_shares_are_numbers_or_percentages():
    assert share("10%") == 0.1
    assert share(" 0.25 ") == 0.25
    assert share("1e-3") == 1e-3
    assert share("12.5 %") == 0.125
    for text in ("", "%", "ten", "10%%", "1,5"):
        with pytest.raises(ValueError, match="such as 10%"):
            share(text)


@pytest.mark.parametrize("written", ["10%", "0.1"])
def test_a_target_error_in_percent(tmp_path, monkeypatch, written):
    seen = []
    monkeypatch.setattr(Decompose, "run", lambda self: seen.append(self) or 0)
    run("decompose", "x.npy", "--target-error", written, "--out", tmp_path, "--devices", 2)
    (options,) = seen
    assert options.target_error == 0.1
    assert (options.devices, options.prune, str(options.input)) == (2, True, "x.npy")


def test_other_shares_in_percent(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Complete, "run", lambda self: seen.append(self) or 0)
    words = ("--max-params", 9, "--validation", "20%", "--test", "5%")
    run("complete", "x.npy", *words, "--out", tmp_path)
    assert (seen[0].validation, seen[0].test) == (0.2, 0.05)


def test_a_target_error_that_is_no_number(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    status, _, err = run("decompose", "x.npy", "--target-error", "ten", "--out", tmp_path / "run")
    assert status == 2
    assert "such as 10%" in err


def test_ten_is_not_ten_percent(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 3)))
    words = ("decompose", tmp_path / "x.npy", "--target-error", 10, "--out", tmp_path / "run")
    assert "write 0.1 or 10%" in check_refusal(tmp_path, *words)


def test_percentages_in_a_sweep():
    from tnjax.cli._trials import settled

    found = settled("complete", {"input": "x", "target_error": "10%", "test": "5%", "ridge": "1"})
    assert (found["target_error"], found["test"], found["ridge"]) == (0.1, 0.05, 1.0)
    with pytest.raises(ValueError, match="ridge"):
        settled("complete", {"input": "x", "ridge": "10%"})
