"""TensorLy, quimb and einsum: the same tensor on both sides, and what cannot be held is refused."""

import random
import re
import subprocess
import sys

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import opt_einsum
import pytest
import tensorly as tl
from hypothesis import given
from tensorly.cp_tensor import CPTensor
from tensorly.tr_tensor import TRTensor
from tensorly.tt_tensor import TTTensor
from tensorly.tucker_tensor import TuckerTensor

import tnjax
from tests.helpers import (
    DTYPES,
    by_precision,
    dense_oracle,
    normal,
    random_network,
    structures,
)
from tnjax import (
    Structure,
    from_einsum,
    from_quimb,
    from_tensorly,
    to_einsum,
    to_quimb,
    to_tensorly,
)

pytestmark = pytest.mark.quick

TOLERANCE = by_precision(1e-10, 1e-5)


def close(x, y, tolerance=TOLERANCE) -> None:
    x, y = np.asarray(x), np.asarray(y)
    assert x.shape == y.shape
    error = np.linalg.norm((x - y).ravel()) / max(np.linalg.norm(y.ravel()), 1e-300)
    assert error <= tolerance


def oracle(network) -> np.ndarray:
    return dense_oracle(network.structure, network.cores)


def outer(network) -> tuple[str, ...]:
    return tuple(f"k{mode}" for mode in range(len(network.dims)))


# A node with two legs, an internal node, a hyperedge, a number, a size of 1.
MIXED = Structure((2, 1, 3, 4), ((3,), (0, 2), (), (), (1,)), {(0, 1): 2, (1, 2): 3, (0, 2, 4): 2})


@st.composite
def contractions(draw) -> tuple[list[str], str, dict[str, int]]:
    """Any einsum with a node for every mode: operands, output, sizes."""
    letters = "abcdef"
    words = draw(st.lists(st.text(letters, max_size=4), min_size=1, max_size=4))
    words[0] += "z"
    sizes = {letter: draw(st.integers(1, 3)) for letter in [*letters, "z"]}
    once = [c for c in [*letters, "z"] if sum(c in word for word in words) == 1]
    output = draw(st.lists(st.sampled_from(once), min_size=1, unique=True))
    return words, "".join(output), sizes


@st.composite
def networks(draw, dtype="float64", **options):
    structure = draw(structures(**options))
    state = random.getstate()  # beartype samples containers; hypothesis wants that undone
    network = random_network(structure, dtype)
    random.setstate(state)
    return network


# TensorLy -----------------------------------------------------------------------------

HELD = {
    "one vector": (Structure.rank_one((4,)), CPTensor),
    "rank one": (Structure.rank_one((2, 3, 4)), CPTensor),
    "rank one, numbers": (Structure.from_edges((2, 3), {}, num_nodes=4), CPTensor),
    "cp": (Structure.cp((2, 3, 4, 2), 3), CPTensor),
    "cp, nodes permuted": (Structure.cp((2, 3, 4), 2).relabel([2, 0, 1]), CPTensor),
    "matrix": (Structure.tensor_train((3, 4), 2), TTTensor),
    "train": (Structure.tensor_train((2, 3, 4, 2), (2, 3, 4)), TTTensor),
    "train, permuted": (Structure.tensor_train((2, 3, 4), (2, 3)).relabel([1, 2, 0]), TTTensor),
    "cut train": (Structure.from_edges((2, 3, 4), {(1, 2): 2}), TTTensor),
    "ring": (Structure.tensor_ring((2, 3, 4), (2, 3, 4)), TRTensor),
    "ring, permuted": (Structure.tensor_ring((2, 3, 4), (2, 3, 4)).relabel([2, 1, 0]), TRTensor),
    "cut ring": (Structure.from_edges((2, 3, 4, 2), {(0, 3): 3, (1, 2): 2}), TRTensor),
    "tucker": (Structure.tucker((2, 3, 4), (2, 3, 2)), TuckerTensor),
    "tucker of a matrix": (Structure.tucker((2, 3), (2, 3)), TuckerTensor),
    "tucker, permuted": (
        Structure.tucker((2, 3, 4), (2, 3, 4)).relabel([3, 1, 0, 2]),
        TuckerTensor,
    ),
    "partial tucker": (Structure.from_edges((2, 3, 4), {(0, 3): 2, (2, 3): 3}), TuckerTensor),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HELD)
