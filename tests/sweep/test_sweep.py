"""Sweeps: what is tried, tables over trials, bad files, and trials on Ray with workers that die."""

import csv
import dataclasses
import datetime as dt
import io
import itertools
import json
import math
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console

from tests.cli_helpers import check_refusal, without_progress
from tnjax import MoveRecord, Status, Step, Structure
from tnjax._install import install_hint
from tnjax.cli import _progress
from tnjax.cli._board import Board, live_table
from tnjax.cli._trials import CommandTask
from tnjax.sweep import (
    Cluster,
    EarlyStopping,
    Outcome,
    Progress,
    Resources,
    Trial,
    Watch,
    expand,
    mean_and_error,
    pareto,
    path_rows,
    run_sweep,
    summary_rows,
    sweep_page,
    trial_rows,
    write_tables,
)
from tnjax.sweep.records import read_outcome, trial_folder, write_state

# Trials -------------------------------------------------------------------------------------


def test_every_combination_of_grid_draws_and_seeds():
    trials = expand(
        {"a": 1},
        grid={"b": [1, 2], "c": ["x", "y", "z"]},
        random={"d": {"choice": [7]}},
        seeds=[4, 9],
    )
    found = [(t.settings["b"], t.settings["c"], t.seed) for t in trials]
    assert found == list(itertools.product([1, 2], "xyz", [4, 9]))
    assert all(t.settings["a"] == 1 and t.settings["d"] == 7 for t in trials)
    assert len({t.name for t in trials}) == 12


