"""The model of what a step costs against XLA's own figures of the compiled programs, on one to
eight virtual devices, and against counts by hand."""

import math

import numpy as np
import pytest

from tests.distributed.test_devices import eight_devices
from tnjax import Structure
from tnjax.distributed import dense_screen, dense_sweep, sample_sweep

WITHIN = 0.25


@pytest.mark.parametrize(("part", "cases"), [("dense", 6), ("sampled", 4), ("screened", 4)])
def test_costs_are_within_a_quarter_of_the_compiled_programs(part, cases):
    found = eight_devices("cost_worker.py", part, hurry=False)[part]
    assert len(found) == cases
    for case, figures in found.items():
        for name, (model, told) in figures.items():
            if name == "collective_bytes":
                assert (told > 0) == (case != "1 x 1" and ("x" in case or case[-2:] != " 1")), case
            assert abs(model - told) <= WITHIN * told, (case, name, model, told)


def test_memory_of_a_shared_tensor_falls_as_its_devices():
    found = eight_devices("cost_worker.py", "shared", hurry=False)["shared"]
    one, *_ = found.values()
    for data, peak in found.items():
        assert abs(peak * int(data) / one - 1) < 0.2, found


def test_a_sweep_of_a_matrix_by_hand():
    """X [8, 6] = A [8, 2] B [6, 2]: two environments, two Gram matrices, the product."""
    cost = dense_sweep(Structure.from_edges((8, 6), {(0, 1): 2}), np.float32)
    environments, grams, dense = 2 * 2 * 8 * 6 * 2, 2 * 2 * 2 * (8 + 6), 2 * 8 * 6 * 2
    assert cost.flops == environments + grams + dense + 3 * 48
    assert cost.collective_bytes == 0
    two = dense_sweep(Structure.from_edges((8, 6), {(0, 1): 2}), np.float32, data=2)
    assert two.collective_bytes == 4 * (8 * 2 + 6 * 2 + 1)


def test_costs_follow_devices_entries_and_candidates():
    ring = Structure.tensor_ring((256, 64, 64, 64), 4)
    one, eight = dense_sweep(ring), dense_sweep(ring, data=8)
    assert one.flops / eight.flops == pytest.approx(8, rel=0.05)
    assert one.peak_bytes / eight.peak_bytes == pytest.approx(8, rel=0.2)
    assert dense_sweep(ring, data=16).collective_bytes == eight.collective_bytes
    assert dense_sweep(ring, lanes=3, data=8).flops == 3 * eight.flops
    few, many = (sample_sweep(ring, count, data=8) for count in (10**6, 10**7))
    assert many.flops / few.flops == pytest.approx(10, rel=0.1)
    assert many.collective_bytes == few.collective_bytes
    assert sample_sweep(ring, 10**6, data=1).collective_bytes == 0
    alone, shared = dense_screen(ring), dense_screen(ring, candidates=3)
    assert alone.flops / shared.flops == pytest.approx(3, rel=0.2)
    assert shared.peak_bytes == alone.peak_bytes
    assert math.prod(ring.dims) * 8 < alone.peak_bytes
