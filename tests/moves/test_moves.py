"""Moves: the tensor is kept where they are exact, inverses lead back, costs are what they say."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from tests.helpers import dense_oracle, random_cores, structures
from tnjax import Structure
from tnjax.moves import (
    Composite,
    Grow,
    Merge,
    MergeModes,
    Rerank,
    Shrink,
    Split,
    SplitMode,
    Swap,
    gauged,
    insert_node,
    reattach,
)

SQUARE = Structure.from_edges((3, 4, 2, 3), {(0, 1): 2, (1, 2): 3, (0, 2): 2, (2, 3): 2, (0, 3): 2})


def check(move, structure, exact=True):
    """Apply, compare with the structure alone, undo."""
    cores = random_cores(structure)
    before = dense_oracle(structure, cores)
    after, new = move.apply(structure, cores)
    assert after == move.after(structure)
    assert tuple(core.shape for core in new) == tuple(
        after.core_shape(node) for node in range(after.num_nodes)
    )
    assert move.cost(structure) == after.num_params - structure.num_params
    back = move.inverse(structure)
    assert back.after(after) == structure
    assert back.cost(after) == -move.cost(structure)
    again, old = back.apply(after, new)
    assert again == structure
    if exact:
        for s, c in ((after, new), (again, old)):
            np.testing.assert_allclose(
                dense_oracle(s, c).reshape(before.shape), before, atol=1e-9 * np.abs(before).max()
            )


def some_nodes(rng, structure):
    count = rng.integers(2, min(3, structure.num_nodes) + 1)
    return tuple(sorted(rng.choice(structure.num_nodes, count, replace=False).tolist()))


@hypothesis.settings(max_examples=12)
@hypothesis.given(structure=structures(min_order=2, max_dim=3), seed=st.integers(0, 99))
def test_ranks_move_and_move_back(structure, seed):
    hypothesis.assume(structure.num_nodes > 1)
    rng = np.random.default_rng(seed)
    cores = random_cores(structure)
    new = some_nodes(rng, structure)
    grow = Grow(new, int(rng.integers(1, 3)))
    check(grow, structure)
    rerank = Rerank(((new, 3), (some_nodes(rng, structure), 2)))
    check(rerank, structure, exact=False)
    after, grown = rerank.apply(structure, cores)
    if all(after.rank(e) >= r for e, r in structure.edges.items()):
        np.testing.assert_allclose(dense_oracle(after, grown), dense_oracle(structure, cores))
    for edge, rank in structure.edges.items():
        check(Shrink(edge, int(rng.integers(1, rank))), structure, exact=False)
        if new != edge:
            check(Swap(edge, new), structure, exact=False)


@hypothesis.settings(max_examples=12)
@hypothesis.given(structure=structures(min_order=2, max_dim=3), seed=st.integers(0, 99))
def test_any_two_nodes_merge_and_split_again(structure, seed):
    hypothesis.assume(structure.num_nodes > 1)
    a, b = np.random.default_rng(seed).permutation(structure.num_nodes)[:2].tolist()
    move = Merge(a, b)
    if not any({a, b} < set(edge) for edge in structure.edges):
        check(move, structure)
        return
    cores = random_cores(structure)
    after, new = move.apply(structure, cores)
    before = dense_oracle(structure, cores)
    np.testing.assert_allclose(dense_oracle(after, new), before, atol=1e-9)
    with pytest.raises(ValueError, match="hyperedge"):
        move.inverse(structure)


@pytest.mark.parametrize(
    "move",
    [
        Split(0, (0,), rank=3),
        Split(0, bonds=((0, 1), (0, 2)), rank=4),
        Split(1, bonds=((1, 2),), rank=3, at=0),
        Split(0, (0,), ((0, 1),), (((0, 2), 1, 2),), rank=2),
        insert_node(SQUARE, (1, 2)),
        reattach(SQUARE, 1, 3),
        reattach(SQUARE, 0, 1),
        SplitMode(1, (2, 2)),
        Composite((SplitMode(1, (2, 2)), Merge(0, 3))),
    ],
)
def test_nodes_and_modes_change_exactly(move):
    check(move, SQUARE)


def test_modes_merge_where_their_nodes_did():
    structure, cores = Merge(0, 1).apply(SQUARE, random_cores(SQUARE))
    move = MergeModes(0)
    after, new = move.apply(structure, cores)
    assert after.dims == (12, 2, 3)
    np.testing.assert_allclose(
        dense_oracle(after, new).reshape(SQUARE.dims), dense_oracle(structure, cores)
    )
    assert move.inverse(structure).after(after) == structure


def test_a_split_leaves_out_what_its_singular_values_say():
    train = Structure.tensor_train((3, 4, 4, 3), (3, 4, 3))
    cores = gauged(train, random_cores(train), 1)
    tensor = dense_oracle(train, cores)
    matrix = cores[1].transpose(1, 0, 2).reshape(3, -1)  # the bond that stays by what goes
    tails = np.linalg.svd(matrix, compute_uv=False)
    after, new = Split(1, (1,), ((1, 2),), rank=2).apply(train, cores)
    error = np.linalg.norm(dense_oracle(after, new) - tensor)
    np.testing.assert_allclose(error, tails[2], rtol=1e-9)


@hypothesis.settings(max_examples=12)
@hypothesis.given(structure=structures(max_dim=3))
def test_a_gauge_keeps_the_tensor(structure):
    cores = random_cores(structure)
    before = dense_oracle(structure, cores)
    for node in range(structure.num_nodes):
        after = dense_oracle(structure, gauged(structure, cores, node))
        np.testing.assert_allclose(after, before, atol=1e-9)


def test_opening_a_hyperedge_adds_a_cp_term():
    start = Structure.rank_one((3, 4, 2))
    cores = random_cores(start)
    term = random_cores(start, seed=1)
    structure, grown = Grow((0, 1, 2), 1, (term,)).apply(start, cores)
    assert structure == Structure.cp((3, 4, 2), 2)
    expected = dense_oracle(start, cores) + dense_oracle(start, term)
    np.testing.assert_allclose(dense_oracle(structure, grown), expected)


@pytest.mark.parametrize(
    ("move", "what"),
    [
        (Split(0, rank=0, bonds=((0, 1),)), "rank of bond"),
        (Split(0, bonds=((1, 2),)), "does not have"),
        (Split(0, shared=(((0, 1), 2, 2),)), "cannot be divided"),
        (Merge(1, 1), "expected two nodes"),
        (MergeModes(0), "not on one node"),
        (SplitMode(0, (2, 2)), "do not multiply"),
        (Shrink((0, 1), 2), "smallest rank is 1"),
    ],
)
def test_moves_that_do_not_fit_are_refused(move, what):
    with pytest.raises(ValueError, match=what):
        move.after(SQUARE)
