"""Parts from outside of the package, written with public names only, take the places of ours.

The parts are those of `docs/extending.md`: its blocks of classes are a module, in a folder that is
not the package's, and its last block is run in it.
"""

import ast
import importlib
import json
import re
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tnjax
from tests.cli_helpers import run
from tnjax import (
    Completion,
    Decomposition,
    FixedFormat,
    Greedy,
    LocalSampling,
    Minibatch,
    Objective,
    Setup,
    Status,
    Structure,
    TensorNetwork,
    TreeSearch,
    fit,
    search,
)
from tnjax.problems import Problem, Sampled
from tnjax.solve import LevenbergMarquardt, random_start
from tnjax.strategies import storable

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
PARTS, WORK = "\n\n".join(BLOCKS[:-1]), BLOCKS[-1]

RING = Structure.tensor_ring((4, 5, 4), 2)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def tensor():
    return np.asarray(TensorNetwork.random(RING, key=jax.random.key(1)).to_dense())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the module `mine`."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "mine.py").write_text(PARTS, encoding="utf-8")
    return folder


@pytest.fixture
def mine(folder, monkeypatch):
    """The module, loaded anew: the classes of the last one that was loaded can be stored."""
    monkeypatch.syspath_prepend(folder)
    sys.modules.pop("mine", None)
    yield importlib.import_module("mine")
    sys.modules.pop("mine", None)


