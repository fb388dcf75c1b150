"""Contractions in slices: the same values and gradients, within the memory that was allowed."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import opt_einsum
import pytest

from tests.helpers import by_precision, normal, random_network
from tnjax import MemoryLimitError, Structure
from tnjax.contract import contract, log_inner, log_norm
from tnjax.contract.equation import Equation, dense_equation, inner_equation
from tnjax.contract.path import plan, plan_along
from tnjax.contract.slices import find_slices

DTYPE = by_precision("float64", "float32")
CLOSE = by_precision(1e-12, 1e-4)
BYTES = np.dtype(DTYPE).itemsize


def equation_of(words: str, size: int) -> Equation:
    inputs, output = words.split("->")
    labels = [tuple(map(ord, word)) for word in inputs.split(",")]
    sizes = {label: size for word in labels for label in word}
    return Equation.create(labels, tuple(map(ord, output)), sizes)


# A tetrahedron; a batch of loops, whose output is cut too; a hyperedge.
CASES = {"abc,ade,bdf,cef->": 6, "xab,bcd,cdae->xe": 6, "abh,bch,cah,hd->d": 8}


@pytest.mark.parametrize("words", CASES)
@pytest.mark.parametrize("log", [False, True])
def test_slices_give_the_same_values_and_gradients(words, log):
    equation = equation_of(words, CASES[words])
    arrays = [
        jnp.asarray(normal([CASES[words]] * len(labels), DTYPE, seed=n))
        for n, labels in enumerate(equation.inputs)
    ]
    expected = opt_einsum.contract(words, *(np.asarray(x, np.float64) for x in arrays))
    given = sum(x.size for x in arrays) + expected.size
    limit = BYTES * (2 * given + 60 if log else given + (plan(equation).peak_size - given) // 3)

    def value(arrays):
        found = contract(words, *arrays, memory_limit=limit, log=log)
        return found.mantissa * jnp.exp(found.log_scale) if log else found

    @jax.jit
    def both(arrays):
        found, pull = jax.vjp(value, arrays)
        return found, pull(found)[0]

    found, gradients = both(arrays)
    np.testing.assert_allclose(found, expected, rtol=CLOSE, atol=CLOSE * np.abs(expected).max())
    for n, gradient in enumerate(gradients):
        inputs, output = words.split("->")
        rest = inputs.split(",")
        own = rest.pop(n)
        others = [np.asarray(x, np.float64) for k, x in enumerate(arrays) if k != n]
        exact = opt_einsum.contract(f"{','.join(rest)},{output}->{own}", *others, expected)
        np.testing.assert_allclose(gradient, exact, rtol=0, atol=CLOSE * np.abs(exact).max())


def test_compiled_programs_need_less_memory():
    words, size = "abc,ade,bdf,cef->", 16
    arrays = [jnp.asarray(normal([size] * 3, DTYPE, seed=n)) for n in range(4)]

    def needed(limit):
        loss = lambda arrays: contract(words, *arrays, memory_limit=limit)
        program = jax.jit(jax.grad(loss)).lower(arrays).compile()
        analysis = program.memory_analysis()
        return analysis and analysis.temp_size_in_bytes

    whole, part = needed(None), needed(BYTES * (5 * size**3 + 2000))
    if whole is None or part is None:
        pytest.skip("this backend does not tell what its programs need")
    assert part < whole / 8


def test_limits_hold_by_the_forecast_and_products_are_repeated_no_more_than_by_cotengra():
    """Slices of one path, each of the same largest value."""
    cotengra = pytest.importorskip("cotengra")
    graph = [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (2, 6), (2, 7), (3, 8), (3, 9), (4, 6)]
    graph += [(4, 8), (5, 7), (5, 9), (6, 9), (7, 8)]  # Petersen
    structure = Structure.from_edges((2,) * 10, dict.fromkeys(graph, 4))
    equation = inner_equation(structure)
    whole = plan(equation)
    given = sum(math.prod(equation.size_dict[x] for x in labels) for labels in equation.inputs)
    for part in (4, 64):
        limit = given + whole.peak_size // part
        slices = find_slices(equation, 1, limit, "It")
        assert slices is not None
        assert slices.peak_size <= limit < slices.peak_size * 16
        assert slices.count == math.prod(parts for _, parts in slices.parts)
        part = plan_along(slices.equation, slices.order)
        overhead = slices.count * part.flops / whole.flops
        tree = cotengra.array_contract_tree(
            equation.inputs, equation.output, equation.size_dict, optimize=slices.order
        )
        theirs = tree.slice(target_size=part.largest, seed=0)
        assert overhead <= 1.5 * theirs.total_flops() / tree.total_flops()


def test_networks_take_limits():
    structure = Structure.tensor_ring((3,) * 6, 4)
    a, b = (random_network(structure, DTYPE, seed=seed) for seed in (0, 1))
    limit = BYTES * 1900
    np.testing.assert_allclose(log_norm(a, memory_limit=limit), log_norm(a), rtol=CLOSE)
    found = log_inner(a, b, memory_limit=limit)
    np.testing.assert_allclose(found, log_inner(a, b), rtol=CLOSE)
    size = structure.num_params + 3**6
    assert plan(dense_equation(structure)).peak_size > size + 500
    limit = BYTES * (size + 500)
    np.testing.assert_allclose(a.to_dense(memory_limit=limit), a.to_dense(), atol=100 * CLOSE)


def test_scales_of_slices_may_differ():
    """Slices of sizes out of range, one of them zero."""
    scale = np.array([1e30, 0.0, 1e-30, 1e25], DTYPE)
    x, y = np.ones((4, 3), DTYPE), np.ones((3, 4), DTYPE)
    operands = [scale[:, None] * x, y, x, y, x * scale[:, None] ** 0]
    words = "ab,bc,cd,de,ef->af"
    operands[4] = np.ones((4, 4), DTYPE)
    limit = BYTES * 190
    found = contract(words, *operands, log=True, memory_limit=limit)
    whole = contract(words, *operands, log=True)
    np.testing.assert_allclose(found.mantissa, whole.mantissa, rtol=10 * CLOSE)
    np.testing.assert_allclose(found.log_scale, whole.log_scale, rtol=CLOSE)


def test_what_fits_is_not_cut_and_what_cannot_fit_is_refused():
    equation = equation_of("ab,bc->ac", 8)
    assert find_slices(equation, 8, 8 * 192, "It") is None
    with pytest.raises(MemoryLimitError, match=r"It would need 1.5 KiB.*alone take 1.5 KiB"):
        find_slices(equation, 8, 8 * 192 - 1, "It")
    # All operands together are hardly more than a part of a path: that would take 2^60 parts.
    ring = inner_equation(Structure.tensor_ring((3,) * 30, 4))
    given = sum(math.prod(ring.size_dict[x] for x in labels) for labels in ring.inputs)
    with pytest.raises(MemoryLimitError, match="million slices"):
        find_slices(ring, 1, given + 200, "It")
