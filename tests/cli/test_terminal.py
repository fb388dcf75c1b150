"""The command line under a pseudo-terminal: what is seen, and what Ctrl-C does. And that nothing of
what is shown can lose a result."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import tnjax
from tests.cli.test_cli_compress import FACTORY
from tests.cli_helpers import run
from tests.terminal import CTRL_C, run_in_terminal
from tnjax import MoveRecord, Step, _script
from tnjax._report import run as _run
from tnjax.cli import _progress
from tnjax.cli._progress import Display, Lines
from tnjax.cli._reading import ToldSamples, ToldTensor


def noisy_cp(dims=(8, 7, 6), rank=2, seed=0) -> np.ndarray:
    """A sum of `rank` terms with 2 % of noise, on which the search splits nodes and merges them."""
    rng = np.random.default_rng(seed)
    factors = [rng.standard_normal((n, rank)) for n in dims]
    x = np.einsum("ir,jr,kr->ijk", *factors)
    noise = rng.standard_normal(dims)
    return x / np.linalg.norm(x) + 0.02 * noise / np.linalg.norm(noise)


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "x.npy", noisy_cp())
    np.save(tmp_path / "bad.npy", np.full((3, 3), np.inf))
    (tmp_path / "some_models.py").write_text(FACTORY, encoding="utf-8")
    return tmp_path


def result_of(folder) -> dict:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def check_width(session, columns) -> None:
    for line in session.drawn.split("\n"):
        if "; see " not in line:  # the result, which is for other programs as well
            assert len(line.rstrip()) <= columns, line


# Every subcommand, at two widths --------------------------------------------------------------

# The narrower one with the newest and the oldest versions too.
WIDTHS = pytest.mark.parametrize("columns", [pytest.param(80, marks=pytest.mark.quick), 200])


@WIDTHS
def test_a_search_that_merges_nodes_is_shown_to_its_end(files, columns):
    words = ["decompose", "x.npy", "--target-error", "0.03", "--out", "run", "--cache", "none"]
    done = run_in_terminal(words, columns, folder=files)
    assert done.status == 0, done.text
    record = result_of(files / "run")
    kinds = [step["move"]["kind"] for step in record["path"]]
    assert "merge" in kinds
    assert f"{record['num_params']} parameters" in done.text.splitlines()[-1]
    assert "target met with" in done.text
    assert "growing a smaller network; Ctrl-C keeps what is there" in done.text.replace("\n", " ")
    for kind in kinds:
        assert kind in done.text
    check_width(done, columns)
    assert "loading JAX" in done.drawn
    assert "loading JAX" not in done.text
    for command in ("show", "report"):
        seen = run_in_terminal([command, "run"], columns, folder=files)
        assert seen.status == 0, seen.text
        assert ("target_reached" if command == "show" else "run/report.html") in seen.text


@WIDTHS
def test_a_completion_is_shown(files, columns):
    words = ["complete", "x.npy", "--observed", "0.7", "--max-params", "60", "--out", "run"]
    done = run_in_terminal([*words, "--max-steps", "2", "--cache", "none"], columns, folder=files)
    assert done.status in (0, 1), done.text
    assert "held-out error" in done.drawn
    assert result_of(files / "run")["num_params"] <= 60
    check_width(done, columns)


@WIDTHS
def test_a_compression_with_a_task_is_shown(files, columns):
    words = ["compress", "some_models:model", "--layers", "layers.*", "--budget", "0.7"]
    words += ["--task", "some_models:task", "--steps", "1", "--final-steps", "1"]
    words += ["--batch-sizes", "1", "--out", "run"]
    done = run_in_terminal(words, columns, folder=files)
    assert done.status == 0, done.text
    steps = result_of(files / "run")["path"]
    assert len(steps) > 1
    for step in steps:
        assert f"{step['num_params']}" in done.text
    assert "training batches so far" in done.drawn
    assert result_of(files / "run")["layers"][0]["costs"]
    check_width(done, columns)


@pytest.mark.quick
def test_a_sweep_is_shown(files):
    pytest.importorskip("ray")
    text = "command: decompose\noptions: {input: x.npy, max_params: 30, max_steps: 1}\nseeds: 2\n"
    (files / "sweep.yaml").write_text(text, encoding="utf-8")
    done = run_in_terminal(["sweep", "sweep.yaml", "--out", "sweep"], 80, folder=files)
    assert "RLock" not in done.text
    assert "2 trials: 2 finished; see sweep/report.html" in done.text
    assert "parameters" in done.drawn
    assert len(list((files / "sweep" / "trials").glob("*/result.json"))) == 2


# Ends ------------------------------------------------------------------------------------------


@pytest.mark.quick
@pytest.mark.parametrize(("command", "columns"), [("decompose", 80), ("complete", 200)])
def test_what_fails_ends_in_one_line(files, command, columns):
    words = [command, "bad.npy", "--target-error", "0.03", "--out", "run"]
    done = run_in_terminal(words, columns, folder=files)
    assert done.status == 2
    (line,) = done.text.strip().splitlines()
    assert line.startswith("tnjax: error: bad.npy: ")
    assert not (files / "run").exists()


# A step whose computation does not let itself be interrupted.
BUSY = """
import os; os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np, tnjax
before = tnjax.Greedy.step
def step(self, *args):
    print("step begins", flush=True)
    np.linalg.svd(np.random.default_rng(0).standard_normal((SIZE, SIZE)))
    print("step ends", flush=True)
    return before(self, *args)