def test_draws_follow_their_laws_and_stay_when_there_are_more():
    laws = {
        "u": {"uniform": [-1, 3]},
        "l": {"log_uniform": [1e-4, 1e2]},
        "i": {"integers": [2, 4]},
        "c": {"choice": ["p", "q"]},
    }
    many = [t.settings for t in expand({}, random=laws, samples=500)]
    few = [t.settings for t in expand({}, random=laws, samples=20)]
    assert few == many[:20]
    assert many != [t.settings for t in expand({}, random=laws, samples=500, draw_seed=1)]
    uniform = np.asarray([s["u"] for s in many])
    assert uniform.min() >= -1
    assert uniform.max() <= 3
    assert abs(uniform.mean() - 1) < 5 * 4 / math.sqrt(12 * 500)
    logs = np.log10([s["l"] for s in many])
    assert abs(logs.mean() + 1) < 5 * 6 / math.sqrt(12 * 500)
    assert {s["i"] for s in many} == {2, 3, 4}
    assert {s["c"] for s in many} == {"p", "q"}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"grid": {"a": [1]}, "options": {"a": 2}}, "a is given more than once"),
        ({"grid": {"a": 3}}, "list of values"),
        ({"grid": {"a": "xy"}}, "list of values"),
        ({"grid": {"a": []}}, "list of values"),
        ({"seeds": []}, "no seeds"),
        ({"random": {"a": {"gauss": [0, 1]}}}, "one of uniform"),
        ({"random": {"a": [0, 1]}}, "one of uniform"),
        ({"random": {"a": {"uniform": [1, 0]}}}, "low, high"),
        ({"random": {"a": {"uniform": [0]}}}, "low, high"),
        ({"random": {"a": {"integers": [0, 1.5]}}}, "low, high"),
        ({"random": {"a": {"log_uniform": [0, 1]}}}, "low > 0"),
        ({"random": {"a": {"uniform": [0, 1]}}, "samples": 0}, "samples"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_swept_is_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        expand(arguments.pop("options", {}), **arguments)


# Tables -------------------------------------------------------------------------------------


def outcome(seed, error, num_params, *, power=0.5, state="finished", status=Status.TARGET_REACHED):
    structure = Structure.tensor_train((3, 3), (2,))
    steps = [Step(MoveRecord("start"), structure, 12, 0.5, 0.1, 0.0, 0)]
    steps.append(Step(MoveRecord("grow", (0, 1), 1), structure, num_params, error, 0.2, 0.1, 1))
    trial = Trial({"power": power, "input": "x.npy"}, seed)
    return Outcome(trial, state, "", tuple(steps), status, error, num_params, 2.0, 1.0 + seed, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_pareto_set_is_what_nothing_dominates(seed):
    rng = np.random.default_rng(seed)
    outcomes = [
        outcome(n, float(rng.integers(1, 6)) / 10, int(rng.integers(1, 6))) for n in range(30)
    ]
    outcomes.append(Outcome(Trial({"power": 1}, 0), "failed", "no"))
    points = [(o.num_params, o.error) for o in outcomes[:-1]]
    best = {p for p in points if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)}
    front = pareto(outcomes)
    assert [(o.num_params, o.error) for o in front] == sorted(best)
    flagged = [row["trial"] for row in trial_rows(outcomes) if row["pareto"]]
    assert sorted(flagged) == sorted(o.trial.name for o in front)


def test_means_and_standard_errors():
    values = [0.1, 0.5, 0.3, 0.7]
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(statistics.mean(values))
    assert error == pytest.approx(statistics.stdev(values) / 2)
    assert mean_and_error([3.0]) == (3.0, None)


def test_settings_are_summarized_over_what_finished():
    outcomes = [outcome(n, 0.1 * (n + 1), 10 * n + 10, power=0.0) for n in range(3)]
    outcomes += [outcome(0, 0.4, 44, power=1.0, status=Status.MAX_PARAMS)]
    outcomes += [outcome(1, 9.0, 999, power=1.0, state="stopped early")]
    first, second = summary_rows(outcomes)
    assert (first["power"], first["trials"], first["finished"], first["target_reached"]) == (
        0,
        3,
        3,
        3,
    )
    assert first["error"] == pytest.approx(0.2)
    assert first["error_standard_error"] == pytest.approx(0.1 / math.sqrt(3))
    assert first["num_params"] == 20
    assert (second["trials"], second["finished"], second["target_reached"]) == (2, 1, 0)
    assert (second["error"], second["error_standard_error"]) == (0.4, None)
    assert "input" not in first  # the same for all


def test_both_kinds_of_table_hold_every_path(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    outcomes = [outcome(n, 0.1, 20, power=[0, 0.5, "auto"][n]) for n in range(3)]
    write_tables(tmp_path, outcomes)
    found = parquet.read_table(tmp_path / "path.parquet").to_pylist()
    rows = path_rows(outcomes)
    assert len(rows) == len(found) == 6
    for row, one in zip(rows, found, strict=True):
        assert str(row["power"]) == one["power"]
        assert {k: row[k] for k in ("trial", "seed", "step", "move", "error", "num_params")} == {
            k: one[k] for k in ("trial", "seed", "step", "move", "error", "num_params")
        }
    with open(tmp_path / "path.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["error"]) for line in lines] == [row["error"] for row in rows]
    assert "programs" not in lines[0]


def test_a_sweep_of_nothing_but_failures_has_tables_and_a_page(tmp_path):
    outcomes = [Outcome(Trial({"a": n}, 0), "failed", "<no>") for n in range(2)]
    write_tables(tmp_path, outcomes)
    page = sweep_page("A & B", outcomes, {"x": 1})
    assert "&lt;no&gt;" in page
    assert "A &amp; B" in page
    for text in ("http:", "https:", "src="):
        assert text not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_page_shows_each_mean_with_its_error():
    outcomes = [outcome(n, 0.1 * (n + 1), 10 * n + 10, power=0.0) for n in range(3)]
    outcomes += [outcome(0, 0.4, 44, power=1.0)]
    page = sweep_page("Sweep", outcomes)
    assert f"<td>0.2 ± {0.1 / math.sqrt(3):.2g}</td>" in page
    assert f"<td>20 ± {10 / math.sqrt(3):.2g}</td>" in page
    assert "<td>0.4</td>" in page  # of one seed there is no error
    assert "standard error</th>" not in page


def test_a_terminal_shows_who_runs_and_who_has_ended():
    trials = [Trial({"a": n}, n) for n in range(4)]
    states = ["finished", "running", "retried", "waiting"]
    known = {
        t.name: Progress(t, state, 3 + n, 0.125, 1000 + n, int(state == "retried"))
        for n, (t, state) in enumerate(zip(trials, states, strict=True))
    }
    screen = io.StringIO()
    board = Board(Console(file=screen, force_terminal=True, width=100))
    board.known = known
    board.status("4 trials: 1 finished")
    board.close()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "4 trials: 1 finished" in plain
    for n, (trial, state) in enumerate(zip(trials, states, strict=True)):
        row = rf"{trial.name} . {state} .* {3 + n} .* 1,00{n} .* 0.125 "
        assert bool(re.search(row, plain)) == (state != "waiting")


def test_lines_count_the_trials_of_a_sweep(monkeypatch, capsys):
    trial = Trial({"a": 1}, 0)
    monkeypatch.setattr(_progress, "_FIRST", 0.0)
    with live_table() as (_, tell):
        tell({"a": Progress(trial, "finished", 3, 0.125), "b": Progress(trial, "running", 4, 0.25)})
    said = capsys.readouterr().err
    assert "2 trials: 1 finished, 1 running; 7 moves, lowest error 0.125" in said
    assert "\x1b" not in said


# Records ------------------------------------------------------------------------------------


def test_a_trial_is_on_record_only_with_the_same_data(tmp_path):
    trial = Trial({"a": 1}, 0, "x.npy of 5 bytes")
    assert read_outcome(tmp_path, trial) is None
    write_state(trial_folder(tmp_path, trial), trial, "failed", "why")
    found = read_outcome(tmp_path, trial)
    assert found is not None
    assert (found.state, found.message) == ("failed", "why")
    with pytest.raises(ValueError, match=r"other data.*5 bytes.*now x.npy of 6"):
        read_outcome(tmp_path, Trial({"a": 1}, 0, "x.npy of 6 bytes"))
    file = trial_folder(tmp_path, trial) / "trial.json"
    file.write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        read_outcome(tmp_path, trial)


@pytest.mark.usefixtures("unchecked")
def test_options_of_a_sweep_are_checked():
    for make in (
        lambda: Resources(cpus=0),
        lambda: Resources(gpus=-1),
        lambda: Resources(cpus=math.nan),
        lambda: Cluster(workers=0),
        lambda: EarlyStopping(grace=0),
        lambda: EarlyStopping(grace=1.5),
        lambda: EarlyStopping(factor=1),
        lambda: Cluster(retries=-1),
        lambda: run_sweep([], print, "nowhere", vmap_seeds=True, early_stopping=EarlyStopping()),
    ):
        with pytest.raises(ValueError, match="sweep:"):
            make()


def test_retries_are_a_field_of_the_cluster_now():
    with (
        pytest.warns(DeprecationWarning, match=r"write Cluster\(retries=\.\.\.\)"),
        pytest.raises(ValueError, match="retries must be 0 or more"),
    ):
        run_sweep([], print, "nowhere", retries=-1)


# Bad files ----------------------------------------------------------------------------------

GOOD = {"command": "decompose", "options": {"input": "x.npy", "target_error": "1e-3"}}
BAD = {
    "unknown key": ({"gird": {}}, "unknown key 'gird'.*'grid'"),
    "unknown command": ({"command": "compress"}, "decompose or complete"),
    "no command": ({"command": None}, "decompose or complete"),
    "unknown option": ({"grid": {"max_ranks": [1]}}, "no option 'max_ranks'.*'max_rank'"),
    "an option of the other command": ({"grid": {"loss": ["huber"]}}, "no option 'loss'"),
    "what the sweep decides on": ({"grid": {"out": ["a"]}}, "no option 'out'"),
    "a seed as an option": ({"grid": {"seed": [1, 2]}}, "no option 'seed'"),
    "text for a number": ({"grid": {"power": ["high"]}}, "power.*number.*'high'"),
    "half a rank": ({"grid": {"max_rank": [1.5]}}, "max_rank.*whole number"),
    "a number for a flag": ({"grid": {"prune": [1]}}, "prune.*true or false"),
    "unknown choice": ({"grid": {"dtype": ["float16"]}}, "dtype.*float64, float32"),
    "null": ({"grid": {"strategy": [None]}}, "strategy"),
    "no input": ({"options": {"target_error": 0.1}}, "input"),
    "missing input": ({"options": {"input": "y.npy", "target_error": 0.1}}, "y.npy"),
    "no target": ({"options": {"input": "x.npy"}}, "target-error"),
    "bad target": ({"options": {"input": "x.npy", "target_error": -1}}, "target-error"),
    "unknown strategy": ({"grid": {"strategy": ["annealing"]}}, "annealing"),
    "grid without a list": ({"grid": {"power": 1}}, "list of values"),
    "grid of nothing": ({"grid": [1]}, "grid must hold"),
    "law": ({"random": {"power": {"gauss": [0, 1]}}}, "uniform"),
    "seeds": ({"seeds": "many"}, "seeds"),
    "no seeds": ({"seeds": 0}, "seeds"),
    "cores": ({"cpus": 0}, "cpus"),
    "devices": ({"gpus": "all"}, "gpus"),
    "retries": ({"retries": -1}, "retries"),
    "early stopping": ({"early_stopping": {"patience": 3}}, "patience.*grace"),
    "grace": ({"early_stopping": {"grace": 0}}, "grace"),
    "a date": ({"options": {"input": dt.date(2020, 1, 1)}}, "input"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", BAD)
def test_bad_sweep_files_end_in_one_line(tmp_path, monkeypatch, name):
    changes, word = BAD[name]
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((3, 3)))
    Path("s.yaml").write_text(yaml.safe_dump({**GOOD, **changes}), encoding="utf-8")
    err = check_refusal(tmp_path, "sweep", "s.yaml", "--out", "out")
    assert re.search(word, err), err


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"early_stopping": {"grace": 3}}, "with early_stopping"),
        ({"gpus": 2}, "with gpus: 2"),
        ({"grid": {"devices": [1, 2]}}, "with devices"),
        ({"grid": {"mesh": ["candidates=2"]}}, "with mesh"),
    ],
)
def test_what_seeds_on_one_device_cannot_have_is_refused(tmp_path, monkeypatch, changes, word):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((3, 3)))
    Path("s.yaml").write_text(yaml.safe_dump({**GOOD, **changes}), encoding="utf-8")
    err = check_refusal(tmp_path, "sweep", "s.yaml", "--out", "out", "--vmap-seeds")
    assert re.search(rf"s\.yaml: --vmap-seeds .*{word}", err), err


