"""Smoothness along axes, split into digits or not: against differences of the dense tensor."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tnjax import ALS, Completion, Structure, TensorNetwork, fit
from tnjax._digits import split_axes
from tnjax.io import plan_reshape
from tnjax.problems import Axis, Digit
from tnjax.problems._smoothness import Smoothness

SHAPE = (12, 8)
MODES = (3, 4, 2, 4)  # both axes in two digits
RING = Structure.tensor_ring(MODES, 2)
ROWS = (Digit(0, 3), Digit(1, 4))
COLUMNS = (Digit(2, 2), Digit(3, 4))
# A patch of 2 x 2 in the first mode, the other digits of both axes in one mode each.
PATCHES = (4, 6, 4)
KEY = jax.random.key(0)


def network_of(structure, seed=0):
    return TensorNetwork.random(structure, key=jax.random.key(seed), dtype=jnp.float64)


def differences(dense, axis, order=1, periodic=False):
    """The sum of squares, by NumPy."""
    x = np.moveaxis(dense, axis, 0)
    ends = {1: x[:1], 2: x[:1]}[order]
    if periodic:
        x = np.concatenate([x[-1:], x, ends]) if order == 2 else np.concatenate([x, ends])
    return float((np.diff(x, n=order, axis=0) ** 2).sum())


def penalties(axes, network):
    """Of each axis by itself, by one program."""
    dims = network.dims
    smooths = [Smoothness.of({axis: 1.0}, {}, dims, jnp.float64) for axis in axes]
    return jax.jit(lambda network: [smooth.penalty(network) for smooth in smooths])(network)


def test_differences_of_a_split_axis_are_those_of_the_whole():
    network = network_of(RING)
    dense = np.asarray(network.to_dense()).reshape(SHAPE)
    kinds = list(itertools.product((0, 1), (1, 2), (False, True)))
    axes = [Axis((ROWS, COLUMNS)[place], order, around) for place, order, around in kinds]
    expected = [differences(dense, *kind) / dense.size for kind in kinds]
    np.testing.assert_allclose(penalties(axes, network), expected, rtol=1e-10)


def test_digits_of_several_axes_in_one_mode():
    network = network_of(Structure.tensor_train(PATCHES, 3))
    patches = np.asarray(network.to_dense()).reshape(2, 2, 6, 4)
    dense = patches.transpose(0, 2, 1, 3).reshape(12, 8)  # rows: 2 x 6, columns: 2 x 4
    digits = ((Digit(0, 2, 2), Digit(1, 6)), (Digit(0, 2, 1), Digit(2, 4)))
    kinds = list(itertools.product((0, 1), (1, 2)))
    axes = [Axis(digits[place], order) for place, order in kinds]
    expected = [differences(dense, *kind) / dense.size for kind in kinds]
    np.testing.assert_allclose(penalties(axes, network), expected, rtol=1e-10)


def test_lags_are_an_autoregression():
    network = network_of(Structure.tensor_train((9, 4), 2))
    dense = np.asarray(network.to_dense())
    gap = dense[3:] - (dense[2:-1] + dense[:-3]) / 2
    (found,) = penalties([Axis((Digit(0, 9),), lags=(1, 3))], network)
    np.testing.assert_allclose(found, (gap**2).sum() / 36, rtol=1e-10)


@pytest.mark.parametrize(
    ("structure", "axes"),
    [
        (Structure.tensor_train((3, 4, 2), 2), (Axis(ROWS), Axis((Digit(1, 4),), lags=(1, 2)))),
        # Two digits of an axis on one node.
        (Structure(MODES[:3], ((0, 1), (2,)), {(0, 1): 2}), (Axis(ROWS, 2, periodic=True),)),
    ],
)
def test_the_equations_of_a_core_are_those_of_the_penalty(structure, axes):
    network = network_of(structure)
    strengths = {axis: 0.7 + n for n, axis in enumerate(axes)}
    smooth = Smoothness.of(strengths, {}, structure.dims, jnp.float64)
    rng = np.random.default_rng(0)

    @jax.jit
    def told(network, others):
        out = []
        for node, (core, other) in enumerate(zip(network.cores, others)):
            x = core.reshape(other.shape)
            gram, tied = smooth.coupled_equations(network, node)
            product = (gram @ x[..., None])[..., 0] + (0 if tied is None else tied(x))
            above, rhs = smooth.normal_equations(network, node)
            slope = 2 * ((above @ x[..., None])[..., 0] - rhs)
            rise = jnp.vdot(other, slope)
            rise += jnp.vdot(other, (above @ other[..., None])[..., 0])
            cores = list(network.cores)
            cores[node] = core + other.reshape(core.shape)
            after = smooth.penalty(TensorNetwork(structure, cores))
            out.append((2 * product, slope, rise, after))
        return jax.grad(smooth.penalty)(network).cores, smooth.penalty(network), out

    legs = [len(legs) for legs in structure.legs]
    rows = [int(np.prod(c.shape[:n])) for c, n in zip(network.cores, legs)]
    others = [rng.standard_normal((r, c.size // r)) for r, c in zip(rows, network.cores)]
    slopes, before, out = told(network, others)
    for slope, (exact, untied, rise, after) in zip(slopes, out, strict=True):
        np.testing.assert_allclose(exact, slope.reshape(exact.shape), rtol=1e-8, atol=1e-11)
        np.testing.assert_allclose(untied, exact, rtol=1e-8, atol=1e-11)
        assert rise >= (after - before) * (1 - 1e-9)  # the parabola of untied rows lies above


def test_axes_of_a_reshaped_tensor_are_found():
    plan = plan_reshape(SHAPE, MODES)
    assert [Axis(digits).size for digits in plan.axes()] == [12, 8]
    assert split_axes((32, 32), (4, 4, 4, 4, 4))[0] == (Digit(0, 4), Digit(1, 4), Digit(2, 2, 2))
    assert split_axes((6, 6), (4, 9)) == (None, None)
    patches = plan_reshape((8, 8), (4, 4, 4), digits="interleaved")
    assert patches.names(("row", "column"))[1:] == ("row.2+column.2", "row.3+column.3")
    assert plan_reshape((6, 6), (4, 9)).names(("row", "column")) is None
    assert plan_reshape((6, 1), (2, 3, 1)).names(("row", "column")) == ("row.1", "row.2", "mode_2")
    rows, columns = patches.axes()
    index = np.arange(64).reshape(8, 8)
    for digits, source in ((rows, index // 8), (columns, index % 8)):
        modes = np.stack(np.unravel_index(np.arange(64), (4, 4, 4)))
        values = np.zeros(64, int)
        for digit in digits:
            values = values * digit.size + modes[digit.mode] // digit.stride % digit.size
        np.testing.assert_array_equal(patches.undo(values.reshape(4, 4, 4)), source)


def test_smooth_gaps_are_filled_after_a_reshape():
    """Exact sweeps: a strong tie across digits converges in a few of them."""
    rows, columns = np.meshgrid(np.arange(12), np.arange(8), indexing="ij")
    dense = np.sin(rows / 4) + columns / 8
    seen = np.random.default_rng(0).random(SHAPE) < 0.6
    tensor, mask = dense.reshape(MODES), seen.reshape(MODES)
    errors = []
    for strength in (0.0, 0.02):
        smooth = {Axis(ROWS, 2): strength, Axis(COLUMNS, 2): strength}
        problem = Completion.from_mask(tensor, mask, smooth=smooth, ridge=1e-3)
        found = fit(problem, RING, key=KEY, solver=ALS(max_steps=40))
        errors.append(np.linalg.norm((np.asarray(found.network.to_dense()) - tensor)[~mask]))
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (Axis((Digit(9, 3),)), "that lie in modes"),
        (Axis((Digit(0, 5),)), "that lie in modes"),
        (Axis(ROWS, differences=3), "differences of 1 or 2"),
        (Axis(ROWS, lags=(1, 7)), "an axis that is one mode"),
        (Axis((Digit(0, 3),), lags=(3,)), "below the size"),
    ],
)
def test_bad_axes_are_refused(axis, message):
    indices = np.argwhere(np.ones(MODES))
    with pytest.raises(ValueError, match=message):
        Completion(indices, np.ones(len(indices)), MODES, smooth={axis: 1.0})
