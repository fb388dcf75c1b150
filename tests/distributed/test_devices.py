"""Searches and fits on meshes of devices: eight virtual ones in processes of their own, where they
must do what one device does, and one device here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

import tnjax
from tests.cli_helpers import check_refusal, run
from tnjax import Completion, Decomposition, Objective, Structure, TensorNetwork, make_mesh, search
from tnjax.problems import Problem

ROOT = Path(__file__).parents[2]


def eight_devices(script: str, *arguments: str, hurry: bool = True) -> dict:
    """What a script prints as lines of JSON; the compiler hurries as in other tests, or it does not
    where its own figures are looked at."""
    flags = f"{os.environ['XLA_FLAGS'] if hurry else ''} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / script, *arguments],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {name: part for line in lines for name, part in line.items()}


def test_searches_on_eight_devices_accept_the_moves_of_one():
    for name, (one, *others) in eight_devices("devices_worker.py", "searches")["searches"].items():
        assert len(one["moves"]) > (1 if name == "inferred" else 2), name
        for other in others:  # two meshes, and a mesh whose search one device finished
            assert other["moves"] == one["moves"], name
            assert other["params"] == one["params"], name
            assert abs(other["error"] - one["error"]) < 1e-8, name


def test_every_solver_does_on_eight_devices_what_it_does_on_one():
    for name, (one, many) in eight_devices("devices_worker.py", "fits")["fits"].items():
        tolerance = 1e-3 if "float32" in name else 1e-6
        np.testing.assert_allclose(many, one, rtol=tolerance, err_msg=name)


def test_other_strategies_do_on_eight_devices_what_they_do_on_one():
    found = eight_devices("devices_worker.py", "strategies")["strategies"]
    for name, (one, many) in found.items():
        assert many["moves"] == one["moves"], name
        assert many["params"] == one["params"], name
        assert abs(many["error"] - one["error"]) < 1e-8, name


def test_screens_on_some_of_many_entries_see_the_same_ones():
    found = eight_devices("devices_worker.py", "sketches")["sketches"]["same"]
    assert len(found) == 17
    assert all(found), found


def tensor(seed=0) -> np.ndarray:
    ring = Structure.tensor_ring((4, 5, 3), 2)
    return np.asarray(TensorNetwork.random(ring, key=jax.random.key(seed)).to_dense())


@pytest.mark.parametrize("sampled", [False, True])
def test_a_mesh_of_one_device_gives_the_same_bits(sampled, monkeypatch):
    monkeypatch.setenv("TNJAX_INTERPRET", "0")  # on a mesh programs are always compiled
    data = tensor()
    where = np.argwhere(np.random.default_rng(0).random(data.shape) < 0.8)

    def found(mesh):
        if not sampled:
            problem = Decomposition(data, mesh=mesh)
        else:
            values = data[tuple(where.T)]
            problem = Completion(
                where, values, data.shape, mesh=mesh, validation=0.2, key=jax.random.key(1)
            )
        return search(problem, key=jax.random.key(0), target_error=1e-6, max_params=40)

    one, mesh = found(None), found(make_mesh(1))
    assert [step.move for step in one.path] == [step.move for step in mesh.path]
    assert len(one.path) > 1
    assert one.error == mesh.error
    for a, b in zip(one.network.cores, mesh.network.cores, strict=True):
        np.testing.assert_array_equal(a, b)


def test_problems_come_back_from_a_mesh_as_they_were():
    data, mesh = tensor(), make_mesh(1)
    where = np.argwhere(data > 0)
    for problem in (
        Decomposition(data),
        Completion(where, data[tuple(where.T)], data.shape, validation=0.2, key=jax.random.key(0)),
        Objective(lambda x: (x**2).sum(), data.shape),
    ):
        placed = problem.placed(mesh)
        assert placed.mesh == mesh
        assert problem.mesh is None
        assert placed.placed(mesh).mesh == mesh
        for back in (placed.placed(None), placed.on_host()):
            assert back.mesh is None
            assert jax.tree.structure(back) == jax.tree.structure(problem)
            for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(problem), strict=True):
                np.testing.assert_array_equal(a, b)


def test_meshes_that_cannot_be():
    there = jax.device_count()
    for arguments, word in (
        ((there + 1,), f"{there + 1} devices are asked for, there are {there}"),
        ((0,), "devices must be 1 or more"),
        ((None, -1, None), "candidates must be 1 or more"),
        ((1, 2, None), "candidates=2 does not divide 1 devices"),
        ((1, 1, 3), "candidates=1, data=3 does not divide 1"),
    ):
        devices, candidates, data = (*arguments, None, None)[:3]
        with pytest.raises(ValueError, match=word):
            make_mesh(devices, candidates=candidates, data=data)
    assert dict(make_mesh(jax.devices()[:1]).shape) == {"candidates": 1, "data": 1}


def test_other_meshes_and_problems_are_refused():
    rows = Mesh(np.asarray(jax.devices()[:1]), ("rows",), axis_types=(AxisType.Auto,))
    with pytest.raises(ValueError, match="expected the axes candidates and data, got rows"):
        Decomposition(tensor(), mesh=rows)

    class Plain(Problem):
        shape, dtype, loss, error, functional_gradient = (None,) * 5
        linearize, perturbed_loss, shifted = (None,) * 3

    with pytest.raises(ValueError, match="Plain cannot be placed on a mesh"):
        Plain().placed(make_mesh(1))


def test_the_command_line_refuses_devices_that_cannot_be(tmp_path):
    np.save(tmp_path / "x.npy", tensor())
    arguments = ("decompose", tmp_path / "x.npy", "--target-error", "0.1", "--out", tmp_path / "o")
    many = jax.device_count() + 1
    for extra, words in (
        (("--devices", many), ["devices are asked for"]),
        (("--devices", "0"), ["--devices must be 1 or more"]),
        (("--mesh", "rows=1"), ["no axis 'rows'", "candidates and data"]),
        (("--mesh", "data=two"), ["a positive number"]),
        (("--mesh", "data=1,data=1"), ["each axis once"]),
        (("--devices", "1", "--mesh", "candidates=2"), ["does not divide 1 devices"]),
        (("--num-processes", "2"), ["--coordinator HOST:PORT"]),
    ):
        line = check_refusal(tmp_path, *arguments, *extra)
        assert all(word in line for word in words), line


def test_the_command_line_runs_on_a_mesh(tmp_path):
    np.save(tmp_path / "x.npy", tensor())
    arguments = ("decompose", tmp_path / "x.npy", "--target-error", "1e-6", "--out")
    for extra in ((), ("--devices", "1"), ("--mesh", "candidates=1,data=1")):
        out = tmp_path / f"out{len(extra)}{extra[:1]}"
        status, _, err = run(*arguments, out, *extra)
        assert (status, err) == (0, "")
        assert tnjax.load_result(out).error < 1e-6
