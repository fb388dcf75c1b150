"""Structures: constructors, counts, changes, errors, files, canonical form."""

import copy
import dataclasses
import itertools
import json
import pickle

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.helpers import relabelings, structures
from tnjax import Structure, _canonical

RING = Structure.from_edges((4, 5, 6), {(0, 1): 2, (1, 2): 3, (0, 2): 2})

NAMED = {
    "rank_one": (Structure.rank_one((4, 5, 6)), {}, 15),
    "tensor_train": (
        Structure.tensor_train((4, 5, 6, 7), (2, 3, 4)),
        {(0, 1): 2, (1, 2): 3, (2, 3): 4},
        4 * 2 + 2 * 5 * 3 + 3 * 6 * 4 + 4 * 7,
    ),
    "tensor_ring": (
        Structure.tensor_ring((4, 5, 6, 7), (2, 3, 4, 5)),
        {(0, 1): 2, (1, 2): 3, (2, 3): 4, (0, 3): 5},
        5 * 4 * 2 + 2 * 5 * 3 + 3 * 6 * 4 + 4 * 7 * 5,
    ),
    "tucker": (
        Structure.tucker((4, 5, 6), (2, 3, 4)),
        {(0, 3): 2, (1, 3): 3, (2, 3): 4},
        4 * 2 + 5 * 3 + 6 * 4 + 2 * 3 * 4,
    ),
    "cp": (Structure.cp((4, 5, 6), 3), {(0, 1, 2): 3}, 3 * (4 + 5 + 6)),
    "fully_connected": (
        Structure.fully_connected((4, 5, 6), (2, 3, 4)),
        {(0, 1): 2, (0, 2): 3, (1, 2): 4},
        4 * 2 * 3 + 5 * 2 * 4 + 6 * 3 * 4,
    ),
    "hierarchical_tucker": (
        Structure.hierarchical_tucker((3, 4, 5, 6), (2, 3, 4, 5, 6)),
        {(4, 5): 2, (0, 4): 3, (1, 4): 4, (2, 5): 5, (3, 5): 6},
        3 * 3 + 4 * 4 + 5 * 5 + 6 * 6 + 2 * 3 * 4 + 2 * 5 * 6,
    ),
    "hierarchical_tucker of three": (
        Structure.hierarchical_tucker((3, 4, 5), (2, 3, 4)),
        {(2, 3): 2, (0, 3): 3, (1, 3): 4},
        3 * 3 + 4 * 4 + 5 * 2 + 2 * 3 * 4,
    ),
    "peps": (
        Structure.peps((2, 3, 4, 5, 6, 7), (2, 3), (2, 3, 4, 5, 6, 7, 8)),
        {(0, 1): 2, (1, 2): 3, (3, 4): 4, (4, 5): 5, (0, 3): 6, (1, 4): 7, (2, 5): 8},
        2 * 2 * 6 + 3 * 2 * 3 * 7 + 4 * 3 * 8 + 5 * 4 * 6 + 6 * 4 * 5 * 7 + 7 * 5 * 8,
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_named_structures_have_their_bonds_and_parameters(name):
    structure, edges, params = NAMED[name]
    assert dict(structure.edges) == edges
    assert structure.num_params == params
    assert structure.ranks == tuple(structure.edges.values())


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (Structure.tensor_train, 3),
        (Structure.tensor_ring, 4),
        (Structure.fully_connected, 6),
        (Structure.tucker, 4),
        (Structure.hierarchical_tucker, 5),
    ],
)
def test_one_integer_stands_for_all_ranks(make, count):
    dims = (3, 3, 3, 3)
    assert make(dims, 2) == make(dims, (2,) * count)
    with pytest.raises(ValueError, match=rf"expected {count} ranks .* got {count + 1}"):
        make(dims, (2,) * (count + 1))


@pytest.mark.parametrize("dims", [(5,), (5, 6)])
def test_named_structures_of_one_and_two_modes(dims):
    params = 5 if len(dims) == 1 else 2 * (5 + 6)
    assert Structure.tensor_train(dims, 2).num_params == params
    assert Structure.cp(dims, 2).num_params == params
    assert Structure.fully_connected(dims, 2).num_params == params
    assert Structure.hierarchical_tucker(dims, 2).num_params == params