tnjax.Greedy.step = step
"""


@pytest.mark.quick
def test_ctrl_c_is_answered_while_a_step_computes_and_the_step_is_kept(files):
    words = ["decompose", "x.npy", "--target-error", "0.001", "--no-infer", "--out", "run"]
    keys = [("step begins", CTRL_C)]
    words += ["--cache", "none"]
    done = run_in_terminal(words, 80, folder=files, keys=keys, before=BUSY.replace("SIZE", "700"))
    assert done.status == 130, done.text
    answer = "stopping after this step; Ctrl-C again stops at once ..."
    assert done.drawn.index(answer) < done.drawn.index("step ends")
    record = result_of(files / "run")
    assert record["status"] == "interrupted"
    assert record["path"]
    assert (files / "run" / "network.safetensors").exists()
    check_width(done, 80)


def test_ctrl_c_again_stops_at_once(files):
    words = ["decompose", "x.npy", "--target-error", "0.001", "--no-infer", "--out", "run"]
    keys = [("step begins", CTRL_C), ("stopping after this step", CTRL_C)]
    busy = BUSY.replace("SIZE", "3000")  # a minute, which nobody waits for
    done = run_in_terminal(words, 200, folder=files, keys=keys, before=busy)
    assert done.status == 130, done.text
    assert "stopping at once" in done.text
    assert "step ends" not in done.drawn
    assert list((files / "run" / "checkpoints").glob("*.safetensors"))


def test_ctrl_c_ends_a_compression_in_one_line(files):
    words = ["compress", "some_models:model", "--layers", "layers.*", "--budget", "0.7"]
    words += ["--task", "some_models:task", "--steps", "100000", "--out", "run"]
    done = run_in_terminal(words, folder=files, keys=[("batches so far", CTRL_C)])
    assert done.status == 130, done.text
    assert done.text.strip().endswith("tnjax: interrupted.")
    assert "Traceback" not in done.text
    assert not (files / "run").exists()


# Nothing shown can lose a result ---------------------------------------------------------------


def fail(*args, **kwargs):
    raise RuntimeError("on purpose")


def test_a_result_survives_a_terminal_that_fails(files):
    words = ["decompose", "x.npy", "--max-params", "40", "--out", "run", "--cache", "none"]
    before = (
        "import tnjax.cli._progress as p\n"
        "def fail(*args): raise RuntimeError('on purpose')\n"
        "p.Table.row = fail"
    )
    done = run_in_terminal(words, folder=files, before=before)
    assert done.status == 0, done.text
    assert done.text.count("progress can no longer be shown (RuntimeError: on purpose)") == 1
    assert result_of(files / "run")["num_params"] <= 40
    assert (files / "run" / "report.html").exists()


@pytest.mark.parametrize("how", ["status", "line", "title", "row"])
def test_a_result_survives_lines_that_fail(files, monkeypatch, how):
    monkeypatch.setattr(Lines, how, fail)
    out = files / "run"
    status, said, err = run("decompose", files / "x.npy", "--target-error", "0.3", "--out", out)
    assert status == 0
    assert err.count("progress can no longer be shown (RuntimeError: on purpose)") == 1
    assert err.rstrip().endswith("on purpose)")  # nothing after it
    assert f"{result_of(out)['num_params']} parameters" in said


def test_a_result_survives_a_report_that_fails(files, monkeypatch):
    monkeypatch.setattr(_run, "rebuild_report", fail)
    out = files / "run"
    status, said, err = run("decompose", files / "x.npy", "--target-error", "0.3", "--out", out)
    assert status == 0
    assert "report.html could not be made (RuntimeError: on purpose); the result is whole" in err
    assert str(out) in said
    assert {"network.safetensors", "result.json", "path.csv", "config.yaml"} <= {
        path.name for path in out.iterdir()
    }


PROBLEM = noisy_cp()


def searched(**options):
    return tnjax.search(
        tnjax.Decomposition(PROBLEM), key=jax.random.key(0), target_error=0.3, **options
    )


def test_a_logger_that_fails_is_one_warning_and_the_others_go_on(tmp_path):
    seen = []

    def broken(step):
        seen.append("broken")
        raise RuntimeError("on purpose")

    whole = searched()
    assert len(whole.path) > 2
    with pytest.warns(UserWarning, match="broken failed .*on purpose") as said:
        result = searched(on_step=tnjax.log.Several(broken, lambda step: seen.append(step.error)))
    assert len(said) == 1
    assert seen[0] == "broken"
    assert seen[1:] == pytest.approx([step.error for step in whole.path])
    assert result.num_params == whole.num_params
    with pytest.warns(UserWarning, match="JSONLines failed") as said:
        result = searched(on_step=tnjax.log.JSONLines(tmp_path))  # a folder
    assert len(said) == 1
    assert result.error == pytest.approx(whole.error)


def test_what_a_users_own_callback_raises_is_his():
    with pytest.raises(RuntimeError, match="on purpose"):
        searched(on_step=fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        searched(setup=tnjax.Setup(on_progress=fail))


# What a search tells ---------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False])
def test_progress_is_in_the_units_of_the_user(compress):
    told, steps = [], []
    target = 0.03
    rng = np.random.default_rng(1)
    wide = np.einsum("ijk,ia->ajk", PROBLEM, np.linalg.qr(rng.standard_normal((30, 8)))[0].T)
    result = tnjax.search(
        tnjax.Decomposition(wide),
        key=jax.random.key(0),
        target_error=target,
        setup=tnjax.Setup(on_progress=told.append, compress=compress),
        on_step=steps.append,
    )
    assert len(told) >= len(steps)
    for progress in told:
        assert progress.structure.dims == wide.shape
        assert progress.num_params == progress.structure.num_params
        if progress.error <= target:
            assert progress.best_params == progress.num_params
        elif progress.target_met:  # by the tree that is held while a smaller network grows
            assert progress.best_params > progress.num_params
    sizes = [progress.num_params for progress in told]
    assert {step.num_params for step in steps} <= set(sizes)
    assert [p.seconds for p in told] == sorted(p.seconds for p in told)
    assert told[-1].fitted == result.fitted
    assert told[-1].num_params == result.num_params
    best = [progress.best_params for progress in told if progress.target_met]
    assert best == sorted(best, reverse=True)  # once met, it only becomes smaller
    assert not any(p.target_met for p in told[: len(told) - len(best)])
    assert {p.doing for p in told if p.target_met} <= {
        "growing a smaller network",
        "comparing with a CP network",
        "making it smaller",
        "finished",
    }
    assert {p.doing for p in told if not p.target_met} <= {
        "inferring the graph from ranks",
        "reading trees off the spectra",
    }


@pytest.mark.parametrize(
    ("move", "rank"),
    [
        (MoveRecord("start"), None),
        (MoveRecord("grow", (0, 1), 1), 3),
        (MoveRecord("prune", (1, 2), 1), 1),
        (MoveRecord("swap", (0, 1), 1, ((1, 2),)), 3),
        (MoveRecord("merge", (0, 1)), None),
        (MoveRecord("merge", (0, 3)), None),
        (MoveRecord("star", (0, 5), 1, ((1, 2),)), None),
        (MoveRecord("hyperedge", (0, 2), 1, ((0, 1, 2),)), 1),
    ],
)
def test_the_rank_of_a_move_is_known_or_none(move, rank):
    structure = tnjax.Structure.rank_one((4, 5, 6)).with_rank((0, 1), 3)
    step = Step(move, structure, structure.num_params, 0.1, 1.0, 0.0, 1)
    assert step.rank == rank
    Display(None).on_step(step)


# Lines ---------------------------------------------------------------------------------------


def waited(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_lines_go_on_while_nobody_says_anything_and_end(monkeypatch):
    for name, value in (("_FIRST", 0.0), ("_NEWS", 0.02), ("_SILENT", 0.02), ("_LOOK", 0.01)):
        monkeypatch.setattr(_progress, name, value)
    stream = io.StringIO()
    lines = Lines(stream)
    lines.status("growing: 12 parameters")
    waited(lambda: stream.getvalue().count("growing: 12 parameters\n") >= 3)
    lines.close()
    assert not lines._thread.is_alive()
    told = stream.getvalue()
    assert "\x1b" not in told
    assert all(line.split()[1] == "s" for line in told.splitlines())


def test_a_stream_that_closes_is_one_warning(monkeypatch, capsys):
    monkeypatch.setattr(_progress, "_LOOK", 0.01)
    stream = io.StringIO()
    lines = Lines(stream)
    display = Display(lines)
    stream.close()
    display.line("target met")
    display.line("more")
    display.status("and more")
    assert capsys.readouterr().err.count("progress can no longer be shown") == 1
    waited(lambda: not lines._thread.is_alive())


class Heard:
    """A screen that remembers the last words and all of them."""

    def __init__(self):
        self.told = []

    def status(self, words):
        self.told.append(words)

    title = line = status

    def row(self, head, words, more):
        pass

    def close(self):
        pass


def test_what_is_read_from_disk_is_told_piece_by_piece(tmp_path):
    array = np.arange(24.0).reshape(12, 2)
    np.save(tmp_path / "x.npy", array)
    heard = Heard()
    file = tnjax.io.open_tensor(tmp_path / "x.npy")
    slabs = [slab.copy() for slab in ToldTensor(file, Display(heard)).slabs(5 * 2 * 8)]
    np.testing.assert_array_equal(np.concatenate(slabs), array)
    assert heard.told == [
        "reading the first slab",
        "reading slabs, 1 of 3",
        "reading slabs, 2 of 3",
        "reading slabs, 3 of 3",
    ]
    heard = Heard()
    indices = np.stack(np.unravel_index(np.arange(24), array.shape), axis=1)
    tnjax.io.write_samples(tmp_path / "entries", [(indices, array.ravel())], array.shape)
    source = ToldSamples(tnjax.io.open_samples(tmp_path / "entries"), Display(heard))
    values = np.concatenate([values for _, values in source.chunks(10)])
    np.testing.assert_array_equal(values, array.ravel())
    assert heard.told[-1] == "reading chunks, 3 of 3"


# Before JAX is there -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["decompose", "x.npy"], True),
        (["sweep", "x.yaml", "--out", "y"], True),
        (["decompose", "--help"], False),
        (["show", "run"], False),
        ([], False),
        (["decompose", "x.npy", "--process-id", "0"], True),
        (["decompose", "x.npy", "--process-id", "1"], False),
        (["decompose", "x.npy", "--process_id=1"], False),
    ],
)
def test_the_first_line_needs_no_import(words, says):
    assert bool(_script.starting(words)) == says
    code = "import sys; from tnjax import _script; sys.exit('jax' in sys.modules)"
    root = Path(_script.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
