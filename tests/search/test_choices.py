"""Integer programs over ranks: looking at every choice and HiGHS agree."""

import numpy as np
import pytest

from tnjax._search.spectra.choices import Program
from tnjax._search.spectra.integer import minimize_cost, minimize_params

EDGES = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]


def program(rng):
    """Four cores, five bonds of two to five options each, whose ranks grow."""
    dims = rng.integers(2, 9, size=4)
    bonds = [tuple(e for e, edge in enumerate(EDGES) if node in edge) for node in range(4)]
    logs = [np.log(np.cumsum(rng.integers(1, 4, size=n))) for n in rng.integers(2, 6, size=5)]
    return Program(
        tuple((float(np.log(n)), edges) for n, edges in zip(dims, bonds, strict=True)), tuple(logs)
    )


def falling(rng, program):
    """Positive numbers for each option, smaller for larger ranks."""
    return [np.sort(rng.random(len(logs)))[::-1] for logs in program.logs]


def rows(rng, program):
    """That the bonds of each core reach some of what they can."""
    return [
        (
            {bond: program.logs[bond] for bond in bonds},
            0.7 * rng.random() * sum(program.logs[bond].max() for bond in bonds),
        )
        for _, bonds in program.nodes
    ]


@pytest.mark.parametrize("seed", range(8))
def test_all_choices_and_highs_agree(seed, override):
    rng = np.random.default_rng(seed)
    asked = program(rng)
    dropped, least = falling(rng, asked), rows(rng, asked)
    most = 0.5 * sum(values[0] for values in dropped)
    params = 3 * float(asked.sizes([0] * 5).sum())
    tasks = [
        lambda: minimize_params(asked, at_most=(dropped, most)),
        lambda: minimize_params(asked, at_least=least),
        lambda: minimize_params(asked, at_most=(dropped, most), at_least=least),
        lambda: minimize_cost(asked, dropped, params),
    ]
    exact = [task() for task in tasks]
    override({"integer.few": 0})
    for task, one in zip(tasks, exact, strict=True):
        found = task()
        if one.chosen is None:
            assert found.chosen is None
            continue
        assert found.bound <= one.bound * (1 + 1e-6)
        assert found.bound >= one.bound * 0.99
        if one.chosen != found.chosen:  # as good as HiGHS was asked for
            value = lambda chosen: asked.sizes(chosen).sum()
            assert value(one.chosen) <= value(found.chosen) * (1 + 1e-9)


def test_what_no_choice_fulfils_has_no_solution(override):
    asked = program(np.random.default_rng(0))
    impossible = [({0: asked.logs[0]}, 2 * asked.logs[0].max() + 1)]
    assert minimize_params(asked, at_least=impossible).chosen is None
    override({"integer.few": 0})
    assert minimize_params(asked, at_least=impossible).chosen is None
