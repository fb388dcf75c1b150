"""The ablation of tuned constants, at its small setting."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from tnjax import constants

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "benchmarks"))


@pytest.fixture(scope="module")
def ablation():
    return importlib.import_module("ablation")


def test_a_small_table(ablation, tmp_path, capsys):
    out, table = tmp_path / "ablation.json", tmp_path / "table.md"
    names = ["measuring.definite", "layer_growth.enough", "races.noise"]
    words = ["--small", "--only", *names, "--out", str(out), "--table", str(table)]
    ablation.main(words)
    found = json.loads(out.read_text())
    assert set(found["default"]) == set(ablation.SMALL)
    for name, case in ablation.SMALL.items():
        assert found["default"][name]["error"] <= case.target
        assert "measuring.definite" in found["default"][name]["read"]
        assert found["default"][name]["repeats"]
    rows = found["constants"]
    assert {name: row["value"] for name, row in rows.items()} == {
        name: constants.current(name) for name in names
    }
    assert rows["layer_growth.enough"]["verdict"] == "not read"  # it is one of neural networks
    assert all(not row["runs"] for row in rows["layer_growth.enough"]["factors"])
    tried = {row["factor"]: row["value"] for row in rows["measuring.definite"]["factors"]}
    assert tried == {0.5: pytest.approx(0.9), 2.0: pytest.approx(0.6)}  # by its distance from 1
    for row in rows["measuring.definite"]["factors"]:
        assert [run["tensor"] for run in row["runs"]] == list(ablation.SMALL)
        for run in row["runs"]:
            usual = found["default"][run["tensor"]]
            assert run["params_ratio"] == run["params"] / usual["params"]
            assert run["same"] == all(
                run[key] == usual[key] for key in ("params", "error", "fitted", "work", "status")
            )
    lines = [line for line in table.read_text().splitlines() if line.startswith("| `")]
    assert len(lines) == 2 * len(names)
    printed = capsys.readouterr().out
    assert lines[-1] in printed

    # What a file holds is not done again.
    ablation.main(words)
    again = capsys.readouterr().out
    assert table.read_text().endswith(again)
    assert json.loads(out.read_text()) == found


def test_what_can_change_a_result_is_found(ablation):
    case = ablation.SMALL["small train"]
    usual = ablation.run(case)
    assert ablation.run(case) == usual
    with constants.overridden({"measuring.definite": 10.0}):
        other = ablation.run(case)
    row = ablation.compare("small train", case, other, usual)
    assert not row["same"]
    assert row["work_ratio"] != 1


def test_values_are_halved_and_doubled(ablation):
    assert ablation.changed("tries.steps", 32, 0.5) == 16
    assert ablation.changed("effort.again", 1.0, 2.0) == 2.0
    assert ablation.changed("inference.first", (4, 32), 0.5) == (2, 16)
    assert ablation.changed("moves.split_bonds", 1, 0.5) == 1
    assert ablation.changed("shrinking.far", 1.02, 2.0) == pytest.approx(1.04)
    for name in (*ablation.FIRST, *ablation.NEAR_ONE):
        constants.current(name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "rival.beter"], "did you mean 'rival.better'"),
        (["--tensors", "camera"], "no tensor 'camera'; choose among tree"),
    ],
)
def test_unknown_names_are_refused(ablation, words, message, capsys):
    with pytest.raises(SystemExit):
        ablation.main(words)
    assert message in capsys.readouterr().err
