"""Contractions on a logarithmic scale, against NumPy: of any size, scale and graph."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import DOUBLE, by_precision, dense_oracle, needs_double, normal, random_network
from tnjax import Structure, TensorNetwork
from tnjax.contract import contract, log_inner, log_norm
from tnjax.contract.equation import inner_equation
from tnjax.contract.order import log_flops, pairs_of
from tnjax.contract.path import plan
from tnjax.contract.schedule import schedule

DTYPE = by_precision("float64", "float32")
CLOSE = by_precision(1e-12, 1e-5)


def peps(rows: int, columns: int, rank: int) -> Structure:
    at = lambda i, j: i * columns + j
    edges = {}
    for i in range(rows):
        for j in range(columns):
            if j + 1 < columns:
                edges[at(i, j), at(i, j + 1)] = rank
            if i + 1 < rows:
                edges[at(i, j), at(i + 1, j)] = rank
    return Structure.from_edges((2,) * (rows * columns), edges)


# A comb with branches of two nodes and two internal nodes; a tree whose branches are alike; loops
# with a hyperedge and a node of several modes; parts that nothing connects.
GRAPHS = {
    "train": Structure.tensor_train((2,) * 11, 3),
    "ring": Structure.tensor_ring((2,) * 10, 2),
    "comb": Structure.from_edges(
        (2,) * 8,
        {(8, 0): 2, (0, 1): 3, (8, 9): 3, (9, 2): 2, (2, 3): 3, (9, 4): 2, (4, 5): 3, (5, 6): 2},
        num_nodes=10,
    ),
    "grid": peps(3, 3, 2),
    "mixed": Structure.from_edges(
        (3, 2, 4, 3, 2),
        {(0, 1): 2, (0, 2, 3): 3, (1, 3): 2, (2, 3): 2},
        legs=[(0, 2), (1,), (3,), (), (4,)],
    ),
    "cp": Structure.cp((2,) * 7, 3),
    "one": Structure((3, 2), ((0, 1),), {}),
}


def groups_of(structure: Structure) -> tuple[tuple[int, int], ...]:
    return tuple((k, k + structure.num_nodes) for k in range(structure.num_nodes))


@pytest.mark.parametrize("name", GRAPHS)
def test_norm_and_inner_product_of_all_kinds_of_graphs(name):
    structure = GRAPHS[name]
    dtype = "complex128" if name in ("ring", "mixed") and DOUBLE else DTYPE
    a, b = (random_network(structure, dtype, seed=seed) for seed in (0, 1))
    x, y = (dense_oracle(structure, network.cores).ravel() for network in (a, b))
    if name in ("train", "ring", "comb"):
        expected = math.log(np.linalg.norm(x))
        np.testing.assert_allclose(log_norm(a), expected, rtol=CLOSE, atol=CLOSE)
    found, expected = log_inner(a, b), np.vdot(x, y)
    assert found.phase.dtype == dtype
    scale = np.linalg.norm(x) * np.linalg.norm(y)
    value = np.asarray(found.phase) * np.exp(float(found.log_abs))
    np.testing.assert_allclose(value, expected, rtol=0, atol=CLOSE * scale)


def transfer(cores) -> float:
    """The logarithm of a train's norm, site by site, in NumPy's longest floats."""
    total, left = np.longdouble(0), np.ones((1, 1), np.longdouble)
    for node, core in enumerate(cores):
        core = np.asarray(core, np.longdouble)
        core = (
            core[:, None, :] if node == 0 else core[:, :, None] if node == len(cores) - 1 else core
        )
        left = np.einsum("ab,iac,ibd->cd", left, core, core, optimize=True)
        scale = np.abs(left).max()
        total, left = total + np.log(scale), left / scale
    return float((total + np.log(left[0, 0])) / 2)


@pytest.mark.parametrize(
    ("nodes", "dtype", "bound", "scale"),
    [(2000, "float32", 1e-5, 1e3), pytest.param(300, "float64", 1e-12, 1e-3, marks=needs_double)],
)
def test_norm_of_a_long_train(nodes, dtype, bound, scale):
    structure = Structure.tensor_train((2,) * nodes, 8)
    rng = np.random.default_rng(0)
    shapes = map(structure.core_shape, range(nodes))
    cores = [np.asarray(scale * rng.standard_normal(shape), dtype) for shape in shapes]
    network = TensorNetwork(structure, cores)
    expected = transfer(cores)
    assert abs(expected) > 710  # its exponential is out of range
    np.testing.assert_allclose(log_norm(network), expected, rtol=bound)
    assert float(network.norm()) == (math.inf if scale > 1 else 0)


def test_inner_products_of_many_nodes_stay_in_range():
    network = random_network(GRAPHS["train"], DTYPE)
    far = TensorNetwork(
        network.structure,
        [c * (1e30 if k % 2 else 1e-30) for k, c in enumerate(network.cores)],
    )
    expected = float(network.norm()) ** 2
    np.testing.assert_allclose(far.inner(far) * 1e30 * 1e30, expected, rtol=1e3 * CLOSE)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: Structure.tensor_train((2,) * n, 3),
        lambda n: Structure.tensor_ring((2,) * n, 3),
        lambda n: peps(3, n // 3, 2),
    ],
    ids=["train", "ring", "ladder"],
)
def test_programs_do_not_grow_with_the_nodes(make):
    kernels = [
        schedule(inner_equation(graph), groups_of(graph)).kernels for graph in map(make, (60, 240))
    ]
    assert kernels[0] == kernels[1] < 60


@pytest.mark.parametrize("name", ["train", "ring", "comb", "grid", "mixed"])
def test_orders_cost_no_more_than_the_planned_paths(name):
    equation = inner_equation(GRAPHS[name])
    flops = log_flops(equation, pairs_of(equation, groups_of(GRAPHS[name])))
    assert flops <= math.log2(plan(equation).flops) + 1


def test_gradients_are_those_of_finite_differences():
    structure = Structure.tensor_train((2,) * 9, 2)
    network = random_network(structure, DTYPE)
    log = jax.jit(jax.value_and_grad(log_norm))
    _, gradient = log(network)
    step = by_precision(1e-6, 1e-2)
    for node in (0, 4, 8):
        toward = normal(structure.core_shape(node), DTYPE, seed=node)
        moved = lambda t, node=node, toward=toward: TensorNetwork(
            structure,
            [c + t * jnp.asarray(toward) if k == node else c for k, c in enumerate(network.cores)],
        )
        slope = float(log(moved(step))[0] - log(moved(-step))[0]) / (2 * step)
        found = float(np.vdot(gradient.cores[node], toward))
        np.testing.assert_allclose(found, slope, rtol=by_precision(1e-7, 1e-2), atol=1e-3 * CLOSE)


def test_gradients_are_zero_where_the_network_is():
    structure = Structure.tensor_train((2,) * 9, 2)
    network = random_network(structure, DTYPE)
    dead = TensorNetwork(
        structure, [c * (0.0 if k == 4 else 1.0) for k, c in enumerate(network.cores)]
    )
    assert float(log_norm(dead)) == -math.inf
    gradient = jax.grad(lambda x: log_norm(x) + x.norm() + log_inner(x, network).phase)(dead)
    assert all(np.all(np.asarray(core) == 0) for core in gradient.cores)


def test_inner_products_of_different_structures():
    dims = (2, 3, 2, 2)
    a = random_network(Structure.tensor_train(dims, 2), DTYPE)
    b = random_network(Structure.tensor_ring(dims, 3), DTYPE, seed=1)
    c = random_network(Structure.from_edges(dims, {}, legs=[(0, 3), (1, 2)]), DTYPE, seed=2)
    x, y, z = (dense_oracle(n.structure, n.cores).ravel() for n in (a, b, c))
    for other, expected in ((b, x @ y), (c, x @ z)):
        found = log_inner(a, other)
        value = float(found.phase) * math.exp(float(found.log_abs))
        np.testing.assert_allclose(value, expected, rtol=1e3 * CLOSE)
    with pytest.raises(ValueError, match="one shape and dtype"):
        log_inner(a, random_network(Structure.rank_one((2, 2)), DTYPE))


def test_contract_is_einsum_at_any_scale():
    x, y, z = (normal(shape, DTYPE, seed=n) for n, shape in enumerate([(2, 3), (3, 4), (3, 2)]))
    expected = np.einsum("ab,bc,bd->cd", x, y, z)
    np.testing.assert_allclose(contract("ab,bc,bd->cd", x, y, z), expected, rtol=1e3 * CLOSE)
    value = contract("ab,bc,bd->cd", x * 1e30, y * 1e30, z * 1e-20, log=True)
    assert 0.5 <= np.abs(value.mantissa).max() < 1
    found = np.asarray(value.mantissa) * math.exp(float(value.log_scale) - 40 * math.log(10))
    np.testing.assert_allclose(found, expected, rtol=1e4 * CLOSE)
    many = [np.asarray([[0.0, 1.0], [1.0, 1.0]], DTYPE)] * 30  # the 30th Fibonacci numbers
    labels = [(n, n + 1) for n in range(30)]
    found = contract((labels, (0, 30)), *many)
    np.testing.assert_allclose(found, [[514229, 832040], [832040, 1346269]], rtol=CLOSE)


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ab,bc", [(2, 2), (2, 2)], "name the output"),
        ("ab->a", [(2, 2), (2, 2)], "1 operands, but 2 are given"),
        ("aa->a", [(2, 2)], "none of them twice"),
        ("ab->a", [(2,)], "one label for each axis"),
        ("ab,bc->ac", [(2, 3), (2, 2)], "operand 1 has 2 entries along 'b', another one 3"),
        (([(0, 1)], (5,)), [(2, 2)], r"output \[5\]"),
    ],
)
def test_equations_that_do_not_fit_are_refused(equation, shapes, message):
    with pytest.raises(ValueError, match=message):
        contract(equation, *(np.ones(shape, DTYPE) for shape in shapes))


def test_dtypes_that_differ_are_refused():
    with pytest.raises(ValueError, match="int"):
        contract("a,a->", np.ones(2, DTYPE), np.ones(2, int))
