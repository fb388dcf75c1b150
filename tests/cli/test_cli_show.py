"""`tnjax show` on the folders of compressions and sweeps."""

import json
import re
import statistics

import pytest

from tests.cli_helpers import check_refusal, run, snapshot
from tnjax import MoveRecord, Status, Structure
from tnjax._search.result import Step
from tnjax.sweep import Outcome, Trial, write_tables

SCREEN = 24  # lines


def layer(name, structure, error) -> dict:
    rows, columns = 4, 6
    return {
        "name": name,
        "kind": "linear",
        "shape": [rows, columns],
        "dense_params": rows * columns,
        "num_params": structure.num_params,
        "error": error,
        "layout": {"structure": structure.to_json()},
        "costs": [],
    }


def compression(folder, some_layers, **changes) -> None:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"not looked at")
    record = {
        "num_params": sum(x["num_params"] for x in some_layers),
        "dense_params": sum(x["dense_params"] for x in some_layers),
        "metric": 0.25,
        "dense_metric": 0.125,
        "status": "TARGET_REACHED",
        "seconds": 12.34,
        "layers": some_layers,
    }
    (folder / "result.json").write_text(json.dumps(record | changes), encoding="utf-8")


def shown(folder) -> list[str]:
    before = snapshot(folder)
    status, out, err = run("show", folder)
    assert (status, err) == (0, "")
    assert snapshot(folder) == before
    lines = out.splitlines()
    assert len(lines) <= SCREEN
    return lines


def test_a_compression_is_shown_layer_by_layer(tmp_path):
    train = Structure.tensor_train((2, 2, 6), (2, 3))  # 4 + 12 + 18 = 34 parameters
    none = Structure.rank_one((4, 6))
    compression(tmp_path / "run", [layer("blocks.0", train, 0.125), layer("head", none, 0.75)])
    lines = shown(tmp_path / "run")
    assert lines[0] == "parameters: 44 for 48 (1.091x smaller)"
    assert lines[1] == "metric: 0.25, dense 0.125"
    assert [line.split() for line in lines[-3:]] == [
        ["layer", "kind", "weight", "before", "after", "error", "ranks"],
        ["blocks.0", "linear", "4x6", "24", "34", "0.125", "2,3"],
        ["head", "linear", "4x6", "24", "10", "0.75", "none"],
    ]


def test_many_layers_fit_on_a_screen(tmp_path):
    layers = [layer(f"blocks.{n}", Structure.rank_one((4, 6)), 0.5) for n in range(40)]
    compression(tmp_path / "run", layers, metric=None)
    lines = shown(tmp_path / "run")
    listed = sum(line.startswith("blocks.") for line in lines)
    (more,) = re.findall(r"\.\.\. (\d+) more in \S*result\.json", lines[-1])
    assert listed + int(more) == 40
    assert not any(line.startswith("metric") for line in lines)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": [{}]},
        {"layers": None},
        {"dense_params": "many"},
        {"num_params": 0},
        {"metric": "x"},
    ],
)
def test_a_damaged_compression_is_refused(tmp_path, changes):
    compression(tmp_path / "run", [layer("head", Structure.rank_one((4, 6)), 0.5)], **changes)
    assert "result.json" in check_refusal(tmp_path, "show", tmp_path / "run")


def sweep(folder, outcomes) -> None:
    folder.mkdir()
    (folder / "sweep.yaml").write_text("command: decompose\n", encoding="utf-8")
    write_tables(folder, outcomes)


def outcome(power, seed, error, num_params, state="finished") -> Outcome:
    structure = Structure.tensor_train((3, 3), (2,))
    path = (Step(MoveRecord("start"), structure, 12, 0.5, 0.1, 0.0, 0),)
    status = Status.TARGET_REACHED
    trial = Trial({"power": power, "input": "x.npy"}, seed)
    return Outcome(trial, state, "", path, status, error, num_params, 2.0, 1.0, 0.5)


def test_a_sweep_is_shown_setting_by_setting(tmp_path):
    errors, sizes = (0.1, 0.3, 0.2), (100, 120, 140)
    outcomes = [outcome(0.5, n, e, p) for n, (e, p) in enumerate(zip(errors, sizes, strict=True))]
    failed = Trial({"power": 1.0, "input": "x.npy"}, 1)
    outcomes += [outcome(1.0, 0, 0.05, 80), Outcome(failed, "failed", "no")]
    sweep(tmp_path / "run", outcomes)
    lines = shown(tmp_path / "run")
    assert lines[0] == "5 trials have ended: 4 finished, 1 failed"
    spread = statistics.stdev(errors) / 3**0.5
    (row,) = [line for line in lines if line.startswith("0.5 ")]
    assert f"0.2 ± {spread:.2g}" in row
    assert "120 ± 12" in row
    (row,) = [line for line in lines if line.startswith("1.0 ")]
    assert "0.05" in row
    assert "80" in row


def test_a_large_sweep_fits_on_a_screen(tmp_path):
    sweep(tmp_path / "run", [outcome(n / 100, 0, 0.1, 50) for n in range(100)])
    assert re.search(r"\.\.\. \d+ more in \S*summary\.csv", shown(tmp_path / "run")[-1])


def test_a_sweep_without_results_is_shown(tmp_path):
    sweep(tmp_path / "run", [])
    assert shown(tmp_path / "run") == ["0 trials have ended"]


def test_what_has_not_ended_is_said(tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.yaml").write_text("command: decompose\n", encoding="utf-8")
    assert "not written its tables yet" in check_refusal(tmp_path, "show", tmp_path / "sweep")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert "--resume" in check_refusal(tmp_path, "show", tmp_path / "run")
    (tmp_path / "other").mkdir()
    assert "sweep.yaml" in check_refusal(tmp_path, "show", tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("trials.csv", '"'),
        ("trials.csv", "a,b\n1,2\n"),
        ("summary.csv", '"'),
        ("summary.csv", "error,error_standard_error\nx,y\n"),
        ("summary.csv", "error\n1,2,3\n"),
        ("summary.csv", "error,seconds\n1\n"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, name, text):
    sweep(tmp_path / "run", [outcome(0.5, 0, 0.1, 50)])
    (tmp_path / "run" / name).write_text(text, encoding="utf-8")
    assert "damaged" in check_refusal(tmp_path, "show", tmp_path / "run")
