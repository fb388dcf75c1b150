"""All programs of small searches lower for GPUs and TPUs, without calling back to the host."""

import contextlib
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tnjax
from tests.helpers import normal
from tnjax import Structure, TensorNetwork, _compile
from tnjax.nn import Task, Training, _task

KEY = jax.random.key(0)


@pytest.fixture
def programs(monkeypatch):
    """Name, program and arguments of all that is compiled from now on."""
    made: list = []

    def recorded(forms, program, args, *rest, **options):
        made.append((program.func.__name__, program, args))
        return before(forms, program, args, *rest, **options)

    def jit(function, tier="full"):
        program = jax.jit(function)

        def call(*args):
            made.append((function.__qualname__, function, args))
            return program(*args)

        return call

    before = _compile._made
    monkeypatch.setenv("TNJAX_INTERPRET", "0")
    monkeypatch.setattr(_compile, "_made", recorded)
    for module in (_task, tnjax.nn._training, tnjax.nn._growth.screening):
        monkeypatch.setattr(module, "jit", jit)
    jax.clear_caches()  # those of the package go as well
    yield made
    jax.clear_caches()


def lowered(program, args, platform) -> str:
    """The program for a platform, as text; of the CPU only its front end is needed."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), args)
    exported = jax.export.export(jax.jit(program), platforms=[platform])(*shapes)
    return str(exported.mlir_module())


def check(made, double: bool, layers: bool = False) -> set[str]:
    """Lower each program once for each platform that has its precision. Returns their names.

    All products are in full precision, but for those of a user's own `layers`."""
    seen = set()
    for name, program, args in made:
        # Layers are trained by one program again and again; others come once for all they are of.
        made_of = name, getattr(program, "args", program), *map(jax.typeof, jax.tree.leaves(args))
        if made_of in seen:
            continue
        seen.add(made_of)
        for platform in ("cuda",) if double else ("cuda", "tpu"):
            text = lowered(program, args, platform)
            assert "callback" not in text, (name, platform)
            products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
            lower = [line for line in products if "HIGHEST, HIGHEST" not in line]
            assert layers or not lower, (name, lower[:3])
            if not double:
                assert not re.search(r"x?f64\b", text), (name, platform)
    return {name for name, *_ in seen}


@contextlib.contextmanager
def precision(double: bool):
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", double)
    yield
    jax.config.update("jax_enable_x64", before)


def noisy(structure: Structure, double: bool, noise: float = 0.05) -> np.ndarray:
    network = TensorNetwork.random(structure, key=jax.random.key(3))
    tensor = np.array(network.to_dense(), np.float64)
    tensor += noise * np.linalg.norm(tensor) / np.sqrt(tensor.size) * normal(tensor.shape)
    return tensor.astype(np.float64 if double else np.float32)


RING = Structure.from_edges((5, 4, 6, 4), {(0, 1): 2, (1, 2): 2, (2, 3): 2, (0, 3): 2})


@pytest.mark.parametrize("double", [False, True])
def test_a_decomposition(programs, double):
    with precision(double):
        # By growth; by the graph that is inferred.
        for noise, target in ((0.05, 0.06), (0.0, 1e-3)):
            problem = tnjax.Decomposition(noisy(RING, double, noise))
            assert tnjax.search(problem, key=KEY, target_error=target).status.ok
        names = check(programs, double)
    assert {"_whole", "screen_program"} < names  # and that of several starts together


def test_a_completion(programs):
    with precision(False):
        tensor = noisy(RING, False)
        indices = np.argwhere(np.random.default_rng(0).random(tensor.shape) < 0.6)
        values = tensor[tuple(indices.T)]
        problem = tnjax.Completion(indices, values, tensor.shape, validation=0.1, key=KEY)
        tnjax.search(problem, key=KEY, target_error=0.1, max_params=150, max_fitted=12)
        names = check(programs, False)
    assert len(names) >= 2, names


def test_any_loss(programs):
    with precision(False):
        target = jnp.asarray(noisy(Structure.tensor_train((4, 5, 4), 2), False))
        loss = lambda x: jnp.mean(jnp.log(jnp.cosh(x - target)))
        problem = tnjax.Objective(loss, (4, 5, 4))
        tnjax.search(problem, key=KEY, max_params=40, max_fitted=8)
        names = check(programs, False)
    assert len(names) >= 2, names


def test_the_training_of_layers(programs, usual_promotion):
    with precision(False):
        model = eqx.nn.MLP(6, 4, 12, 1, key=KEY)
        x = jnp.asarray(normal((16, 6)), jnp.float32)
        teacher = eqx.nn.MLP(6, 4, 12, 1, key=jax.random.key(1))
        batches = [(x, jax.vmap(teacher)(x))]
        task = Task(lambda model, xy: jnp.mean((jax.vmap(model)(xy[0]) - xy[1]) ** 2), batches)
        training = Training(steps=3, final_steps=3)
        tnjax.compress(model, task, layers="layers.*", budget=80, training=training, key=KEY)
        names = check(programs, False, layers=True)
    assert len(names) >= 2, names
