"""Cut bounds against brute force, SVD and planted structures; certificates against enumeration."""

import dataclasses
import itertools
import json
import math
import subprocess
import sys

import jax
import numpy as np
import pytest
from hypothesis import given, settings

from tests.helpers import normal, random_cores, structures
from tnjax import Decomposition, Setup, Structure, TensorNetwork, cli, cut_bounds, search
from tnjax._search.begin import _from_cuts
from tnjax._search.spectra.cuts import CutBounds, _capacities, _descend
from tnjax._search.spectra.unfoldings import Unfoldings

DIMS = (4, 5, 4, 3)
PLANTED = {
    "train": Structure.tensor_train(DIMS, (2, 3, 2)),
    "ring": Structure.tensor_ring(DIMS, 2),
    "star": Structure.from_edges(DIMS, {(0, 1): 2, (1, 2): 2, (1, 3): 3}),
    "tucker": Structure.tucker(DIMS, 2),
    "cp": Structure.cp(DIMS, 2),
    "merged": Structure(DIMS, ((0, 2), (1,), (3,)), {(0, 1): 3, (1, 2): 2}),
    "rank one": Structure.rank_one(DIMS),
}


def planted(structure: Structure, dtype="float64", seed=0) -> np.ndarray:
    cores = random_cores(structure, dtype, seed)
    return np.asarray(TensorNetwork(structure, cores).to_dense())


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_planted_structures_are_admitted_and_smaller_ones_are_not(name, dtype):
    structure = PLANTED[name]
    bounds = cut_bounds(planted(structure, dtype), 1e-3)
    assert bounds.complete
    assert bounds.admits(structure)
    assert not bounds.violations(structure)
    for edge in structure.edges:  # all of them matter in these
        assert not bounds.admits(structure.shrink(edge))


@pytest.mark.parametrize("name", PLANTED)
def test_the_certificate_is_a_lower_bound_that_its_structure_nearly_attains(name):
    structure = PLANTED[name]
    bounds = cut_bounds(planted(structure), 1e-3)
    certificate = bounds.certificate()
    if structure.num_nodes == len(DIMS) and name != "cp":
        assert certificate.num_params <= structure.num_params
    assert certificate.structure is not None
    assert bounds.admits(certificate.structure)
    assert certificate.num_params <= certificate.structure.num_params
    assert str(certificate.num_params) in str(certificate)


@pytest.mark.parametrize("seed", range(4))
def test_the_certificate_against_all_networks_of_three_nodes(seed):
    """Enumeration of all ranks up to the largest that the cuts can ask for."""
    dims = (5, 4, 3)
    planted_ring = Structure.tensor_ring(dims, [(2, 2, 2), (3, 1, 2), (2, 1, 1), (4, 2, 1)][seed])
    bounds = cut_bounds(planted(planted_ring, seed=seed), 1e-3)
    pairs = [(0, 1), (0, 2), (1, 2)]
    best = min(
        s.num_params
        for ranks in itertools.product(range(1, 6), repeat=3)
        if bounds.admits(s := Structure.from_edges(dims, dict(zip(pairs, ranks, strict=True))))
    )
    certificate = bounds.certificate()
    assert certificate.num_params == best
    assert certificate.tight


def test_bounds_are_the_numerical_ranks():
    tensor = normal((4, 3, 4, 2))
    bounds = cut_bounds(tensor, 0.4)
    for cut, rank in bounds.ranks.items():
        rest = [m for m in range(4) if m not in cut]
        rows = math.prod(tensor.shape[m] for m in cut)
        s = np.linalg.svd(tensor.transpose(*cut, *rest).reshape(rows, -1), compute_uv=False)
        tails = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1]) / np.linalg.norm(s)
        assert rank == 1 or tails[rank - 1] > 0.4
        assert rank == len(s) or tails[rank] <= 0.4
    assert len(bounds.ranks) <= 7


