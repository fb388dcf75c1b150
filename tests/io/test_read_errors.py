"""What is wrong with a file, as an exception that knows which file it is."""

import pickle

import numpy as np
import pytest

from tnjax import load
from tnjax.io import ReadError, open_samples, read_coordinates, read_labels, read_tensor

READERS = {
    "x.npy": read_tensor,
    "x.npz": read_tensor,
    "x.mat": read_tensor,
    "x.png": read_tensor,
    "x.nc": read_tensor,
    "x.csv": read_coordinates,
    "x.tns": read_coordinates,
    "x.json": read_labels,
    "x.safetensors": load,
}


def message(error, path):
    """It names the file once, at its beginning, however deep inside it was found."""
    assert isinstance(error, ValueError)
    assert str(error) == f"{path}: {error.why}"
    assert str(path) not in error.why
    assert str(error.path) == str(path)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (ReadError, str(error))


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named_once(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x00\x01 no such thing \xff" * 20)
    with pytest.raises(ReadError) as seen:
        READERS[name](path)
    message(seen.value, path)


def test_what_a_file_lacks_is_said_once(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.ones(3), b=np.ones(3))
    for choice in (None, "c"):
        with pytest.raises(ReadError, match="a, b") as seen:
            read_tensor(path, choice)
        message(seen.value, path)
    folder = tmp_path / "entries"
    folder.mkdir()
    np.save(folder / "indices.npy", np.asarray([[0, 1], [5, -1]]))
    np.save(folder / "values.npy", np.ones(2))
    with pytest.raises(ReadError, match=r"entries: from entry 0 on: entry 1") as seen:
        list(open_samples(folder).chunks(2))
    message(seen.value, folder)