@pytest.mark.parametrize("text", ["[1]", "", "a: [", "\x00"])
def test_what_is_no_sweep_file_is_refused(tmp_path, text):
    (tmp_path / "s.yaml").write_text(text)
    assert "s.yaml" in check_refusal(
        tmp_path, "sweep", tmp_path / "s.yaml", "--out", tmp_path / "o"
    )


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    np.save("x.npy", np.ones((3, 3)))
    Path("s.yaml").write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    assert install_hint("ray") in check_refusal(tmp_path, "sweep", "s.yaml", "--out", "out")


def test_a_cluster_that_does_not_answer_is_named(tmp_path, monkeypatch):
    pytest.importorskip("ray.tune")
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((3, 3)))
    Path("s.yaml").write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = ("s.yaml", "--out", "out", "--address", address)
        assert f"answers at {address}" in check_refusal(tmp_path, "sweep", *options)


def test_two_sweeps_do_not_share_a_folder(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another sweep"):
            run_sweep(expand({"a": 1}), CommandTask("decompose"), tmp_path)
    finally:
        os.close(handle)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_sweep_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("precious")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    options = (tmp_path / "s.yaml", "--out", tmp_path / "out")
    assert "holds no sweep" in check_refusal(tmp_path, "sweep", *options)


EXAMPLES = sorted((Path(__file__).parents[2] / "configs" / "sweep").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_every_setting_of_an_example_runs_as_it_is(tmp_path, monkeypatch, file):
    """From the folder of the source, as its first line says; two moves and one seed of each."""
    from tnjax.cli._sweep_file import read_sweep_file

    monkeypatch.chdir(file.parent.parent.parent)
    sweep = read_sweep_file(file)
    first = {json.dumps(dict(trial.settings)): trial for trial in reversed(sweep.trials)}
    for n, trial in enumerate(first.values()):
        small = {**trial.settings, "max_steps": 2, "cache": "none"}
        few = dataclasses.replace(trial, settings=small)
        never = Watch(lambda step: None, lambda: False)
        CommandTask(sweep.command)(few, tmp_path / str(n), False, never)
        assert (tmp_path / str(n) / "network.safetensors").is_file()


# On Ray -------------------------------------------------------------------------------------


def kill_a_worker(process, ready) -> None:
    """With SIGKILL, once `ready()` says so."""
    killed = None
    deadline = time.monotonic() + 200
    while killed is None and process.poll() is None and time.monotonic() < deadline:
        if ready():
            workers = [p for p, line in children(process.pid).items() if "Trainable" in line]
            if workers:
                killed = workers[0]
                os.kill(killed, signal.SIGKILL)
        time.sleep(0.01)
    assert killed is not None


def children(pid: int) -> dict[int, str]:
    """All descendants of a process, with their command lines."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rsplit(")")[-1].split()[1]
                )
            except OSError:
                continue
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found, grown = found | more, bool(more)
    lines = {}
    for child in found - {pid}:
        try:
            lines[child] = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
    return lines


def start(folder, *arguments):
    command = [sys.executable, "-m", "tnjax.cli", "sweep", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    env = {**os.environ, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    return subprocess.Popen(command, cwd=folder, env=env, **pipes)


def ended(process, seconds=300):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, without_progress(err)


def rows_of(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return [{k: v for k, v in line.items() if "seconds" not in k} for line in lines]


@pytest.mark.parametrize("saved", [True, False])
def test_a_trial_goes_on_from_its_checkpoints(tmp_path, monkeypatch, saved):
    pytest.importorskip("ray.tune")
    from tnjax.sweep._trainable import Place, TrialRun

    monkeypatch.setenv("NPROC", "1")
    monkeypatch.chdir(tmp_path)
    trial = Trial({"a": 1}, 0)
    own = trial_folder(tmp_path, trial)
    (own / "checkpoints").mkdir(parents=True)
    (own / ".partial-1").mkdir()  # of a worker that was killed while it wrote
    (own / "path.csv").write_text("old")
    if saved:
        (own / "checkpoints" / "checkpoint-000007.safetensors").write_bytes(b"")
    seen = []

    def task(trial, folder, resume, watch):
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else None
        seen.append((trial.seed, resume, names))
        for error in (0.5, 0.25):
            watch.on_step(outcome(0, error, 30).path[-1])

    place = Place(str(tmp_path), threads=1, share=0.0)
    run = TrialRun.__new__(TrialRun)  # as Tune makes it, without a cluster
    options = {"trials": [trial], "task": task, "folder": str(tmp_path)}
    run.setup({"unit": 0}, units=[(0,)], **options, place=place, wait=True)
    assert seen == []  # nothing before the first step
    results = [run.step() for _ in range(3)]
    assert seen == [(0, saved, ["checkpoints", "path.csv"] if saved else None)]
    first = 7 if saved else 0
    assert [r["moves"] for r in results] == [first + 1, first + 2, first + 2]
    assert [r["told"][0]["error"] for r in results] == [0.5, 0.25, 0.25]
    assert [r["done"] for r in results] == [False, False, True]
    found = read_outcome(tmp_path, trial)
    assert found is not None
    assert found.state == "finished"
    run.cleanup()


def test_of_trials_that_share_a_worker_only_those_that_have_not_ended_are_run(
    tmp_path, monkeypatch
):
    pytest.importorskip("ray.tune")
    from tnjax.sweep._trainable import Place, TrialRun

    monkeypatch.setenv("NPROC", "1")
    monkeypatch.chdir(tmp_path)
    trials = [Trial({"a": 1}, seed) for seed in range(3)]
    write_state(trial_folder(tmp_path, trials[1]), trials[1], "finished")
    ran = []

    def task(trial, folder, resume, watch):
        ran.append(trial.seed)
        watch.on_step(outcome(0, 0.5, 30).path[-1])
        if trial.seed == 2:
            raise ValueError("no\nmore")

    run, place = TrialRun.__new__(TrialRun), Place(str(tmp_path), threads=1, share=0.0)
    options = {"trials": trials, "task": task, "folder": str(tmp_path)}
    run.setup({"unit": 0}, units=[(0, 1, 2)], **options, place=place, wait=False)
    result = run.step()
    while not result["done"]:
        result = run.step()
    assert ran == [0, 2]
    assert [(r["number"], r["moves"], r["ended"]) for r in result["told"]] == [
        (0, 1, True),
        (2, 1, True),
    ]
    states = [read_outcome(tmp_path, trial) for trial in trials]
    assert [(o.state, o.message) for o in states if o is not None] == [
        ("finished", ""),
        ("finished", ""),
        ("failed", "no more"),
    ]
    run.cleanup()


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")


@pytest.mark.slow
@needs_proc
def test_a_sweep_survives_a_killed_worker_and_runs_nothing_twice(tmp_path):
    pytest.importorskip("ray.tune")
    rng = np.random.default_rng(0)
    shapes = ((5, 2), (2, 5, 3), (3, 5, 2), (2, 5))
    cores = [rng.standard_normal(shape) for shape in shapes]
    np.save(tmp_path / "x.npy", np.einsum("ia,ajb,bkc,cl->ijkl", *cores))
    sweep = {
        "command": "decompose",
        "options": {"input": "x.npy", "target_error": "1e-3", "cache": "none"},
        "grid": {"power": [0, 0.5, 1], "increment": [1, 2]},
        "seeds": 4,
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(sweep), encoding="utf-8")
    status, out, err = ended(start(tmp_path, "s.yaml", "--out", "calm", "--workers", 2))
    assert (status, err) == (0, "")
    assert out.startswith("24 trials: 24 finished; see ")
    calm = rows_of(tmp_path / "calm" / "path.csv")
    trials = rows_of(tmp_path / "calm" / "trials.csv")
    assert len({row["trial"] for row in calm}) == len(trials) == 24
    assert all(float(row["error"]) <= 1e-3 and row["state"] == "finished" for row in trials)
    assert min(int(row["num_params"]) for row in trials) == 80
    assert len(rows_of(tmp_path / "calm" / "summary.csv")) == 6
    page = (tmp_path / "calm" / "report.html").read_text(encoding="utf-8")
    assert "Pareto set" in page

    wild = tmp_path / "wild"
    process = start(tmp_path, "s.yaml", "--out", "wild", "--workers", 2)

    def in_the_middle():
        done = list(wild.glob("trials/*/trial.json"))
        under_way = [
            file.parent.parent
            for file in wild.glob("trials/*/checkpoints/checkpoint-000002.safetensors")
            if not (file.parent.parent / "trial.json").exists()
        ]
        return len(done) >= 4 and under_way

    kill_a_worker(process, in_the_middle)
    status, out, err = ended(process)
    assert status == 0, out + err
    assert "Traceback" not in err
    assert out.startswith("24 trials: 24 finished, 1 worker lost; see ")
    assert rows_of(wild / "path.csv") == calm
    assert rows_of(wild / "trials.csv") == trials
    assert rows_of(wild / "summary.csv") == rows_of(tmp_path / "calm" / "summary.csv")

    before = {p: p.stat().st_mtime_ns for p in (wild / "trials").rglob("*") if p.is_file()}
    status, out, err = ended(start(tmp_path, "s.yaml", "--out", "wild"))
    assert (status, err) == (0, "")
    assert out.startswith("24 trials: 24 finished (24 had ended before); see ")
    assert before == {p: p.stat().st_mtime_ns for p in (wild / "trials").rglob("*") if p.is_file()}
    assert rows_of(wild / "path.csv") == calm
    # Nothing is left of Ray, and nobody's home was written to.
    assert list((tmp_path / "tmp").iterdir()) == []
    assert [p.name for p in (tmp_path / "home").rglob("*") if "ray" in p.name] == []
    assert not list(wild.glob(".*"))


@pytest.mark.slow
@needs_proc
def test_seeds_that_share_a_worker_survive_its_death_and_take_the_moves_they_take_alone(tmp_path):
    pytest.importorskip("ray.tune")
    rng = np.random.default_rng(1)
    shapes = ((5, 2), (2, 5, 3), (3, 5, 2), (2, 5))
    cores = [rng.standard_normal(shape) for shape in shapes]
    tensor = np.einsum("ia,ajb,bkc,cl->ijkl", *cores)
    tensor[rng.random(tensor.shape) < 0.4] = np.nan
    np.save(tmp_path / "x.npy", tensor)
    sweep = {
        "command": "complete",
        "options": {"input": "x.npy", "target_error": "1e-3", "max_steps": 4, "cache": "none"},
        "grid": {"prune": [False]},
        "seeds": 3,
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(sweep), encoding="utf-8")
    status, out, err = ended(start(tmp_path, "s.yaml", "--out", "alone", "--workers", 1))
    assert (status, err) == (0, "")
    alone = rows_of(tmp_path / "alone" / "path.csv")

    process = start(tmp_path, "s.yaml", "--out", "wild", "--workers", 1, "--vmap-seeds")
    wild = tmp_path / "wild"
    second = "trials/*/checkpoints/checkpoint-000002.safetensors"
    kill_a_worker(process, lambda: list(wild.glob(second)))
    status, out, err = ended(process)
    assert status == 0, out + err
    assert out.startswith("3 trials: 3 finished, 1 worker lost; see ")
    both = list(zip(alone, rows_of(wild / "path.csv"), strict=True))
    assert {row["trial"] for row, _ in both} == {row["trial"] for _, row in both}
    for one, other in both:
        assert float(one["error"]) == pytest.approx(float(other["error"]), rel=1e-8, abs=1e-8)
        assert {**one, "error": None} == {**other, "error": None}
    before = {p: p.stat().st_mtime_ns for p in (wild / "trials").rglob("*") if p.is_file()}
    status, out, err = ended(start(tmp_path, "s.yaml", "--out", "wild", "--vmap-seeds"))
    assert (status, err) == (0, "")
    assert out.startswith("3 trials: 3 finished (3 had ended before); see ")
    assert before == {p: p.stat().st_mtime_ns for p in (wild / "trials").rglob("*") if p.is_file()}


# Searches in name only, whose errors are known: what early stopping, failures and an interruption
# do to them, and where Ray listens meanwhile.
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from tnjax import MoveRecord, Structure
from tnjax.cli import _progress
from tnjax.cli._board import Board, live_table
from tnjax.cli._trials import CommandTask
from tnjax._search.result import Step
from tnjax.sweep import Cluster, EarlyStopping, expand, run_sweep

STRUCTURE = Structure.tensor_train((3, 3), (2,))


def task(trial, folder, resume, watch):
    if trial.settings["level"] < -5:
        os.kill(os.getpid(), signal.SIGKILL)
    if trial.settings["level"] < 0:
        raise ValueError("a negative\\nlevel")
    folder.mkdir(exist_ok=True)
    (folder / "resumed").write_text(str(resume))
    status = "target_reached"
    for move in range(12):
        time.sleep(0.05)
        error = trial.settings["level"] / (move + 1)
        watch.on_step(Step(MoveRecord("grow", (0, 1), 1), STRUCTURE, 12, error, 0.1, 0.0, 0))
        if watch.stop():
            status = "interrupted"
            break
    (folder / "result.json").write_text(json.dumps({
        "format": "tnjax.result", "version": 1, "status": status, "error": error,
        "num_params": 12, "compression_ratio": 1.0, "seconds": 1.0, "compile_seconds": 0.0,
        "path": [],
    }))


def told(known):
    Path("known.json").write_text(json.dumps({n: [p.state, p.moves] for n, p in known.items()}))


levels = [float(word) for word in sys.argv[3:]]
outcomes = run_sweep(
    expand({}, grid={"level": levels}), task, sys.argv[2],
    cluster=Cluster(workers=1 if sys.argv[1] == "early" else 2, retries=1),
    early_stopping=EarlyStopping(grace=2, factor=2) if sys.argv[1] == "early" else None,
    on_progress=told,
)
print(json.dumps([[o.trial.settings["level"], o.state, o.message, o.error] for o in outcomes]))
"""


def run_script(folder, *arguments):
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "script.py", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=env, **pipes)


def listening(pids) -> set[str]:
    """The addresses, in the hexadecimal of /proc, where processes listen on TCP."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                found.add(words[1].split(":")[0])
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.slow
@needs_proc
def test_early_stopping_failures_interruption_and_where_ray_listens(tmp_path):
    pytest.importorskip("ray.tune")
    process = run_script(tmp_path, "all", "out", 1, 2, -3, 4)
    addresses, known = set(), {}
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if (tmp_path / "known.json").exists():
            try:
                known = json.loads((tmp_path / "known.json").read_text())
            except ValueError:
                continue
        if any(state == "running" and moves for state, moves in known.values()):
            addresses = listening([process.pid, *children(process.pid)])
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(0.02)
    out, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    assert addresses
    assert addresses <= LOOPBACK
    for file in (tmp_path / "out" / "trials").glob("*/trial.json"):
        assert json.loads(file.read_text())["state"] == "failed"

    out, err = run_script(tmp_path, "all", "out", 1, 2, -3, 4, -9).communicate(timeout=200)
    assert json.loads(out.splitlines()[-1]) == [
        [1, "finished", "", 1 / 12],
        [2, "finished", "", 2 / 12],
        [-3, "failed", "a negative level", None],
        [4, "finished", "", 4 / 12],
        [-9, "failed", "its worker died 2 times", None],
    ], err

    # One after the other: who is worse than those before, at the second move, is stopped there.
    process = run_script(tmp_path, "early", "early", 1, 16, 17, 18, 0.5)
    out, err = process.communicate(timeout=200)
    assert [
        (level, state, error) for level, state, _, error in json.loads(out.splitlines()[-1])
    ] == [
        (1, "finished", 1 / 12),
        (16, "stopped early", 8),
        (17, "stopped early", 17 / 2),
        (18, "stopped early", 9),
        (0.5, "finished", 0.5 / 12),
    ], err


@pytest.mark.slow
@needs_proc
def test_hydra_multirun_is_a_sweep(tmp_path):
    pytest.importorskip("ray.tune")
    pytest.importorskip("hydra")
    script = Path(__file__).parents[2] / "experiments" / "search.py"
    command = [sys.executable, str(script), "-m", "structure=small", "search=tt,svd"]
    command += ["seed=0,1", "output=out", "hydra.launcher.workers=2"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for ran in (True, False):
        before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("out/trials/*/*")}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "4 trials, 4 finished" in done.stdout
        rows = rows_of(tmp_path / "out" / "trials.csv")
        assert [(row["search"], row["seed"]) for row in rows] == [
            *(("tt", "0"), ("tt", "1"), ("svd", "0"), ("svd", "1"))
        ]
        assert all(float(row["error"]) <= 1e-3 for row in rows)
        after = {p: p.stat().st_mtime_ns for p in tmp_path.glob("out/trials/*/*")}
        assert ran or before == after
    assert (tmp_path / "out" / "report.html").exists()