@settings(max_examples=30, deadline=None)
@given(structures(min_order=2))
def test_capacities_bound_the_rank_of_every_unfolding(structure):
    order = len(structure.dims)
    tensor = np.einsum(*_einsum_arguments(structure, random_cores(structure)))
    cuts = [c for k in range(1, order) for c in itertools.combinations(range(order), k)]
    sides = np.asarray([[m in cut for m in range(order)] for cut in cuts])
    capacities = np.exp(_capacities(structure, sides))
    for cut, capacity in zip(cuts, capacities, strict=True):
        rest = [m for m in range(order) if m not in cut]
        rows = math.prod(tensor.shape[m] for m in cut)
        matrix = tensor.transpose(*cut, *rest).reshape(rows, -1)
        assert np.linalg.matrix_rank(matrix, tol=1e-9 * np.linalg.norm(matrix)) <= capacity + 1e-6


def _einsum_arguments(structure, cores):
    names = {edge: len(structure.dims) + k for k, edge in enumerate(structure.edges)}
    out = []
    for node, core in enumerate(cores):
        bonds = [names[edge] for edge in structure.core_edges(node)]
        out += [core, [*structure.legs[node], *bonds]]
    return [*out, list(range(len(structure.dims)))]


@pytest.mark.parametrize("name", PLANTED)
def test_descent_over_sides_never_reports_less_than_the_minimum(name):
    structure = PLANTED[name]
    owner = np.asarray([[m in legs for legs in structure.legs].index(True) for m in range(4)])
    log_dims = np.log(np.asarray(DIMS, float))
    cuts = np.asarray([[m in cut for m in range(4)] for cut in [(0,), (1, 2), (0, 2), (0, 1, 2)]])
    exact = _capacities(structure, cuts)
    for cut, least in zip(cuts, exact, strict=True):
        assert _descend(structure, owner, log_dims, cut) >= least - 1e-12


def test_planted_tensors_have_definite_ranks_and_others_have_not():
    exact = planted(PLANTED["star"])
    assert cut_bounds(exact, 1e-3).definite > 0.9
    noise = np.random.default_rng(0).standard_normal(exact.shape)
    noisy = exact + 0.05 * np.linalg.norm(exact) / np.linalg.norm(noise) * noise
    assert cut_bounds(noisy, 0.0505).definite > 0.8
    assert cut_bounds(noise, 0.3).definite < 0.8
    assert cut_bounds(np.ones((3, 4)), 0.1).definite == 1.0


def test_sketches_never_raise_a_bound():
    """Rank 40 plus noise, 320 x 400: the sketch, its lower bound and the true numerical rank."""
    left, right = normal((320, 40), seed=1), normal((40, 400), seed=2)
    matrix = left @ right + 0.02 * normal((320, 400), seed=3)
    s = np.linalg.svd(matrix, compute_uv=False)
    for error in (0.5, 0.05):
        spectrum = Unfoldings(matrix, error).spectrum((0,))
        tails = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1]) / np.linalg.norm(s)
        true = int(np.flatnonzero(tails <= error)[0])
        assert spectrum.least_rank(error) <= true <= spectrum.rank(error)
        assert spectrum.least_rank(error) >= true - 2
    assert spectrum.missed > 0


def test_high_order_samples_cuts():
    structure = Structure.tensor_train((2,) * 12, 2)
    bounds = cut_bounds(planted(structure), 1e-3)
    assert not bounds.complete
    assert bounds.admits(structure)
    assert not bounds.admits(structure.shrink((5, 6)))


def test_certificates_count_with_other_sizes():
    structure = PLANTED["train"]
    bounds = cut_bounds(planted(structure), 1e-3)
    larger = tuple(10 * n for n in DIMS)
    certificate = bounds.certificate(dims=larger)
    assert certificate.structure is not None
    assert certificate.structure.dims == larger
    assert certificate.num_params <= dataclasses.replace(structure, dims=larger).num_params
    assert certificate.num_params > bounds.certificate().num_params