def test_tensorly_holds_the_same_tensor(name, dtype):
    structure, kind = HELD[name]
    network = random_network(structure, dtype, seed=3)
    tensor = to_tensorly(network)
    assert type(tensor) is kind
    tolerance = TOLERANCE if dtype in ("float64", "complex128") else 1e-5
    dense = tensor.to_tensor()
    assert dense.dtype == dtype
    close(dense, oracle(network), tolerance)
    back = from_tensorly(tensor)
    assert back.dtype == dtype
    close(back.to_dense(), oracle(network), tolerance)


@pytest.mark.parametrize(
    "structure",
    [
        Structure.cp((2, 3, 4), 3),
        Structure.tensor_train((2, 3, 4), (2, 3)),
        Structure.tensor_ring((2, 3, 4), (2, 3, 4)),
        Structure.tucker((2, 3, 4), (2, 3, 4)),
        Structure.rank_one((2, 3)),
    ],
)
def test_tensorly_round_trip_keeps_structure_and_cores(structure):
    network = random_network(structure)
    back = from_tensorly(to_tensorly(network))
    assert back.structure == structure
    for ours, theirs in zip(network.cores, back.cores, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_tensorly_arrays_are_numpy_and_our_own():
    network = random_network(Structure.tensor_train((2, 3), 2))
    tensor = to_tensorly(network)
    assert all(type(core) is np.ndarray for core in tensor)
    tensor[0][:] = 0
    assert np.all(network.cores[0] != 0)


def test_cp_weights_go_into_the_first_factor():
    tensor = CPTensor((normal((3,)), [normal((n, 3), seed=n) for n in (2, 4, 5)]))
    network = from_tensorly(tensor)
    assert network.structure == Structure.cp((2, 4, 5), 3)
    close(network.to_dense(), tl.cp_to_tensor(tensor))
    expected = (tensor.factors[0] * tensor.weights).astype(network.dtype)
    np.testing.assert_array_equal(network.cores[0], expected)


def test_complex_weights_of_real_factors_are_kept():
    tensor = CPTensor((normal((2,), "complex128"), [normal((n, 2), seed=n) for n in (2, 3, 4)]))
    close(from_tensorly(tensor).to_dense(), tl.cp_to_tensor(tensor))


def test_cp_weights_may_be_none():
    tensor = CPTensor((None, [normal((n, 2), seed=n) for n in (2, 3, 4)]))
    expected = tl.cp_to_tensor(tensor)
    tensor.weights = None
    close(from_tensorly(tensor).to_dense(), expected)


def test_cp_of_vectors_is_of_rank_one():
    factors = [normal((n,), seed=n) for n in (2, 3)]
    network = from_tensorly(CPTensor((np.array([2.0]), factors)))
    assert network.structure == Structure.rank_one((2, 3))
    close(network.to_dense(), 2 * np.multiply.outer(*factors))


@pytest.mark.parametrize("rank", [1, 3])
def test_cp_of_one_mode_is_summed(rank):
    tensor = CPTensor((normal((rank,)), [normal((4, rank), seed=1)]))
    network = from_tensorly(tensor)
    assert network.structure == Structure.rank_one((4,))
    close(network.to_dense(), tensor.factors[0] @ tensor.weights)


def test_train_of_one_core():
    core = normal((1, 4, 1))
    network = from_tensorly(TTTensor([core]))
    assert network.structure == Structure.rank_one((4,))
    close(network.to_dense(), core[0, :, 0])


@pytest.mark.parametrize("ranks", [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_ring_of_two_cores_has_one_bond(ranks):
    a, b = ranks
    tensor = TRTensor([normal((a, 4, b)), normal((b, 5, a), seed=1)])
    network = from_tensorly(tensor)
    assert network.structure == Structure.from_edges((4, 5), {(0, 1): a * b})
    close(network.to_dense(), tensor.to_tensor())


def test_bonds_of_rank_one_disappear():
    tucker = TuckerTensor(
        (normal((2, 1, 3)), [normal((n, r)) for n, r in ((4, 2), (5, 1), (6, 3))])
    )
    network = from_tensorly(tucker)
    assert network.structure == Structure.from_edges((4, 5, 6), {(0, 3): 2, (2, 3): 3})
    close(network.to_dense(), tucker.to_tensor())


def test_decompositions_of_tensorly():
    x = normal((3, 4, 5))
    found = [
        tl.decomposition.parafac(x, 2, n_iter_max=3, random_state=0),
        tl.decomposition.tucker(x, (2, 3, 2), n_iter_max=3),
        tl.decomposition.tensor_train(x, (1, 2, 3, 1)),
        tl.decomposition.tensor_ring(x, (2, 1, 3, 2)),
    ]
    for tensor in found:
        close(from_tensorly(tensor).to_dense(), tensor.to_tensor())


REFUSED = {
    "star without an internal node": Structure.from_edges(
        (2, 2, 2, 2), {(0, 1): 2, (0, 2): 2, (0, 3): 2}
    ),
    "train in another order": Structure.tensor_train((2, 2, 2, 2), 2).relabel(
        [0, 2, 1, 3], [0, 2, 1, 3]
    ),
    "clique": Structure.fully_connected((2, 2, 2, 2), 2),
    "tree": Structure.hierarchical_tucker((2, 2, 2, 2), 2),
    "hyperedge on some": Structure.from_edges((2, 2, 2, 2), {(0, 1, 2): 2}),
    "hyperedge and bond": Structure.from_edges((2, 2, 2), {(0, 1, 2): 2, (0, 1): 2}),
    "hyperedge to an internal node": Structure.from_edges((2, 2), {(0, 1, 2): 2}),
    "tucker with a bond": Structure.from_edges((2, 2), {(0, 2): 2, (0, 1): 2}),
    "tucker of one mode": Structure.from_edges((2,), {(0, 1): 2}),
    "train and a number": Structure.from_edges((2, 2), {(0, 1): 2}, num_nodes=4),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tensorly_refuses_other_structures(name):
    with pytest.raises(ValueError, match="cannot hold") as caught:
        to_tensorly(random_network(REFUSED[name]))
    text = str(caught.value)
    assert repr(REFUSED[name]) in text
    for word in ("CP", "Tucker", "trains", "rings"):
        assert word in text


def test_tensorly_refuses_nodes_with_several_legs():
    with pytest.raises(ValueError, match=re.escape("node 1 of Structure(dims=2x1x3x4")):
        to_tensorly(random_network(MIXED))


@pytest.mark.parametrize("thing", [(None, []), [np.ones((1, 2, 1))], np.ones((2, 2)), None])
def test_from_tensorly_takes_classes_only(thing):
    with pytest.raises(ValueError, match=r"expected a CPTensor, TuckerTensor, TTTensor or TRTen"):
        from_tensorly(thing)


def test_from_tensorly_notices_cores_that_do_not_fit():
    tensor = TTTensor([np.ones((1, 2, 3)), np.ones((3, 4, 1))])
    tensor[1] = np.ones((2, 4, 1))
    with pytest.raises(ValueError, match="'rank 1' has size 2 on array 1, but size 3"):
        from_tensorly(tensor)
    tensor[1] = np.ones((3, 4))
    with pytest.raises(ValueError, match="array 1 has 2 axes"):
        from_tensorly(tensor)


# quimb --------------------------------------------------------------------------------


@given(networks(), st.booleans())
def test_quimb_holds_the_same_tensor(network, hyper_indices):
    pytest.importorskip("quimb")
    tn = to_quimb(network, hyper_indices=hyper_indices)
    close(tn.contract(output_inds=outer(network)).data, oracle(network))
    back = from_quimb(tn, outer(network))
    assert back.structure == network.structure
    for ours, theirs in zip(network.cores, back.cores, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(networks())
def test_quimb_contracts_it_as_it_is(network):
    pytest.importorskip("quimb")
    tn = to_quimb(network)
    assert max((len(tids) for tids in tn.ind_map.values()), default=0) <= 2
    whole = tn.contract(preserve_tensor=True)
    close(whole.transpose(*outer(network)).data, oracle(network))


LEARNED = {
    "cp": Structure.cp((3, 4, 5), 2),
    "cp of six modes": Structure.cp((2, 3, 2, 3, 2, 3), 4),
    "two hyperedges that share nodes": Structure(
        (2, 3, 4, 2), ((0,), (1,), (2,), (3,)), {(0, 1, 2): 3, (1, 2, 3): 2, (0, 3): 2}
    ),
    "a hyperedge on internal nodes": Structure(
        (3, 4), ((0,), (1,), (), ()), {(0, 2): 2, (1, 2, 3): 2, (2, 3): 3}
    ),
    "two modes of one node, a leg of size 1": MIXED,
    "tucker": Structure.tucker((3, 4, 5), 2),
    "rank one": Structure.rank_one((3, 1, 2)),
    "one node": Structure.rank_one((4,)),
}


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_quimb_contracts_learned_networks(name, dtype):
    pytest.importorskip("quimb")
    network = random_network(LEARNED[name], dtype)
    tn = to_quimb(network)
    close(tn.contract().transpose(*outer(network)).data, oracle(network), 1e-5)
    back = from_quimb(tn, outer(network))
    assert back.structure == network.structure
    for ours, theirs in zip(network.cores, back.cores, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_quimb_copy_tensors_are_small():
    """A hyperedge of eight nodes: 8 cores of 4 x 3, and six copies of 4^3, not one of 4^8."""
    pytest.importorskip("quimb")
    tn = to_quimb(random_network(Structure.cp((3,) * 8, 4)))
    assert sorted(tensor.size for tensor in tn.tensors) == [12] * 8 + [64] * 6


def test_other_copy_tensors_of_quimb_are_nodes():
    qtn = pytest.importorskip("quimb.tensor")
    diagonal = np.zeros((2, 2, 2))
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = 1
    x, y = normal((3, 2)), normal((4, 2), seed=1)
    cases = {
        "an open index": ([qtn.Tensor(x, "ka"), qtn.Tensor(diagonal, "abc", ["COPY"])], "kb"),
        "joined to nothing": (
            [qtn.Tensor(x, "ka"), qtn.Tensor(y, "la"), qtn.Tensor(diagonal, "bcd", ["COPY"])],
            "kl",
        ),
        "other numbers": (
            [qtn.Tensor(x, "ka"), qtn.Tensor(2 * diagonal, "abc", ["COPY"]), qtn.Tensor(y, "lb")],
            "kl",
        ),
        "without the tag": (
            [qtn.Tensor(x, "ka"), qtn.Tensor(diagonal, "abc"), qtn.Tensor(y, "lb")],
            "kl",
        ),
    }
    for tensors, output in cases.values():
        tn = qtn.TensorNetwork(tensors)
        network = from_quimb(tn, output)
        assert network.structure.num_nodes == len(tensors)
        close(network.to_dense(), tn.contract(output_inds=tuple(output)).data)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quimb_keeps_the_dtype(dtype):
    pytest.importorskip("quimb")
    network = random_network(MIXED, dtype)
    tn = to_quimb(network)
    assert {str(tensor.data.dtype) for tensor in tn.tensors} == {dtype}
    assert from_quimb(tn, outer(network)).dtype == dtype


def test_quimb_names():
    pytest.importorskip("quimb")
    expected = [
        ("k3", "b0-1", "b0-2-4"),
        ("k0", "k2", "b0-1", "b1-2"),
        ("b0-2-4", "b1-2"),
        (),
        ("k1", "b0-2-4"),
    ]
    tn = to_quimb(random_network(MIXED), hyper_indices=True)
    assert [tensor.inds for tensor in tn.tensors] == expected
    tags = [{f"N{node}"} for node in range(5)]
    assert [set(tensor.tags) for tensor in tn.tensors] == tags
    tn = to_quimb(random_network(MIXED))
    ends = [f"b0-2-4:{node}" for node in (0, 2, 4)]
    own = [tuple(f"{i}:{n}" if i == "b0-2-4" else i for i in x) for n, x in enumerate(expected)]
    assert [tensor.inds for tensor in tn.tensors] == [*own, tuple(ends)]
    assert [set(tensor.tags) for tensor in tn.tensors] == [*tags, {"COPY"}]


def test_quimb_arrays_are_our_own():
    pytest.importorskip("quimb")
    network = random_network(Structure.tensor_train((2, 3), 2))
    to_quimb(network)["N0"].data[:] = 0
    assert np.all(network.cores[0] != 0)


@given(contractions())
def test_any_quimb_network(contraction):
    qtn = pytest.importorskip("quimb.tensor")
    words, output, sizes = contraction
    words = ["".join(dict.fromkeys(word)) for word in words]
    tensors = [
        qtn.Tensor(normal([sizes[c] for c in word], seed=n), inds=tuple(word))
        for n, word in enumerate(words)
    ]
    tn = qtn.TensorNetwork(tensors)
    network = from_quimb(tn, list(output))
    assert network.structure.num_nodes == len(words)
    close(network.to_dense(), tn.contract(output_inds=tuple(output), preserve_tensor=True).data)


def test_quimb_states_and_operators():
    qtn = pytest.importorskip("quimb.tensor")
    state = qtn.MPS_rand_state(4, bond_dim=3, phys_dim=2, cyclic=True, seed=1)
    network = from_quimb(state, state.site_inds)
    assert network.structure == Structure.tensor_ring((2, 2, 2, 2), 3)
    close(np.ravel(network.to_dense()), np.ravel(state.to_dense()))
    operator = qtn.MPO_rand(3, bond_dim=2, phys_dim=2, seed=1)
    rows, columns = operator.upper_inds, operator.lower_inds
    network = from_quimb(operator, (*rows, *columns))
    assert network.structure.legs == ((0, 3), (1, 4), (2, 5))
    close(np.reshape(network.to_dense(), (8, 8)), operator.to_dense(rows, columns))


def test_quimb_circuit():
    qtn = pytest.importorskip("quimb.tensor")
    circuit = qtn.Circuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.rz(0.3, 1)
    circuit.cx(1, 2)
    network = from_quimb(circuit.psi, ["k0", "k1", "k2"])
    assert jnp.issubdtype(network.dtype, jnp.complexfloating)
    close(np.ravel(network.to_dense()), np.ravel(circuit.to_dense()), 1e-6)


def test_quimb_bonds_are_fused_and_dangling_indices_summed():
    qtn = pytest.importorskip("quimb.tensor")
    shapes = {"kpqs": (2, 3, 2, 4), "qlpo": (2, 5, 3, 1), "": ()}
    tensors = [
        qtn.Tensor(normal(shape, seed=n), inds=tuple(word))
        for n, (word, shape) in enumerate(shapes.items())
    ]
    tn = qtn.TensorNetwork(tensors)
    network = from_quimb(tn, "lk")
    assert network.structure == Structure((5, 2), ((1,), (0,), ()), {(0, 1): 6})
    close(network.to_dense(), tn.contract(output_inds=("l", "k")).data)


@pytest.mark.parametrize("exponent", [3.0, -2.5])
def test_quimb_exponent(exponent):
    qtn = pytest.importorskip("quimb.tensor")
    state = qtn.MPS_rand_state(3, bond_dim=2, phys_dim=2, seed=1, dtype="float32")
    plain = from_quimb(state, state.site_inds)
    state.exponent = exponent
    network = from_quimb(state, state.site_inds)
    assert network.dtype == plain.dtype == jnp.float32
    close(network.to_dense(), plain.to_dense() * 10**exponent, 1e-5)
    state.exponent = 3000.0
    with pytest.raises(ValueError, match=r"exponent 3000\.0"):
        from_quimb(state, state.site_inds)


def test_from_quimb_refuses():
    qtn = pytest.importorskip("quimb.tensor")
    tensors = [qtn.Tensor(np.ones((2, 2)), inds=inds) for inds in ("ab", "bc", "bd")]
    tn = qtn.TensorNetwork(tensors)
    with pytest.raises(ValueError, match=r"output index 'b' is on 3 arrays, \[0, 1, 2\]"):
        from_quimb(tn, "abcd")
    with pytest.raises(ValueError, match="output index 'e' is on no array; the indices are"):
        from_quimb(tn, "ae")
    with pytest.raises(ValueError, match="names an index twice"):
        from_quimb(tn, "aac")
    with pytest.raises(ValueError, match="the output has no index"):
        from_quimb(tn, ())
    with pytest.raises(ValueError, match=r"expected a quimb\.tensor\.TensorNetwork, got quimb"):
        from_quimb(tensors[0], "ab")
    objects = qtn.TensorNetwork([qtn.Tensor(np.array(["x", "y"]), inds="a")])
    with pytest.raises(ValueError, match="expected arrays of numbers"):
        from_quimb(objects, "a")


# einsum -------------------------------------------------------------------------------


@given(networks())
def test_einsum_holds_the_same_tensor(network):
    equation, arrays = to_einsum(network)
    close(opt_einsum.contract(equation, *map(np.asarray, arrays)), oracle(network))
    close(np.einsum(equation, *arrays), oracle(network))
    back = from_einsum(equation, arrays)
    assert back.structure == network.structure
    for ours, theirs in zip(network.cores, back.cores, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(contractions())
def test_any_einsum(contraction):
    words, output, sizes = contraction
    arrays = [normal([sizes[c] for c in word], seed=n) for n, word in enumerate(words)]
    equation = ",".join(words) + "->" + output
    network = from_einsum(equation, arrays)
    assert network.structure.num_nodes == len(words)
    close(network.to_dense(), np.einsum(equation, *arrays))


def test_einsum_past_the_alphabet():
    network = random_network(Structure.tensor_train((1,) * 40, 2))
    equation, arrays = to_einsum(network)
    assert opt_einsum.get_symbol(78) in equation
    assert from_einsum(equation, arrays).structure == network.structure


def test_einsum_diagonals_sums_and_spaces():
    x, y = normal((3, 4, 3)), normal((4, 5, 2))
    network = from_einsum(" iji, jkl -> ki ", [x, y])
    assert network.structure == Structure((5, 3), ((1,), (0,)), {(0, 1): 4})
    close(network.to_dense(), np.einsum("iji,jkl->ki", x, y))


def test_einsum_promotes_dtypes():
    network = from_einsum("ab,bc->ac", [np.ones((2, 3), "complex64"), np.arange(6).reshape(3, 2)])
    assert network.dtype == jnp.complex64
    assert from_einsum("ab->ba", [[[1, 2], [3, 4]]]).dtype == by_precision(jnp.float64, jnp.float32)
    counts = from_einsum("ab->a", [np.ones((2, 3), bool)])  # not "any", as einsum of bool has it
    np.testing.assert_array_equal(counts.to_dense(), [3.0, 3.0])
    small = from_einsum("aab,bc->ac", [jnp.ones((2, 2, 3), "bfloat16"), np.ones((3, 2), "float32")])
    assert small.dtype == jnp.float32
    bfloat = from_einsum("aab->ba", [np.asarray(jnp.ones((2, 2, 3), "bfloat16"))])
    assert bfloat.dtype == jnp.bfloat16


def test_einsum_under_jit_and_grad():
    network = random_network(MIXED)

    @jax.jit
    @jax.grad
    def gradient(network):
        equation, arrays = to_einsum(network)
        return (from_einsum(equation, arrays).to_dense() ** 2).sum()

    expected = jax.grad(lambda n: (n.to_dense() ** 2).sum())(network)
    for ours, theirs in zip(gradient(network).cores, expected.cores, strict=True):
        close(ours, theirs)


EYE = np.eye(2)


@pytest.mark.parametrize(
    ("equation", "arrays", "message"),
    [
        ("ab,bc", [EYE, EYE], "Write the output explicitly"),
        ("ab->b->a", [EYE], "Write the output explicitly"),
        ("ab->a,b", [EYE], "Write the output explicitly"),
        ("a>b->a", [EYE], "Write the output explicitly"),
        ("...a->a", [EYE], "with an ellipsis"),
        ("ab,bc->ac", [EYE], "has 2 operands, but 1 arrays"),
        ("ab->ab", [], "has 1 operands, but 0 arrays"),
        ("abc->a", [EYE], r"array 0 has 2 axes, shape \[2, 2\], but 3 indices"),
        ("ab,bc->ac", [EYE, np.ones((3, 2))], "'b' has size 3 on array 1, but size 2"),
        ("ab,bc->ac", [EYE, np.ones((1, 2))], "'b' has size 1 on array 1, but size 2"),
        ("aa->a", [np.ones((2, 3))], "'a' has size 3 on array 0, but size 2"),
        ("ab->a", [np.ones((2, 0))], "'b' of array 0 has size 0"),
        ("ab,ab->", [EYE, EYE], "the output has no index"),
        ("ab->aa", [EYE], "names an index twice"),
        ("ab->ac", [EYE], "'c' is on no array"),
        ("ab,ac->abc", [EYE, EYE], "'a' is on 2 arrays.*identity matrix"),
        ("a->a", [np.array(["x"])], "expected arrays of numbers, got one of dtype <U1"),
        ("a->a", [np.array([None])], "expected arrays of numbers, got one of dtype object"),
    ],
)
def test_from_einsum_refuses(equation, arrays, message):
    with pytest.raises(ValueError, match=message):
        from_einsum(equation, arrays)


def test_the_advice_for_an_open_index_on_two_operands_works():
    x, y = normal((3, 2)), normal((3, 4))
    network = from_einsum("zb,zc,za->abc", [x, y, np.eye(3)])
    close(network.to_dense(), np.einsum("ab,ac->abc", x, y))


# Without the libraries ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "library", "module"),
    [
        (to_tensorly, "tensorly", "tensorly.cp_tensor"),
        (from_tensorly, "tensorly", "tensorly.tr_tensor"),
        (to_quimb, "quimb", "quimb.tensor"),
        (lambda network: from_quimb(network, ()), "quimb", "quimb.tensor"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, call, library, module):
    monkeypatch.setitem(sys.modules, module, None)
    network = random_network(Structure.rank_one((2,)))
    with pytest.raises(ImportError, match=rf"(?i)needs {library}: .*\[interchange\]") as caught:
        call(network)
    assert "\n" not in str(caught.value)


def test_importing_tnjax_imports_neither():
    code = "import sys, tnjax; print(sorted({'tensorly', 'quimb'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_are_public():
    for name in ("einsum", "quimb", "tensorly"):
        for way in ("to", "from"):
            assert getattr(tnjax, f"{way}_{name}") is getattr(tnjax.io, f"{way}_{name}")
