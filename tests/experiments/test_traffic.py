"""The benchmark of traffic: its protocol, and a run on a small tensor of the same kind."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "benchmarks"))
traffic = pytest.importorskip("traffic")


def test_the_masks_are_those_of_the_literature():
    for days, shape in ((False, (6, 7, 4)), (True, (6, 7))):
        draw = np.random.RandomState(1000)
        mask = np.round(draw.rand(*shape) + 0.5 - 0.4)
        mask = np.broadcast_to(mask[..., None] if days else mask, (6, 7, 4))
        np.testing.assert_array_equal(traffic.seen((6, 7, 4), days, 0.4), mask == 1)


def test_it_needs_its_data(tmp_path, capsys):
    with pytest.raises(SystemExit):
        traffic.main(["--data", str(tmp_path)])
    assert "Birmingham.mat" in capsys.readouterr().err
