"""Contraction: kernels against NumPy, plans against independent counts, memory forecasts."""

import itertools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import opt_einsum
import pytest
from hypothesis import given, settings

from tests.helpers import (
    dense_oracle,
    environment_oracle,
    jacobian_oracle,
    normal,
    random_cores,
    random_network,
    structures,
    wide,
)
from tnjax import MemoryLimitError, Structure, TensorNetwork, contraction_cost
from tnjax.contract import kernels, path
from tnjax.contract.cost import cost, format_bytes, parse_bytes
from tnjax.contract.equation import (
    Equation,
    dense_equation,
    entries_equation,
    environment_equation,
    gram_equation,
    inner_equation,
)


@pytest.fixture(scope="module", autouse=True)
def strict_promotion():
    """Not a global setting: optax's own updates need promotion."""
    with jax.numpy_dtype_promotion("strict"):
        yield


few = settings(max_examples=15)
dtypes = st.sampled_from(["float64", "complex128"])

MIXED = Structure.from_edges(
    (3, 2, 4, 3),
    {(0, 1): 2, (0, 2, 3): 3, (1, 3): 2, (2, 3): 2},
    legs=[(0, 2), (1,), (3,), ()],
)


def arrays(cores):
    return tuple(jnp.asarray(core) for core in cores)


def assert_close(found, expected, dtype="float64"):
    assert found.dtype == dtype
    assert found.shape == expected.shape
    scale = max(np.abs(expected).max(initial=0), 1.0)
    bound = 1e3 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(wide(found), expected, rtol=bound, atol=bound * scale)


@st.composite
def node_groups(draw, structure, size):
    nodes = st.sampled_from(range(structure.num_nodes))
    return tuple(draw(st.lists(nodes, min_size=size, max_size=size, unique=True)))


@few
@given(structures(), dtypes)
def test_dense_is_the_sum_over_all_bonds(structure, dtype):
    cores = random_cores(structure, dtype)
    found = kernels.dense(structure, arrays(cores))
    assert_close(found, dense_oracle(structure, cores), dtype)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("seed", range(4))
