"""The archive of all fits, and how values are stored."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from tests.helpers import random_cores
from tnjax import Archive, Decomposition, Status, Structure, TensorNetwork, search
from tnjax._search.strategy import Fit
from tnjax._storable import decode, encode, storable

SHAPE = (3, 4, 3)
PROBLEM = Decomposition(np.random.default_rng(0).standard_normal(SHAPE))


def fit(edges, error):
    structure = Structure.from_edges(SHAPE, edges)
    return Fit(structure, random_cores(structure), error)


FITS = [
    fit({}, 0.9),
    fit({(0, 1): 2}, 0.5),
    fit({(1, 2): 2}, 0.6),  # beaten by the one before
    fit({(0, 1): 3, (1, 2): 3}, 0.1),
    fit({(0, 1): 2, (1, 2): 2, (0, 2): 2}, 0.1),
    fit({(0, 1): 4, (1, 2): 4}, math.inf),
]


def test_every_fit_is_recorded_and_the_unbeaten_keep_their_networks():
    archive = Archive().add(PROBLEM, FITS[:2]).add(PROBLEM, FITS[2:])
    assert len(archive) == 6
    assert [record.structure for record in archive] == [one.structure for one in FITS]
    for record in archive:
        assert record.num_params == record.structure.num_params
        assert record.flops == PROBLEM.flops(record.structure)
        assert record.peak_bytes == PROBLEM.fit_peak_bytes(record.structure)
        others = [
            other
            for other in archive
            if other is not record
            and other.error <= record.error
            and other.num_params <= record.num_params
            and other.flops <= record.flops
            and other.peak_bytes <= record.peak_bytes
        ]
        assert (record.network is None) == bool(others)


def test_fronts_and_choices():
    archive = Archive().add(PROBLEM, FITS)
    front = archive.pareto()
    assert [record.error for record in front] == [0.9, 0.5, 0.1]
    params = [record.num_params for record in front]
    assert params == sorted(params)
    assert [r.error for r in archive.pareto("flops")][-1] == 0.1
    assert archive.choose(target_error=0.5).structure == FITS[1].structure
    cheap = archive.choose("flops", target_error=0.1)
    rivals = [PROBLEM.flops(one.structure) for one in FITS if one.error <= 0.1]
    assert cheap.flops == min(rivals)
    assert archive.choose("error", max_params=11).error == 0.9
    with pytest.raises(ValueError, match=r"None of the 6 fitted structures has error <= 0.01"):
        archive.choose(target_error=0.01)
    with pytest.raises(ValueError, match="unknown cost 'time'"):
        archive.choose("time")


def test_networks_in_the_result_represent_the_data_itself():
    data = 1e3 * np.random.default_rng(1).standard_normal(SHAPE)
    result = search(Decomposition(data), key=jax.random.key(0), max_params=30)
    for record in result.pareto:
        found = np.asarray(record.network.to_dense())
        error = np.linalg.norm(found - data) / np.linalg.norm(data)
        np.testing.assert_allclose(error, record.error, rtol=1e-8)
    assert result.fitted == len(result.archive)
    assert result.choose("error").error == result.error


def test_the_tensor_itself_is_in_the_archive_where_it_is_the_result():
    data = np.random.default_rng(1).standard_normal(SHAPE)
    result = search(Decomposition(data), key=jax.random.key(0), max_params=data.size + 4)
    assert result.structure.num_params == data.size
    chosen = result.choose("error")
    assert chosen.error == result.error == 0
    np.testing.assert_allclose(chosen.network.to_dense(), data, rtol=1e-12)


def test_values_come_back_as_they_were():
    value = {
        "none": None,
        "numbers": (1, 2.5, math.inf, -0.1 + 0.3, True),
        (0, 1): Status.TARGET_REACHED,
        Structure.cp(SHAPE, 2): (np.arange(3.0), np.asarray(1j, np.complex64)),
        "fit": FITS[3],
    }
    arrays = {}
    text = json.dumps(encode(value, arrays))
    back = decode(json.loads(text), arrays)
    assert back.keys() == value.keys()
    assert back["numbers"] == value["numbers"]
    assert back[0, 1] is Status.TARGET_REACHED
    for a, b in zip(back[Structure.cp(SHAPE, 2)], value[Structure.cp(SHAPE, 2)], strict=True):
        np.testing.assert_array_equal(a, b)
    assert back["fit"].structure == FITS[3].structure
    network = TensorNetwork(FITS[3].structure, FITS[3].cores)
    (again,) = decode(encode((network,), arrays), arrays)
    np.testing.assert_array_equal(again.cores[0], network.cores[0])


def test_only_what_is_registered_is_stored_or_made():
    @dataclasses.dataclass
    class Other:
        x: int

    with pytest.raises(TypeError, match="Other cannot be stored"):
        encode(Other(1), {})
    with pytest.raises(ValueError, match="unknown kind 'Other'"):
        decode({"$": "Other", "fields": {"x": 1}}, {})
    with pytest.raises(TypeError, match="arrays of object"):
        encode(np.asarray([None]), {})
    with pytest.raises(ValueError, match="is no dataclass"):
        storable(int)
    Fit2 = dataclasses.make_dataclass("Fit", ["x"])
    with pytest.raises(ValueError, match="another class named Fit"):
        storable(Fit2)