@pytest.fixture
def beside(folder, monkeypatch):
    """The folder is where the user is, and not where Python looks for modules."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(folder)
    yield
    sys.modules.pop("mine", None)


# Public names -------------------------------------------------------------------------------


def test_the_parts_use_public_names_only():
    tree = ast.parse(PARTS + WORK)
    kinds = (ast.FunctionDef, ast.ClassDef)
    own = {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
    public = {name for name in tnjax.__all__ if not name.startswith("_")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
            if names[0] == "tnjax" and len(node.module.split(".")) > 1:
                assert names[1] in public  # a public sub-package
        elif isinstance(node, ast.Attribute):
            names = [] if node.attr in own else [node.attr]
        elif isinstance(node, ast.Name):
            names = [node.id]
        else:
            continue
        private = [name for name in names if name.startswith("_") and not name.endswith("__")]
        assert not private, ast.unparse(node)


def test_what_the_page_shows_runs(mine):
    exec(compile(WORK, str(PAGE), "exec"), vars(mine).copy())


# Search, and resume --------------------------------------------------------------------------


def searches(mine, tensor):
    """For each part: a problem, a strategy, and the target error."""
    dense = Decomposition(tensor)
    logarithms = mine.Logarithms(jnp.exp(jnp.asarray(tensor / np.abs(tensor).max())))
    return {
        "problem": (logarithms, Greedy(effort="quick"), 5e-2),
        "capable problem": (mine.Centered(jnp.asarray(tensor)), Greedy(infer=False), 1e-2),
        "strategy and move": (dense, mine.Fans(), 1e-2),
        "ask and tell": (dense, mine.Wider(), 1e-2),
        "screen": (dense, Greedy(screen=mine.Probe(), infer=False), 1e-2),
        "solver": (dense, mine.Fans(solver=mine.Descent()), 0.5),
    }


NAMES = (
    "problem",
    "capable problem",
    "strategy and move",
    "ask and tell",
    "screen",
    "solver",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_part_is_searched_with_and_resumed_to_the_same_bits(mine, tensor, tmp_path, name):
    problem, strategy, target = searches(mine, tensor)[name]
    options = dict(key=KEY, strategy=strategy, target_error=target, max_params=300)
    whole = search(problem, **options)
    assert whole.status is Status.TARGET_REACHED
    assert whole.error <= target
    assert len(whole.path) > 1
    path = []
    part = search(
        problem,
        **options,
        on_step=path.append,
        setup=Setup(checkpoints=tmp_path, stop=lambda: bool(path)),
    )
    assert part.status is Status.INTERRUPTED
    assert len(part.path) < len(whole.path)
    rest = search(problem, **options, setup=Setup(checkpoints=tmp_path, resume=True))
    assert_same(rest, whole)


def assert_same(a, b):
    assert a.structure == b.structure
    assert a.status is b.status
    for x, y in zip(a.network.cores, b.network.cores, strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
    assert [(s.move, s.structure, s.error) for s in a.path] == [
        (s.move, s.structure, s.error) for s in b.path
    ]


def test_the_error_of_a_problem_is_what_its_loss_says(mine, tensor):
    data = np.exp(tensor / np.abs(tensor).max())
    result = search(mine.Logarithms(jnp.asarray(data)), key=KEY, target_error=5e-2)
    difference = np.asarray(result.network.to_dense()) - np.log(data)
    np.testing.assert_allclose(result.error, np.sqrt(np.mean(difference**2)), rtol=1e-6)


def test_a_move_keeps_the_tensor_and_goes_back(mine, tensor):
    cores = tuple(map(np.asarray, TensorNetwork.random(RING, key=KEY).cores))
    move = mine.Fan(1)
    structure, grown = move.apply(RING, cores)
    assert structure == move.after(RING)
    assert move.cost(RING) == structure.num_params - RING.num_params > 0
    before, after = (TensorNetwork(s, c).to_dense() for s, c in ((RING, cores), (structure, grown)))
    np.testing.assert_allclose(after, before, atol=1e-12)
    assert move.inverse(RING).after(structure) == RING


# The command line ----------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "word"), [("Fans", "fan"), ("Wider", "widen")])
def test_a_strategy_beside_the_user_runs_from_the_command_line(beside, tensor, tmp_path, cls, word):
    np.save(tmp_path / "x.npy", tensor)
    out = tmp_path / "run"
    words = ["decompose", tmp_path / "x.npy", "--strategy", f"mine:{cls}", "--out", out]
    words += ["--target-error", "0.01", "--max-params", "300"]
    assert run(*words)[0] == 0
    record = json.loads((out / "result.json").read_text())
    moves = [step["move"]["kind"] for step in record["path"]]
    assert moves[0] == "start"
    assert set(moves[1:]) == {word}
    assert run(*words, "--resume")[0] == 0
    assert json.loads((out / "result.json").read_text())["error"] == record["error"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:Fans", "cannot be imported"),
        ("mine:Nothing", "cannot be imported"),
        ("mine:Fan", "expected a tnjax.Strategy"),
    ],
)
def test_a_wrong_name_is_refused_in_one_line(beside, tensor, tmp_path, name, said):
    np.save(tmp_path / "x.npy", tensor)
    out = tmp_path / "run"
    status, _, text = run(
        "decompose", tmp_path / "x.npy", "--strategy", name, "--out", out, "--target-error", "0.1"
    )
    assert status == 2
    assert said in text
    assert "Traceback" not in text
    assert not out.exists()


# Capabilities --------------------------------------------------------------------------------

PROPERTIES = (
    "shape dtype scale nonnegative is_dense dense_target error_floor projectable permutable "
    "least_squares sampled num_samples resolution work patience counted_shape judges"
)
METHODS = (
    "feasible prepared permuted batch_loss loop_entries flops sweep_flops normal_operator_flops "
    "fit_peak_bytes loss error loss_of_error num_params functional_gradient linearize "
    "perturbed_loss shifted slope curvature sketch judged"
)


class Mirror(Problem):
    """Another class, of which nothing is known but what it says that it can do."""

    inner: Problem

    for _name in PROPERTIES.split():
        vars()[_name] = property(lambda self, name=_name: getattr(self.inner, name))
    for _name in METHODS.split():
        vars()[_name] = lambda self, *args, name=_name: getattr(self.inner, name)(*args)
    del _name


def smooth():
    axis = np.linspace(0, 1, 8)
    return 1 / (1 + axis[:, None, None] + 2 * axis[:, None] + axis**2)


def completion(tensor, **options):
    rng = np.random.default_rng(0)
    indices = np.argwhere(rng.random(tensor.shape) < 0.7)
    values = tensor[tuple(indices.T)]
    return Completion(indices, values, tensor.shape, validation=0.2, key=KEY, **options)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (Decomposition, dict(target_error=1e-3)),
        (Decomposition, dict(target_error=1e-3, strategy=Greedy(infer=False))),
        (Decomposition, dict(target_error=1e-2, setup=Setup(start="cuts"))),
        (Decomposition, dict(target_error=1e-2, strategy=TreeSearch())),
        (Decomposition, dict(target_error=1e-2, strategy=FixedFormat("tr"))),
        (
            Decomposition,
            dict(target_error=1e-2, strategy=LocalSampling(samples=4, rounds=2, max_rank=3)),
        ),
        (
            lambda tensor: Decomposition(smooth()),
            dict(target_error=1e-2, setup=Setup(compress=True)),
        ),
        (completion, dict(target_error=1e-2, max_steps=2)),
    ],
    ids=["infer", "grow", "cuts", "tree", "ring", "sampling", "compress", "complete"],
)
def test_a_problem_with_the_same_capabilities_is_treated_alike(tensor, make, options):
    problem = make(tensor)
    ours, mirrored = (search(p, key=KEY, **options) for p in (problem, Mirror(problem)))
    assert_same(mirrored, ours)


@pytest.mark.parametrize(
    "solver",
    [None, LevenbergMarquardt(), tnjax.GaussNewton(), Minibatch(optax.adam(1e-2), 16, 5)],
    ids=["als", "levenberg", "newton", "minibatch"],
)
def test_solvers_ask_for_capabilities_too(tensor, solver):
    problem = completion(tensor)
    ours, mirrored = (
        fit(p, RING, key=KEY, solver=solver, max_steps=4) for p in (problem, Mirror(problem))
    )
    np.testing.assert_array_equal(mirrored.history, ours.history)


def test_what_a_problem_does_not_say_is_refused_by_name(mine, tensor):
    problem = mine.Logarithms(jnp.exp(jnp.asarray(tensor)))
    network = TensorNetwork.random(RING, key=KEY)
    with pytest.raises(ValueError, match="Logarithms has no dense target"):
        _ = problem.dense_target
    with pytest.raises(ValueError, match="Logarithms cannot change the order"):
        problem.permuted([(0, 1, 2)])
    with pytest.raises(ValueError, match="Logarithms is no mean over samples"):
        problem.batch_loss(network, jnp.arange(3))
    for solver in (tnjax.ALS(), LevenbergMarquardt(), Minibatch(optax.adam(1e-2))):
        with pytest.raises(ValueError, match="got Logarithms"):
            fit(problem, RING, key=KEY, solver=solver)
    for strategy in (TreeSearch(), tnjax.SparseDiagonal()):
        with pytest.raises(ValueError, match="got Logarithms"):
            search(problem, key=KEY, target_error=0.1, strategy=strategy)
    for setup in (Setup(start="cuts"), Setup(compress=True)):
        with pytest.raises(ValueError, match="needs a Decomposition"):
            search(problem, key=KEY, target_error=0.1, setup=setup)


def test_capabilities_are_known_in_a_trace(mine, tensor):
    asked = ("is_dense", "projectable", "permutable", "num_samples", "resolution", "quadratic")

    @jax.jit
    def error(tensor):
        problem = mine.Centered(tensor)
        inner = problem.least_squares
        assert [getattr(inner, name) for name in asked[:4]] == [True, True, True, 0]
        assert inner.quadratic
        assert 0 < inner.resolution < 1e-15
        assert inner.sampled is None
        start = random_start(problem, RING, key=KEY)
        return tnjax.solve.run(problem, start, max_steps=5).error

    outside = mine.Centered(jnp.asarray(tensor))
    start = random_start(outside, RING, key=KEY)
    found = fit(outside, start, max_steps=5).error
    np.testing.assert_allclose(error(jnp.asarray(tensor)), found, rtol=1e-8)


def test_only_squared_entries_count_as_sampled(tensor):
    assert isinstance(completion(tensor).sampled, Sampled)
    assert completion(tensor, loss="huber").sampled is None
    assert completion(tensor, smooth={0: 1.0}).sampled is None
    assert completion(tensor, loss="huber").num_samples == completion(tensor).num_samples > 0


# Derivatives by default -----------------------------------------------------------------------


class Distance(Problem):
    """The mean squared distance from a tensor, as little as a problem has to say."""

    data: jax.Array
    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)

    def loss(self, network):
        difference = network.to_dense() - self.data
        return jnp.mean((difference * difference.conj()).real)

    def error(self, network):
        return self.loss(network)


class Bare(Objective):
    """An objective of the network with the derivatives of any problem."""

    functional_gradient = Problem.functional_gradient


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivatives_come_by_default(dtype):
    rng = np.random.default_rng(0)
    shape = (3, 2, 4)
    target = rng.standard_normal(shape).astype(dtype)
    if dtype == "complex128":
        target = target + 1j * rng.standard_normal(shape)
    network, delta = (
        TensorNetwork.random(Structure.tensor_train(shape, 2), key=jax.random.key(n), dtype=dtype)
        for n in (1, 2)
    )
    here, step = np.asarray(network.to_dense()), np.asarray(delta.to_dense())
    expected = 2 * (here - target) / target.size  # of mean |T - X|^2, steepest ascent
    square = lambda x: x.real**2 + x.imag**2
    loss = lambda x, data: jnp.mean(square(x.to_dense() - data))
    objective = Bare(loss, shape, of="network", data=jnp.asarray(target), dtype=dtype)
    for problem in (Distance(jnp.asarray(target)), objective):
        np.testing.assert_allclose(problem.functional_gradient(network), expected, atol=1e-12)
        point = problem.linearize(network)
        slope = np.vdot(expected, step).real
        np.testing.assert_allclose(problem.slope(point, delta), slope, rtol=1e-9)
        curvature = 2 * np.vdot(step, step).real / target.size
        np.testing.assert_allclose(problem.curvature(point, delta), curvature, rtol=1e-9)
        moved = problem.perturbed_loss(problem.shifted(point, delta), delta)
        twice = np.mean(np.abs(here + 2 * step - target) ** 2)
        np.testing.assert_allclose(moved, twice, rtol=1e-9)


# Modules that are loaded again ----------------------------------------------------------------


def test_a_class_of_a_module_that_is_loaded_again_takes_the_place_of_the_old_one(mine, tensor):
    again = importlib.reload(mine)
    assert storable(again.FanState) is again.FanState
    problem, strategy, target = searches(again, tensor)["strategy and move"]
    assert search(problem, key=KEY, strategy=strategy, target_error=target).error <= target


def test_two_classes_of_one_name_are_refused(mine):
    class FanState(eqx.Module):
        pass

    with pytest.raises(ValueError, match="another class named FanState"):
        storable(FanState)