def test_thin_last_products_are_written_in_their_final_order(seed, dtype, monkeypatch, override):
    """Modes in random order, so that the last product is not that of the dense tensor; the
    gradient too."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(5).tolist()
    ranks = rng.integers(2, 4, 4).tolist()
    pairs = itertools.pairwise(order)
    edges = {tuple(sorted(pair)): rank for pair, rank in zip(pairs, ranks, strict=True)}
    structure = Structure.from_edges((3, 4, 2, 5, 3), edges)
    cores = random_cores(structure, dtype, seed)
    taken = []
    real = kernels._thin_product
    monkeypatch.setattr(kernels, "_thin_product", lambda *a: taken.append(1) or real(*a))
    loss = lambda cores: jnp.sum(jnp.abs(kernels.dense(structure, cores)) ** 3)
    plain, slope = kernels.dense(structure, arrays(cores)), jax.grad(loss)(arrays(cores))
    assert not taken
    override({"kernels.large": 1})
    thin, thin_slope = kernels.dense(structure, arrays(cores)), jax.grad(loss)(arrays(cores))
    assert len(taken) == 2
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-10}
    np.testing.assert_allclose(plain, thin, **tolerance)
    assert_close(thin, dense_oracle(structure, cores), dtype)
    for one, other in zip(slope, thin_slope, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3 if dtype == "float32" else 1e-9, atol=1e-3)


@few
@given(structures(), dtypes, st.data())
def test_entries_are_those_of_the_dense_tensor(structure, dtype, data):
    cores = random_cores(structure, dtype)
    row = st.tuples(*(st.integers(0, dim - 1) for dim in structure.dims))
    rows = np.array(data.draw(st.lists(row, min_size=5, max_size=5)))
    found = kernels.entries(structure, arrays(cores), jnp.asarray(rows))
    assert_close(found, dense_oracle(structure, cores)[tuple(rows.T)], dtype)


@few
@given(structures(), dtypes)
def test_inner_conjugates_its_left_network(structure, dtype):
    left, right = random_cores(structure, dtype, seed=0), random_cores(structure, dtype, seed=1)
    expected = np.vdot(dense_oracle(structure, left), dense_oracle(structure, right))
    assert_close(kernels.inner(structure, arrays(left), arrays(right)), expected, dtype)


@few
@given(structures(), dtypes, st.data())
def test_environment_of_one_node_has_the_shape_of_its_core(structure, dtype, data):
    (node,) = data.draw(node_groups(structure, 1))
    cores, tensor = random_cores(structure, dtype), normal(structure.dims, dtype, seed=7)
    found = kernels.environment(structure, arrays(cores), (node,), jnp.asarray(tensor))
    assert_close(found, environment_oracle(structure, cores, (node,), tensor), dtype)
    assert found.shape == structure.core_shape(node)
    whole = np.vdot(dense_oracle(structure, cores), tensor)
    np.testing.assert_allclose(np.vdot(cores[node], found), whole, rtol=1e-10, atol=1e-10)


@few
@given(structures().filter(lambda s: s.num_nodes > 1), dtypes, st.data())
def test_environment_of_a_pair_holds_the_axes_of_both(structure, dtype, data):
    pair = data.draw(node_groups(structure, 2))
    cores, tensor = random_cores(structure, dtype), normal(structure.dims, dtype, seed=7)
    found = kernels.environment(structure, arrays(cores), pair, jnp.asarray(tensor))
    assert_close(found, environment_oracle(structure, cores, pair, tensor), dtype)


@few
@given(structures(), dtypes, st.integers(1, 2), st.data())
def test_gram_is_the_jacobian_times_its_adjoint(structure, dtype, size, data):
    nodes = data.draw(node_groups(structure, min(size, structure.num_nodes)))
    cores = random_cores(structure, dtype)
    jacobian = jacobian_oracle(structure, cores, nodes)
    found = kernels.gram(structure, arrays(cores), nodes)
    assert_close(found, jacobian.conj().T @ jacobian, dtype)


@few
@given(structures(max_rank=2), dtypes)
def test_layers_give_the_gram_matrices_of_all_nodes_at_once(structure, dtype):
    cores = arrays(random_cores(structure, dtype))
    pairs = kernels.layers(structure, cores, cores)
    for node, found in enumerate(kernels.layer_grams(structure, pairs)):
        jacobian = jacobian_oracle(structure, cores, (node,))
        gram = jacobian.conj().T @ jacobian
        assert_close(found, gram, dtype)
        assert_close(kernels.layered_gram(structure, pairs, (node,)), gram, dtype)


@few
@given(structures(max_rank=2), dtypes, st.data())
def test_environments_and_grams_come_from_those_of_more_nodes(structure, dtype, data):
    more = data.draw(node_groups(structure, data.draw(st.integers(1, structure.num_nodes))))
    nodes = data.draw(st.lists(st.sampled_from(more), min_size=1, unique=True).map(tuple))
    cores, tensor = random_cores(structure, dtype), normal(structure.dims, dtype, seed=7)
    given = arrays(cores)
    first = kernels.environment(structure, given, more, jnp.asarray(tensor))
    found = kernels.environment(structure, given, nodes, first, given=more)
    assert_close(found, environment_oracle(structure, cores, nodes, tensor), dtype)
    pairs = kernels.layers(structure, given, given)
    first = kernels.layered_gram(structure, pairs, more)
    found = kernels.layered_gram(structure, pairs, nodes, given=more, gram=first)
    jacobian = jacobian_oracle(structure, cores, nodes)
    assert_close(found, jacobian.conj().T @ jacobian, dtype)


@few
@given(structures(), dtypes, st.data())
def test_jacobian_is_the_derivative_by_a_core(structure, dtype, data):
    (node,) = data.draw(node_groups(structure, 1))
    cores = random_cores(structure, dtype)
    found = kernels.jacobian(structure, arrays(cores), node)
    assert_close(found, jacobian_oracle(structure, cores, (node,)), dtype)
    legs, order = structure.legs[node], len(structure.dims)
    tensor = np.moveaxis(dense_oracle(structure, cores), legs, range(order - len(legs), order))
    bonds = cores[node].reshape(-1, found.shape[1])
    np.testing.assert_allclose(
        (np.asarray(found) @ bonds.T).ravel(), tensor.ravel(), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("dims", [(3,), (3, 4)])
def test_kernels_keep_the_dtype_when_no_core_is_left(dims, dtype):
    structure = Structure.tensor_train(dims, 2)
    cores = arrays(random_cores(structure, dtype))
    everything = tuple(range(len(dims)))
    assert kernels.gram(structure, cores, everything).dtype == dtype
    one = Structure.rank_one((3,))
    assert kernels.jacobian(one, arrays(random_cores(one, dtype)), 0).dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_kernels_under_jit_agree_with_numpy(dtype):
    cores, tensor = random_cores(MIXED, dtype), normal(MIXED.dims, dtype, seed=7)
    given, other = arrays(cores), arrays(random_cores(MIXED, dtype, seed=1))
    for nodes in [(0,), (3,), (0, 2), (3, 1)]:
        environment = kernels.environment_jit(MIXED, given, nodes, jnp.asarray(tensor))
        assert_close(environment, environment_oracle(MIXED, cores, nodes, tensor), dtype)
        jacobian = jacobian_oracle(MIXED, cores, nodes)
        gram = kernels.gram_jit(MIXED, given, nodes)
        assert_close(gram, jacobian.conj().T @ jacobian, dtype)
    dense = dense_oracle(MIXED, cores)
    assert_close(kernels.dense_jit(MIXED, given), dense, dtype)
    inner = np.vdot(dense, dense_oracle(MIXED, other))
    assert_close(kernels.inner_jit(MIXED, given, other), np.asarray(inner), dtype)
    rows = np.array([[0, 0, 0, 0], [2, 1, 3, 2]])
    found = kernels.entries_jit(MIXED, given, jnp.asarray(rows))
    assert_close(found, dense[tuple(rows.T)], dtype)


def test_environments_map_over_a_batch_of_tensors():
    cores, tensors = random_cores(MIXED), normal((3, *MIXED.dims))
    found = jax.vmap(lambda x: kernels.environment(MIXED, arrays(cores), (0, 1), x))(tensors)
    expected = [environment_oracle(MIXED, cores, (0, 1), tensor) for tensor in tensors]
    assert_close(found, np.stack(expected))


def test_equation_prints_as_an_einsum():
    structure = Structure.tensor_train((4, 5, 6), 2)
    assert str(dense_equation(structure)) == "ad,bde,ce->abc"
    cores = random_cores(structure)
    np.testing.assert_allclose(
        np.einsum(str(dense_equation(structure)), *cores), dense_oracle(structure, cores)
    )


def matrix_product(rows, inner, columns) -> Equation:
    return Equation.create([(0, 2), (2, 1)], (0, 1), {0: rows, 1: columns, 2: inner})


def test_forecast_of_a_matrix_product():
    found = path.plan(matrix_product(30, 40, 50))
    assert found.flops == 2 * 30 * 40 * 50
    assert found.peak_size == 30 * 40 + 40 * 50 + 30 * 50
    assert found.largest == 40 * 50
    assert len(found.steps) == 1


def test_forecast_of_an_outer_product_counts_no_additions():
    found = path.plan(dense_equation(Structure.rank_one((30, 40))))
    assert found.flops == 30 * 40


def test_forecast_of_a_matrix_chain():
    structure = Structure.tensor_train((10, 20, 30), (2, 3))
    left_first = 2 * 10 * 2 * 20 * 3 + 2 * 10 * 20 * 3 * 30
    right_first = 2 * 2 * 20 * 3 * 30 + 2 * 10 * 2 * 20 * 30
    found = contraction_cost(structure, "float32")
    assert found.flops == min(left_first, right_first)
    cores = 10 * 2 + 20 * 2 * 3 + 30 * 3
    assert right_first < left_first
    assert found.peak_bytes == 4 * (cores + 2 * 20 * 30 + 10 * 20 * 30)
    assert contraction_cost(structure, "complex128").peak_bytes == 4 * found.peak_bytes


def test_forecast_of_a_batch_is_that_many_times_one():
    equation = dense_equation(MIXED)
    one, many = cost(equation, "float64"), cost(equation, "float64", batch=5)
    assert (many.flops, many.peak_bytes) == (5 * one.flops, 5 * one.peak_bytes)


@given(structures())
def test_peak_holds_operands_and_result(structure):
    found = path.plan(dense_equation(structure))
    size = int(np.prod(structure.dims))
    together = structure.num_params + (size if structure.num_nodes > 1 else 0)
    assert found.peak_size >= together
    assert len(found.steps) == structure.num_nodes - 1


FIXED = {
    "train": Structure.tensor_train((4, 3, 5, 2), (2, 3, 2)),
    "ring": Structure.tensor_ring((4, 3, 5, 2, 3), (2, 3, 2, 4, 3)),
    "tucker": Structure.tucker((4, 3, 5), (2, 3, 2)),
    "full": Structure.fully_connected((3, 4, 3, 2), (2, 3, 2, 2, 3, 2)),
    "peps": Structure.peps((2, 3, 2, 3, 2, 3), (2, 3), 2),
    "hierarchical": Structure.hierarchical_tucker((4, 4, 4, 4), 3),
    "mixed": MIXED,
}


def optimal_flops(equation: Equation) -> int:
    sizes = equation.size_dict
    shapes = [tuple(sizes[label] for label in labels) for labels in equation.inputs]
    _, found = opt_einsum.contract_path(str(equation), *shapes, shapes=True, optimize="optimal")
    return int(found.opt_cost)


@pytest.mark.parametrize("name", FIXED)
def test_dense_paths_are_optimal(name):
    equation = dense_equation(FIXED[name])
    assert path.plan(equation).flops == optimal_flops(equation)


@pytest.mark.parametrize("name", ["train", "tucker", "mixed"])
def test_other_paths_are_optimal(name):
    structure = FIXED[name]
    for equation in (
        inner_equation(Structure.tensor_train(structure.dims[:3], 2)),
        environment_equation(structure, (0,)),
        environment_equation(structure, (0, 1)),
        gram_equation(structure, (0,)),
    ):
        assert path.plan(equation).flops == optimal_flops(equation)


def least_flops(equation: Equation) -> int:
    """Every pairwise order, by brute force; no outer product while something is connected."""
    sizes, output = equation.size_dict, frozenset(equation.output)
    size = lambda labels: int(np.prod([sizes[x] for x in labels], dtype=np.int64))

    def best(operands: tuple[frozenset, ...]) -> int:
        if len(operands) == 1:
            return 0
        pairs = list(itertools.combinations(range(len(operands)), 2))
        pairs = [(i, j) for i, j in pairs if operands[i] & operands[j]] or pairs
        options = []
        for i, j in pairs:
            rest = tuple(x for k, x in enumerate(operands) if k not in (i, j))
            union = operands[i] | operands[j]
            kept = union & output.union(*rest)
            options.append((2 if union - kept else 1) * size(union) + best((*rest, kept)))
        return min(options)

    return best(tuple(map(frozenset, equation.inputs)))


@given(structures(max_internal=1))
def test_random_dense_paths_are_optimal_among_connected_ones(structure):
    equation = dense_equation(structure)
    assert path.plan(equation).flops == least_flops(equation)


@pytest.fixture
def without_cotengra(monkeypatch):
    monkeypatch.setattr(path, "cotengra", None)
    path.plan.cache_clear()
    yield
    path.plan.cache_clear()


def test_paths_without_cotengra_cost_the_same(without_cotengra):
    equations = [dense_equation(structure) for structure in FIXED.values()]
    equations += [inner_equation(structure) for structure in FIXED.values()]
    found = [path.plan(equation).flops for equation in equations]
    path.plan.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(path, "cotengra", pytest.importorskip("cotengra"))
        assert [path.plan(equation).flops for equation in equations] == found


@pytest.mark.parametrize("name", ["ring", "mixed"])
def test_values_without_cotengra_are_the_same(name, without_cotengra):
    structure = FIXED[name]
    cores = random_cores(structure)
    assert_close(kernels.dense(structure, arrays(cores)), dense_oracle(structure, cores))
    inner = kernels.inner(structure, arrays(cores), arrays(cores))
    np.testing.assert_allclose(inner, np.linalg.norm(dense_oracle(structure, cores)) ** 2)


def chain_entry(cores, row) -> float:
    state = np.ones((1,))
    for k, (core, index) in enumerate(zip(cores, row, strict=True)):
        matrix = core[index]
        if matrix.ndim == 1:
            matrix = matrix[None, :] if k == 0 else matrix[:, None]
        state = state @ matrix
    return state.item()


def assert_long_train_is_right(length):
    structure = Structure.tensor_train((2,) * length, 2)
    network = random_network(structure)
    rows = np.random.default_rng(0).integers(0, 2, (3, length))
    expected = [chain_entry(network.cores, row) for row in rows]
    np.testing.assert_allclose(network.entries(rows), expected, rtol=1e-10)
    assert path.plan(entries_equation(structure, 3)).largest <= 3 * 2 * 2


def test_more_cores_than_the_exact_search_takes():
    assert_long_train_is_right(24)


def test_more_cores_than_the_exact_search_takes_without_cotengra(without_cotengra):
    assert_long_train_is_right(25)


def test_plans_are_found_once_for_equal_structures():
    make = lambda: dense_equation(Structure.tensor_ring((5, 4, 3, 7), 2))
    first = path.plan(make())
    hits = path.plan.cache_info().hits
    assert path.plan(make()) is first
    assert path.plan.cache_info().hits == hits + 1


@pytest.fixture
def nothing_runs(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a contraction was started")

    monkeypatch.setattr(kernels, "dense_jit", refuse)


@pytest.mark.parametrize(
    ("dims", "needed"), [((1000,) * 6, "TiB"), ((1000,) * 3, "GiB"), ((1000,) * 110, "B")]
)
def test_a_huge_tensor_is_refused_before_anything_is_allocated(dims, needed, nothing_runs):
    cores = [np.ones(dim, np.float32) for dim in dims]
    network = TensorNetwork(Structure.rank_one(dims), cores)
    message = f"dense tensor would need .*{needed}, more than the memory limit of 1 GiB"
    with pytest.raises(MemoryLimitError, match=message):
        network.to_dense(memory_limit=2**30)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1000000", 10**6),
        (4096, 4096),
        ("512MiB", 512 * 2**20),
        (" 2 GB ", 2 * 10**9),
        ("4g", 4 * 2**30),
        ("1.5KiB", 1536),
        ("7B", 7),
        ("1e3 kb", 10**6),
        ("3tib", 3 * 2**40),
    ],
)
def test_sizes_are_read(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "MiB", "0", "-1GiB", "0.5", "1 PiB", "12 apples", "inf", "nan", "1e30", "1 2 MB"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="expected a size such as 512MiB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (512 * 2**20, "512 MiB"),
        (2**30, "1 GiB"),
        (5 * 2**40, "5 TiB"),
        (3000 * 2**40, "3000 TiB"),
    ],
)
def test_sizes_are_written(count, text):
    assert format_bytes(count) == text


@given(st.integers(1, 2**50))
def test_sizes_that_are_written_are_read_back(count):
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=1e-3)
