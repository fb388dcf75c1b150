"""Paths of many operands: what may be searched for exactly, and what is known without a search."""

import itertools
import math

import numpy as np
import opt_einsum
import pytest

from tnjax import Structure
from tnjax.contract import path
from tnjax.contract.equation import Equation, environment_equation, inner_equation
from tnjax.contract.path import find_path, plan


def best_flops(equation):
    """By opt_einsum's dynamic programming."""
    letters = str(equation)
    sizes = {opt_einsum.get_symbol(n): size for n, (_, size) in enumerate(equation.sizes)}
    shapes = [tuple(sizes[x] for x in word) for word in letters.split("->")[0].split(",")]
    _, info = opt_einsum.contract_path(letters, *shapes, shapes=True, optimize="dp")
    return int(info.opt_cost)


def flops_of(equation, steps):
    """Counted as opt_einsum does: every index of a step, twice where one is summed."""
    operands, total, size = [frozenset(x) for x in equation.inputs], 0, equation.size_dict
    for i, j in steps:
        b, a = operands.pop(j), operands.pop(i)
        kept = frozenset(equation.output).union(*operands) & (a | b)
        total += math.prod(size[x] for x in a | b) * (2 if (a | b) - kept else 1)
        operands.append(kept)
    return total


@pytest.mark.parametrize("seed", range(6))
def test_a_star_needs_no_search_and_costs_no_more_than_the_best_path(seed):
    rng = np.random.default_rng(seed)
    leaves = 7
    sizes = {n: int(rng.integers(2, 6)) for n in range(2 * leaves)}
    inputs = [tuple(range(leaves))]
    for n in range(leaves):
        own = (leaves + n,) if rng.random() < 0.5 else ()
        inputs.append((n, *own))
    summed = set(range(leaves)) - {0}  # one index stays
    output = tuple(x for word in inputs[1:] for x in word if x not in summed)
    inputs.insert(3, inputs.pop(0))  # the hub is anywhere
    equation = Equation.create(inputs, output, sizes)
    assert path._star_path([frozenset(x) for x in inputs], equation) is not None
    assert flops_of(equation, find_path(equation)) <= best_flops(equation)


def test_a_tensor_of_many_small_modes_is_planned_at_once(monkeypatch):
    def searched(*_):
        raise AssertionError("searched for a path whose order is known")

    monkeypatch.setattr(opt_einsum.paths, "DynamicProgramming", searched)
    monkeypatch.setattr(path, "cotengra", None)
    modes = 24
    equation = environment_equation(Structure.rank_one((2,) * modes), (modes // 2,))
    # Each vector meets all entries that the ones before it left, with two flops for each.
    assert plan(equation).flops == sum(2 * 2**size for size in range(modes, 1, -1))


def test_no_exact_search_where_too_many_sets_of_operands_are_connected(monkeypatch):
    asked = []
    greedy = opt_einsum.paths.greedy
    monkeypatch.setattr(path, "cotengra", None)
    monkeypatch.setattr(
        opt_einsum.paths, "greedy", lambda *args: asked.append(len(args[0])) or greedy(*args)
    )
    modes = 16
    train = Structure.tensor_train((2,) * modes, 2)
    find_path(environment_equation(train, (7,)))  # the tensor touches every core
    find_path(inner_equation(Structure.fully_connected((5,) * 8, 2)))
    assert asked == [modes, 16]
    find_path(environment_equation(Structure.tensor_train((5,) * 9, 2), (4,)))
    assert asked == [modes, 16]


def test_connected_sets_are_counted():
    def connected(inputs, chosen):
        rest, seen = set(chosen[1:]), {chosen[0]}
        while True:
            near = {n for n in rest if any(inputs[n] & inputs[m] for m in seen)}
            if not near:
                return not rest
            rest, seen = rest - near, seen | near

    rng = np.random.default_rng(0)
    for _ in range(20):
        inputs = [frozenset(rng.integers(0, 7, size=2).tolist()) for _ in range(6)]
        sets = itertools.chain.from_iterable(
            itertools.combinations(range(6), size) for size in range(1, 7)
        )
        count = sum(connected(inputs, chosen) for chosen in sets)
        assert path._few_sets(inputs, count)
        assert not path._few_sets(inputs, count - 1)