def test_a_search_can_start_from_the_cuts():
    structure = PLANTED["train"]
    problem = Decomposition(planted(structure))
    result = search(problem, key=jax.random.key(0), target_error=1e-3, setup=Setup(start="cuts"))
    assert result.path[0].structure == structure  # the certificate is tight here
    assert result.path[0].error <= 1e-3
    assert result.num_params <= structure.num_params
    # The cuts of this star allow a smaller network, which does not reach the target.
    star = Decomposition(planted(PLANTED["star"]))
    assert _from_cuts(star, "cuts", jax.random.key(0), 1e-3) is None
    with pytest.raises(ValueError, match='or "cuts"'):
        search(problem, key=jax.random.key(0), target_error=1e-3, setup=Setup(start="best"))
    with pytest.raises(ValueError, match="needs a Decomposition and a target_error"):
        search(problem, key=jax.random.key(0), max_steps=1, setup=Setup(start="cuts"))


def test_the_command_line_writes_the_certificate(tmp_path, capsys):
    np.save(tmp_path / "x.npy", planted(PLANTED["train"]))
    arguments = ["decompose", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run")]
    options = ["--strategy", "fixed", "--format", "tt", "--cache", "none", "--certificate"]
    assert cli.main([*arguments, *options, "--target-error", "0.001"]) == 0
    record = json.loads((tmp_path / "run" / "certificate.json").read_text())
    assert record["num_params"] == PLANTED["train"].num_params
    assert record["statement"] in capsys.readouterr().out
    assert cli.main([*arguments, *options, "--max-params", "100"]) == 2


def test_bad_input():
    with pytest.raises(ValueError, match="in \\[0, 1\\)"):
        cut_bounds(np.ones((2, 2)), 1.0)
    with pytest.raises(ValueError, match="zero"):
        cut_bounds(np.zeros((2, 2)), 0.1)
    with pytest.raises(ValueError, match="NaN"):
        cut_bounds(np.asarray([[np.nan, 1.0]]), 0.1)
    with pytest.raises(ValueError, match="shape"):
        cut_bounds(np.eye(2), 0.1).admits(Structure.rank_one((2, 3)))
    assert isinstance(hash(cut_bounds(np.eye(2), 0.1)), int)
    assert isinstance(cut_bounds(np.eye(2), 0.1), CutBounds)


def test_with_little_work_the_smallest_unfoldings_are_measured():
    tensor = np.random.default_rng(0).standard_normal((2, 3, 2, 3, 2))
    every = cut_bounds(tensor, 1e-6)
    some = cut_bounds(tensor, 1e-6, max_work=72 * 55 * 5)
    assert every.complete
    assert not some.complete
    assert len(some.ranks) == 5 < len(every.ranks)
    assert {len(cut) for cut in some.ranks} <= {1, 4}
    assert some.ranks.items() <= every.ranks.items()
    assert cut_bounds(tensor, 1e-6, max_work=1e9).ranks == every.ranks


def test_a_certificate_does_not_depend_on_how_busy_the_machine_is():
    """The nodes of its programs are limited, so that the same bounds give the same bits; with so
    few of them the limit is what ends it."""
    rng = np.random.default_rng(1)
    order = 7
    cuts = [c for n in range(1, order) for c in itertools.combinations(range(order - 1), n)]
    bounds = CutBounds((4,) * order, 0.1, {c: int(rng.integers(2, 16)) for c in cuts}, True)
    found = bounds.certificate(nodes=3)
    assert not found.tight
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            again = bounds.certificate(nodes=3)
        finally:
            busy.kill()
    assert again == found
    assert bounds.certificate(nodes=100).num_params >= found.num_params
    with pytest.warns(DeprecationWarning, match="nodes=..."):
        assert bounds.certificate(nodes=3, seconds=1e-3) == found