def test_ranks_of_a_known_benchmark():
    assert Structure.tucker((7,) * 5, (2, 3, 4, 3, 2)).num_params == 242
    assert Structure.tensor_train((7,) * 5, (2, 3, 6, 5)).num_params == 427
    assert Structure.tensor_ring((7,) * 5, (2, 3, 4, 5, 5)).num_params == 511
    triangle = {(0, 1): 5, (1, 2): 2, (2, 3): 5, (1, 4): 2, (2, 4): 2}
    assert Structure.from_edges((7,) * 5, triangle).num_params == 378


def test_compression_ratio_is_dense_entries_over_parameters():
    assert RING.compression_ratio == pytest.approx(120 / 82)


def test_a_structure_too_large_for_a_float_still_prints():
    structure = Structure.tensor_train((2,) * 1100, 2)
    assert structure.num_params == 2 * 4 + 1098 * 8
    assert repr(structure).startswith("Structure(dims=2x2x")


def test_rank_one_bonds_are_dropped():
    structure = Structure.from_edges((4, 5, 6), {(0, 1): 1, (1, 2): 2})
    assert dict(structure.edges) == {(1, 2): 2}
    assert structure == Structure.from_edges((4, 5, 6), {(1, 2): 2})
    assert structure.rank((0, 1)) == 1


def test_an_internal_node_stays_when_its_bonds_are_dropped():
    structure = Structure.from_edges((4, 5), {(0, 2): 1, (1, 2): 1})
    assert structure.num_nodes == 3
    assert structure.core_shape(2) == ()
    assert structure.num_params == 4 + 5 + 1


def test_bonds_are_sorted_and_named_by_sorted_nodes():
    structure = Structure.from_edges((4, 5, 6), {(2, 1): 3, (2, 0, 1): 5, (1, 0): 2})
    assert list(structure.edges.items()) == [((0, 1), 2), ((0, 1, 2), 5), ((1, 2), 3)]


def test_hyperedge_is_one_axis_of_every_node_on_it():
    structure = Structure.from_edges((4, 5, 6, 7), {(0, 1, 3): 2, (0, 1): 3, (2, 3): 4})
    assert [structure.core_shape(k) for k in range(4)] == [
        (4, 3, 2),
        (5, 3, 2),
        (6, 4),
        (7, 2, 4),
    ]
    assert structure.core_edges(3) == ((0, 1, 3), (2, 3))
    assert structure.axis(3, (2, 3)) == 2
    assert structure.axis(1, (3, 0, 1)) == 2
    assert structure.degree(0) == 2
    assert structure.rank((3, 1, 0)) == 2


def test_several_legs_on_a_node_come_first_in_mode_order():
    structure = Structure.from_edges((2, 3, 4), {(0, 1): 5}, legs=[(2, 0), (1,)])
    assert structure.legs == ((0, 2), (1,))
    assert structure.core_shape(0) == (2, 4, 5)
    assert structure.num_params == 2 * 4 * 5 + 3 * 5


def test_nodes_past_the_dims_are_internal():
    assert Structure.from_edges((4, 5), {(0, 3): 2, (1, 3): 2}).legs == ((0,), (1,), (), ())
    assert Structure.from_edges((4, 5), {}, num_nodes=3).legs == ((0,), (1,), ())


def test_grow_starts_a_bond_at_rank_two():
    assert RING.grow((1, 0)).edges[0, 1] == 3
    assert RING.grow((2, 1), by=4).edges[1, 2] == 7
    assert Structure.rank_one((4, 5)).grow((0, 1)).edges[0, 1] == 2
    assert Structure.rank_one((4, 5, 6)).grow((0, 1, 2)) == Structure.cp((4, 5, 6), 2)
    assert RING.edges[0, 1] == 2


def test_shrink_to_rank_one_removes_the_bond():
    assert (0, 1) not in RING.shrink((0, 1)).edges
    assert RING.shrink((1, 2), by=2) == RING.with_rank((1, 2), 1)


@given(structures(min_order=2), st.integers(1, 3), st.data())
def test_shrink_undoes_grow(structure, by, data):
    nodes = st.sampled_from(range(structure.num_nodes))
    if structure.num_nodes < 2:
        return
    edge = data.draw(st.lists(nodes, min_size=2, max_size=3, unique=True))
    grown = structure.grow(edge, by)
    assert grown.rank(edge) == structure.rank(edge) + by
    assert grown.num_params > structure.num_params
    assert grown.shrink(edge, by) == structure


@given(structures())
def test_parameters_are_counted_over_nodes(structure):
    total = 0
    for node, legs in enumerate(structure.legs):
        size = 1
        for mode in legs:
            size *= structure.dims[mode]
        for edge, rank in structure.edges.items():
            size *= rank if node in edge else 1
        total += size
    assert structure.num_params == total


JSON = json.loads(RING.to_json())


def damaged(**changes) -> str:
    return json.dumps({**JSON, **changes})


ERRORS = {
    "loop": (lambda: Structure.from_edges((2, 3), {(0, 0): 2}), "two or more different nodes"),
    "one node": (lambda: Structure.from_edges((2, 3), {(0,): 2}), "two or more different nodes"),
    "node twice": (lambda: RING.grow((0, 1, 1)), "two or more different nodes"),
    "negative node": (
        lambda: Structure.from_edges((2, 3), {(-1, 0): 2}),
        r"\(-1, 0\) names a node outside 0\.\.1",
    ),
    "unknown node": (
        lambda: Structure.from_edges((2, 3), {(0, 2): 2}, legs=[(0,), (1,)]),
        r"\(0, 2\) names a node outside 0\.\.1",
    ),
    "same bond twice": (
        lambda: Structure.from_edges((2, 3), {(0, 1): 2, (1, 0): 2}),
        r"Two bonds join the nodes \(0, 1\)",
    ),
    "fractional node": (
        lambda: Structure.from_edges((2, 3), {(0.5, 1): 2}),
        "0.5",
    ),
    "fractional leg": (lambda: Structure((2, 3), ((0,), (1.5,)), {}), "1.5"),
    "rank 0": (lambda: Structure.from_edges((2, 3), {(0, 1): 0}), r"rank of bond \(0, 1\).*got 0"),
    "rank -1": (lambda: RING.with_rank((0, 1), -1), "expected positive integers, got -1"),
    "dim 0": (lambda: Structure.rank_one((2, 0)), "dims: expected positive integers, got 0"),
    "mode missing": (lambda: Structure((2, 3), ((0,),), {}), r"carry the modes \[0\]"),
    "mode twice": (lambda: Structure((2, 3), ((0, 1), (1,)), {}), "exactly one node"),
    "mode unknown": (lambda: Structure((2, 3), ((0,), (1, 2)), {}), "exactly one node"),
    "rank of unknown": (lambda: RING.rank((0, 3)), r"outside 0\.\.2"),
    "grow unknown": (lambda: RING.grow((0, 3)), r"outside 0\.\.2"),
    "shrink unknown": (lambda: RING.shrink((-1, 1)), r"outside 0\.\.2"),
    "grow by 0": (lambda: RING.grow((0, 1), by=0), "by: expected positive integers, got 0"),
    "shrink by 0": (lambda: RING.shrink((0, 1), by=0), "by: expected positive integers, got 0"),
    "shrink below 1": (lambda: RING.shrink((0, 1), by=2), "the smallest rank is 1"),
    "shrink no bond": (
        lambda: Structure.rank_one((2, 3)).shrink((0, 1)),
        r"Cannot take 1 from the rank 1 of bond \(0, 1\)",
    ),
    "relabel nodes": (lambda: RING.relabel([0, 1, 1]), "nodes: expected a permutation"),
    "relabel modes": (lambda: RING.relabel([0, 1, 2], [0, 1]), "modes: expected a permutation"),
    "ring of two": (lambda: Structure.tensor_ring((2, 3), 2), "three or more modes, got 2"),
    "grid": (lambda: Structure.peps((2,) * 5, (2, 3), 2), "needs 6 dims, got 5"),
    "fractional dim": (lambda: Structure.from_json(damaged(dims=[4, 5, 6.5])), "got 6.5"),
    "boolean dim": (lambda: Structure.from_json(damaged(dims=[4, 5, True])), "got True"),
    "text dim": (lambda: Structure.from_json(damaged(dims=[4, 5, "6"])), "got '6'"),
    "infinite dim": (lambda: Structure.from_json(damaged(dims=[4, 5, float("inf")])), "got inf"),
    "fractional rank": (
        lambda: Structure.from_json(damaged(edges=[{"nodes": [0, 1], "rank": 2.5}])),
        "got 2.5",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ERRORS)
def test_wrong_values_are_named_in_a_value_error(name):
    call, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_equal_structures_are_equal_and_hash_alike():
    same = Structure.from_edges([4, 5, 6], {(2, 0): 2, (2, 1): 3, (1, 0): 2})
    assert same == RING
    assert hash(same) == hash(RING)
    assert len({same, RING, RING.grow((0, 1))}) == 2


@pytest.mark.parametrize(
    "other",
    [
        RING.grow((0, 1)),
        Structure.from_edges((4, 6, 5), dict(RING.edges)),
        Structure.from_edges((4, 5, 6), dict(RING.edges), num_nodes=4),
        Structure.from_edges((4, 5, 6), dict(RING.edges), legs=[(1,), (0,), (2,)]),
        "ring",
    ],
)
def test_different_structures_differ(other):
    assert other != RING


def test_repr_says_what_a_structure_holds():
    assert repr(RING) == (
        "Structure(dims=4x5x6, edges={0-1: 2, 0-2: 2, 1-2: 3}, params=82, compression=1.46x)"
    )
    tucker = Structure.tucker((4, 5), 2)
    assert repr(tucker) == (
        "Structure(dims=4x5, internal=1, edges={0-2: 2, 1-2: 2}, params=22, compression=0.909x)"
    )
    merged = Structure.from_edges((4, 5, 6), {(0, 1): 2}, legs=[(0, 2), (1,)])
    assert "legs=((0, 2), (1,))" in repr(merged)
    assert "edges={0-1-2: 3}" in repr(Structure.cp((4, 5, 6), 3))


def test_a_structure_cannot_be_changed():
    for name in ("dims", "legs", "edges"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(RING, name, ())
    with pytest.raises(TypeError, match="cannot be changed"):
        RING.edges[0, 1] = 7


def test_a_structure_does_not_follow_the_mapping_it_was_made_from():
    edges = {(0, 1): 2}
    structure = Structure.from_edges((4, 5), edges)
    edges[0, 1] = 9
    assert structure.edges[0, 1] == 2


@given(structures())
def test_json_round_trip(structure):
    again = Structure.from_json(structure.to_json())
    assert again == structure
    assert hash(again) == hash(structure)
    assert again.to_json() == structure.to_json()


@given(structures())
def test_pickle_and_copy_round_trip(structure):
    assert pickle.loads(pickle.dumps(structure)) == structure
    assert copy.deepcopy(structure) == structure
    assert hash(copy.copy(structure)) == hash(structure)


def test_json_is_plain_and_versioned():
    assert JSON == {
        "format": "tnjax.structure",
        "version": 1,
        "dims": [4, 5, 6],
        "legs": [[0], [1], [2]],
        "edges": [
            {"nodes": [0, 1], "rank": 2},
            {"nodes": [0, 2], "rank": 2},
            {"nodes": [1, 2], "rank": 3},
        ],
    }


def test_every_truncation_of_the_json_is_refused():
    text = RING.to_json()
    for length in range(len(text)):
        with pytest.raises(ValueError, match="Not a structure in JSON"):
            Structure.from_json(text[:length])


WRONG_JSON = {
    "newer version": (damaged(version=2), "format version 2 .* newer release may read it"),
    "other format": (damaged(format="tnjax.network"), "not a tnjax.structure"),
    "list": ("[]", "TypeError"),
    "number": ("3", "TypeError"),
    "null": ("null", "TypeError"),
    "empty object": ("{}", "KeyError"),
    "no legs": (json.dumps({k: v for k, v in JSON.items() if k != "legs"}), "KeyError"),
    "dims null": (damaged(dims=None), "TypeError"),
    "edges number": (damaged(edges=4), "TypeError"),
    "edges strings": (damaged(edges=["0-1"]), "TypeError"),
    "edge without rank": (damaged(edges=[{"nodes": [0, 1]}]), "KeyError"),
    "edge of lists": (damaged(edges=[{"nodes": [[0], [1]], "rank": 2}]), "TypeError"),
    "bond twice": (damaged(edges=[{"nodes": [0, 1], "rank": 2}] * 2), "two bonds join"),
    "unknown node": (damaged(edges=[{"nodes": [0, 9], "rank": 2}]), r"outside 0\.\.2"),
    "deep nesting": ("[" * 100_000, ""),
    "infinite node": (damaged(edges=[{"nodes": [0, float("inf")], "rank": 2}]), ""),
    "fractional node": (damaged(edges=[{"nodes": [0, 1.5], "rank": 2}]), ""),
    "text nodes": (damaged(edges=[{"nodes": "01", "rank": 2}]), ""),
    "fractional leg": (damaged(legs=[[0], [1], [2.5]]), ""),
    "infinite leg": (damaged(legs=[[0], [1], [float("inf")]]), ""),
    "text legs": (damaged(legs=["0", "1", "2"]), ""),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", WRONG_JSON)
def test_wrong_json_is_a_value_error(name):
    text, message = WRONG_JSON[name]
    with pytest.raises(ValueError, match=f"Not a structure in JSON: .*{message}"):
        Structure.from_json(text)


@given(st.data())
def test_relabel_is_undone_by_the_inverse(data):
    structure = data.draw(structures())
    nodes, modes = data.draw(relabelings(structure))
    inverse = lambda order: [order.index(k) for k in range(len(order))]
    there = structure.relabel(nodes, modes)
    assert there.num_params == structure.num_params
    assert there.dims == tuple(structure.dims[m] for m in modes)
    assert there.relabel(inverse(nodes), inverse(modes)) == structure


@given(st.data())
def test_canonical_form_does_not_depend_on_the_order_of_nodes_and_modes(data):
    structure = data.draw(structures(max_dim=3))
    canonical = structure.canonical()
    assert structure.relabel(*data.draw(relabelings(structure))).canonical() == canonical
    assert canonical.canonical() == canonical
    assert canonical.num_params == structure.num_params
    assert sorted(canonical.dims) == sorted(structure.dims)
    assert sorted(canonical.ranks) == sorted(structure.ranks)


SMALL = structures(min_order=3, max_order=3, max_dim=2, max_rank=2, max_internal=0, max_bonds=3)


@settings(max_examples=100)
@given(SMALL, SMALL)
def test_canonical_forms_are_equal_for_isomorphic_structures_only(left, right):
    isomorphic = left.num_nodes == right.num_nodes and any(
        left.relabel(nodes, modes) == right
        for nodes in itertools.permutations(range(left.num_nodes))
        for modes in itertools.permutations(range(3))
    )
    assert (left.canonical() == right.canonical()) == isomorphic


HEXAGON = Structure.tensor_ring((3,) * 6, 2)
TWO_TRIANGLES = Structure.from_edges(
    (3,) * 6, {edge: 2 for a in (0, 3) for edge in itertools.combinations(range(a, a + 3), 2)}
)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (HEXAGON, TWO_TRIANGLES),
        (Structure.cp((3, 3, 3), 2), Structure.fully_connected((3, 3, 3), 2)),
        (Structure.tensor_train((4, 5, 6), (2, 3)), Structure.tensor_train((4, 5, 6), (3, 2))),
        (Structure.tensor_train((4, 5, 6), 2), Structure.tensor_train((5, 4, 6), 2)),
        (Structure.rank_one((4, 5)), Structure.from_edges((4, 5), {}, num_nodes=3)),
        (Structure.rank_one((4, 5)), Structure.from_edges((4, 5), {}, legs=[(0, 1)])),
    ],
)
def test_canonical_forms_of_different_structures_differ(left, right):
    assert left.canonical() != right.canonical()


@pytest.mark.parametrize(
    ("structure", "most"),
    [
        (Structure.rank_one((4,) * 8), 1),
        (Structure.fully_connected((4,) * 8, 2), 1),
        (Structure.cp((4,) * 8, 2), 1),
        (Structure.tucker((4,) * 8, 2), 1),
        (Structure.tensor_ring((4,) * 8, 2), 16),
        (Structure.tensor_train((4,) * 8, 2), 2),
    ],
    ids=["rank one", "fully connected", "CP", "Tucker", "ring", "train"],
)
def test_canonical_form_tries_few_orders_of_symmetric_structures(structure, most, monkeypatch):
    tried = []
    encode = _canonical._encode
    monkeypatch.setattr(_canonical, "_encode", lambda *args: tried.append(args) or encode(*args))
    canonical = structure.canonical()
    assert 1 <= len(tried) <= most
    backwards = structure.relabel(range(structure.num_nodes)[::-1], range(8)[::-1])
    assert backwards.canonical() == canonical
