"""Network files: round trips, a golden file, damage, atomic writing."""

import json
import os
import stat
from pathlib import Path

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given

from tests.helpers import DTYPES, random_network, structures
from tnjax import Structure, TensorNetwork, load, load_metadata, save

GOLDEN = Path(__file__).parents[1] / "data" / "network_v1.safetensors"

# A node with two legs, an internal node, a hyperedge.
MIXED = Structure((2, 3, 5), ((0,), (1, 2), ()), {(0, 1): 2, (1, 2): 3, (0, 1, 2): 4})

NAMED = {
    "one core": Structure.rank_one((4,)),
    "rank one": Structure.rank_one((2, 3, 4)),
    "ring": Structure.tensor_ring((2, 3, 4), (2, 3, 4)),
    "hyperedge": Structure.cp((2, 3, 4), 3),
    "internal node": Structure.tucker((3, 4, 5), (2, 3, 2)),
    "internal node without bonds": Structure.tucker((3, 4, 5), 1),
    "mixed": MIXED,
}


def assert_same(a: TensorNetwork, b: TensorNetwork) -> None:
    """Equal down to the last bit."""
    assert a.structure == b.structure
    assert a.dtype == b.dtype
    for x, y in zip(a.cores, b.cores, strict=True):
        assert x.shape == y.shape
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def parts(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The header and the arrays of a file, read without tnjax."""
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["tnjax"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return header, arrays


def write(path: Path, header: dict | str, arrays: dict[str, np.ndarray]) -> Path:
    """A file of any header and arrays."""
    text = header if isinstance(header, str) else json.dumps(header)
    safetensors.numpy.save_file(arrays, path, metadata={"tnjax": text})
    return path


@pytest.fixture
def saved(tmp_path):
    """A sound file of the mixed structure, its header and its arrays."""
    path = tmp_path / "network.safetensors"
    save(path, random_network(MIXED), {"note": "sound"})
    return path, *parts(path)


# Round trips --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMED)
def test_load_gives_back_what_save_wrote(tmp_path, name, dtype):
    network = random_network(NAMED[name], dtype)
    save(tmp_path / "n.safetensors", network)
    assert_same(load(tmp_path / "n.safetensors"), network)


@given(structures(), st.sampled_from(DTYPES))
def test_any_structure_survives_a_file(tmp_path_factory, structure, dtype):
    path = tmp_path_factory.mktemp("any") / "n.safetensors"
    network = random_network(structure, dtype)
    save(path, network)
    assert_same(load(path), network)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_cores_survive_a_file(tmp_path, dtype):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16
    train = Structure.tensor_train((2, 3), 2)
    cores = [np.arange(4.0).reshape(2, 2).astype(kind), np.arange(6.0).reshape(3, 2).astype(kind)]
    network = TensorNetwork(train, cores)
    save(tmp_path / "n.safetensors", network)
    assert_same(load(tmp_path / "n.safetensors"), network)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_special_values_survive_a_file(tmp_path, dtype):
    values = [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, np.finfo(float).max]
    core = np.zeros(len(values) ** 2, dtype)
    core.real = np.repeat(values, len(values))
    if dtype == "complex128":
        core.imag = np.tile(values, len(values))
    network = TensorNetwork(Structure.rank_one((len(core),)), [core])
    save(tmp_path / "n.safetensors", network)
    assert_same(load(tmp_path / "n.safetensors"), network)


def test_cores_that_are_views_are_written_in_their_own_order(tmp_path):
    train = Structure.tensor_train((2, 3), 2)
    cores = [np.arange(4.0).reshape(2, 2).T, np.arange(6.0).reshape(2, 3).T]
    save(tmp_path / "n.safetensors", TensorNetwork(train, cores))
    for core, loaded in zip(cores, load(tmp_path / "n.safetensors").cores, strict=True):
        np.testing.assert_array_equal(loaded, core)


def test_a_path_may_be_text(tmp_path):
    network = random_network(MIXED)
    save(str(tmp_path / "n.safetensors"), network)
    assert_same(load(str(tmp_path / "n.safetensors")), network)


# Metadata -----------------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
            max_leaves=6,
        ).filter(lambda value: "inf" not in repr(value)),
        max_size=3,
    )
)
def test_metadata_come_back(tmp_path_factory, metadata):
    path = tmp_path_factory.mktemp("metadata") / "n.safetensors"
    save(path, random_network(Structure.rank_one((2,))), metadata)
    assert load_metadata(path) == metadata


def test_metadata_are_empty_by_default(tmp_path):
    save(tmp_path / "n.safetensors", random_network(MIXED))
    assert load_metadata(tmp_path / "n.safetensors") == {}


@pytest.mark.parametrize(
    "value",
    [object(), 1j, np.arange(3), float("nan"), -float("inf"), {1, 2}, b"bytes"],
    ids=lambda value: type(value).__name__,
)
def test_metadata_that_are_not_json_are_refused_and_nothing_is_written(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        save(tmp_path / "n.safetensors", random_network(MIXED), {"key": value})
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_hold_themselves_are_refused(tmp_path):
    metadata: dict = {}
    metadata["self"] = metadata
    with pytest.raises(ValueError, match="JSON"):
        save(tmp_path / "n.safetensors", random_network(MIXED), metadata)
    assert list(tmp_path.iterdir()) == []


# The golden file ----------------------------------------------------------------------------


def golden_network() -> TensorNetwork:
    """What the golden file holds."""
    shapes = [MIXED.core_shape(node) for node in range(3)]
    cores = [np.arange(np.prod(shape)).reshape(shape) / 8 - k for k, shape in enumerate(shapes)]
    return TensorNetwork(MIXED, cores)


GOLDEN_METADATA = {"note": "written by tnjax 0.1.0", "numbers": [1, -2.5, None, True], "ü": {}}


def test_the_golden_file_of_version_1_still_loads():
    network = load(GOLDEN)
    assert network.structure.dims == (2, 3, 5)
    assert network.structure.legs == ((0,), (1, 2), ())
    assert dict(network.structure.edges) == {(0, 1): 2, (0, 1, 2): 4, (1, 2): 3}
    assert [core.shape for core in network.cores] == [(2, 2, 4), (3, 5, 2, 4, 3), (4, 3)]
    assert network.dtype == np.float64
    assert_same(network, golden_network())
    assert load_metadata(GOLDEN) == GOLDEN_METADATA


def test_todays_files_hold_what_the_golden_file_holds(tmp_path):
    save(tmp_path / "n.safetensors", golden_network(), GOLDEN_METADATA)
    header, arrays = parts(tmp_path / "n.safetensors")
    golden_header, golden_arrays = parts(GOLDEN)
    assert header == golden_header
    assert header["version"] == 1
    assert arrays.keys() == golden_arrays.keys() == {"core_0", "core_1", "core_2"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, golden_arrays[name], strict=True)


# Damage -------------------------------------------------------------------------------------


def test_a_missing_file_is_not_found(tmp_path):
    for reader in (load, load_metadata):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
            reader(tmp_path / "nowhere.safetensors")


def test_a_folder_cannot_be_loaded(tmp_path):
    with pytest.raises((ValueError, OSError)):
        load(tmp_path)


def test_a_file_cut_anywhere_is_refused(tmp_path, saved):
    data, cut = saved[0].read_bytes(), tmp_path / "cut.safetensors"
    steps = {*range(0, len(data), 29), *range(30), *range(len(data) - 30, len(data))}
    for length in sorted(steps):
        cut.write_bytes(data[:length])
        for reader in (load, load_metadata):
            with pytest.raises(ValueError, match=r"cut\.safetensors"):
                reader(cut)


def test_bytes_after_the_end_are_refused(tmp_path, saved):
    long = tmp_path / "long.safetensors"
    long.write_bytes(saved[0].read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"long\.safetensors"):
        load(long)


@pytest.mark.parametrize(
    ("dtype", "flip"),
    [("float64", 0x01), ("float64", 0x20), ("float64", 0xFF), ("complex64", 0x02)],
)
def test_a_wrong_byte_is_refused_or_changes_numbers_only(tmp_path, dtype, flip):
    path = tmp_path / "n.safetensors"
    network = random_network(Structure.from_edges((2, 3, 4), {(0, 1): 5, (1, 2): 6}), dtype)
    save(path, network)
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    refused = []
    for place in (*range(start), *range(start, len(data), 7)):
        damaged = bytearray(data)
        damaged[place] ^= flip
        path.write_bytes(damaged)
        try:
            found = load(path)
        except ValueError as error:
            refused.append((place, str(error)))
            continue
        assert found.structure == network.structure, place
        assert found.dtype == network.dtype, place
        if place < start:  # nothing that the numbers depend on, such as the word "metadata"
            assert_same(found, network)
    assert all(place < start for place, _ in refused), "any bytes are numbers"
    assert all(str(path) in message for _, message in refused)
    assert len(refused) > 0.9 * start


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "other.safetensors"
    for data in (b"", b"text\n", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(1000), b"\xff" * 1000):
        other.write_bytes(data)
        with pytest.raises(ValueError, match="not a safetensors file"):
            load(other)
    np.savez(tmp_path / "other.npz", core_0=np.eye(2))
    with pytest.raises(ValueError, match="not a safetensors file"):
        load(tmp_path / "other.npz")


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"tnjax.other": "{}"}])
def test_safetensors_of_other_programs_are_refused(tmp_path, metadata):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"core_0": np.eye(2)}, path, metadata=metadata)
    for reader in (load, load_metadata):
        with pytest.raises(ValueError, match="not one that tnjax wrote"):
            reader(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"', "{}", '{"format": "x"}'])
def test_headers_that_are_not_ours_are_refused(tmp_path, text):
    path = write(tmp_path / "n.safetensors", text, {"core_0": np.eye(2)})
    for reader in (load, load_metadata):
        with pytest.raises(ValueError, match=r"n\.safetensors"):
            reader(path)


@pytest.mark.parametrize("version", [2, 0, 1.5, "1", None, [1]])
def test_other_versions_are_refused(saved, version):
    path, header, arrays = saved
    write(path, {**header, "version": version}, arrays)
    for reader in (load, load_metadata):
        with pytest.raises(ValueError, match="version"):
            reader(path)


def test_a_newer_structure_is_refused(saved):
    path, header, arrays = saved
    header["structure"]["version"] = 2
    with pytest.raises(ValueError, match="version"):
        load(write(path, header, arrays))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("structure",), None),
        (("structure",), []),
        (("structure", "dims"), None),
        (("structure", "dims"), [2, 3]),
        (("structure", "dims"), [2, 3, 6]),
        (("structure", "dims"), [2, 3, -5]),
        (("structure", "dims"), [2, 3, "5.0"]),
        (("structure", "dims"), [2, 3, 10**30]),
        (("structure", "dims"), [2, 3, float("inf")]),
        (("structure", "legs"), 3),
        (("structure", "legs"), [[0], [1], [2]]),
        (("structure", "legs"), [[0], [1, float("inf")], []]),
        (("structure", "legs"), [[0], [1, float("nan")], []]),
        (("structure", "edges"), {}),
        (("structure", "edges"), [None]),
        (("structure", "edges", 0, "rank"), 5),
        (("structure", "edges", 0, "rank"), float("inf")),
        (("structure", "edges", 0, "rank"), [2]),
        (("structure", "edges", 0, "nodes"), [0]),
        (("structure", "edges", 0, "nodes"), [0, 9]),
        (("structure", "edges", 0, "nodes"), [0, [1]]),
        (("structure", "edges", 0, "nodes"), [0, float("inf")]),
        (("structure", "edges", 0, "nodes"), [1, 2]),
    ],
    ids=lambda x: "-".join(map(str, x)) if isinstance(x, tuple) else str(x),
)
def test_damaged_structures_are_refused(saved, where, value):
    path, header, arrays = saved
    inner = header
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    with pytest.raises(ValueError, match=r"network\.safetensors"):
        load(write(path, header, arrays))


@pytest.mark.parametrize("key", ["structure", "structure.dims", "structure.edges"])
def test_headers_without_a_part_of_the_structure_are_refused(saved, key):
    path, header, arrays = saved
    *outer, last = key.split(".")
    del (header[outer[0]] if outer else header)[last]
    with pytest.raises(ValueError, match=r"network\.safetensors"):
        load(write(path, header, arrays))


def test_deeply_nested_headers_are_refused(saved):
    path, header, arrays = saved
    for depth in (500, 900, 1000, 100_000):
        nest = "[" * depth + "]" * depth
        for key in ("version", "structure"):
            text = json.dumps({**header, key: "@"}).replace('"@"', nest)
            with pytest.raises(ValueError, match=r"network\.safetensors"):
                load(write(path, text, arrays))


def test_metadata_that_are_no_object_are_refused(saved):
    path, header, arrays = saved
    with pytest.raises(ValueError, match="metadata"):
        load_metadata(write(path, {**header, "metadata": [1]}, arrays))


@pytest.mark.parametrize(
    "change",
    [
        {"core_1": None},
        {"core_0": None, "core_1": None, "core_2": None},
        {"core_3": np.eye(2)},
        {"something": np.eye(2)},
        {"core_2": np.zeros((3, 4))},
        {"core_2": np.zeros((4, 3, 1))},
        {"core_2": np.zeros(())},
        {"core_2": np.zeros((4, 3), np.float32)},
        {"core_2": np.zeros((4, 3), np.int64)},
        {f"core_{k}": np.zeros(MIXED.core_shape(k), np.int64) for k in range(3)},
        {"core_2": None, "core_2.real": np.zeros((4, 3))},
        {"core_2": None, "core_2.imag": np.zeros((4, 3))},
        {"core_2.imag": np.zeros((4, 3))},
    ],
    ids=lambda change: ",".join(
        f"{name}:{'gone' if array is None else array.dtype}" for name, array in change.items()
    ),
)
def test_wrong_arrays_are_refused(saved, change):
    path, header, arrays = saved
    arrays = {name: array for name, array in {**arrays, **change}.items() if array is not None}
    with pytest.raises(ValueError, match=r"network\.safetensors"):
        load(write(path, header, arrays))


@pytest.mark.parametrize(
    "imag",
    [
        np.zeros((1, 3)),
        np.zeros(3),
        np.zeros((2, 4, 3)),
        np.zeros((3, 4)),
        np.zeros((4, 3), np.int64),
        np.zeros((4, 3), np.float32),
    ],
    ids=lambda x: f"{x.shape}{x.dtype}",
)
def test_real_and_imaginary_parts_that_differ_in_kind_are_refused(tmp_path, imag):
    path = tmp_path / "n.safetensors"
    save(path, random_network(MIXED, "complex128"))
    header, arrays = parts(path)
    with pytest.raises(ValueError, match=r"n\.safetensors"):
        load(write(path, header, {**arrays, "core_2.imag": imag}))


# Writing ------------------------------------------------------------------------------------


def test_save_replaces_the_file_that_was_there(tmp_path):
    path = tmp_path / "n.safetensors"
    path.write_text("something else")
    save(path, random_network(MIXED))
    assert load(path).structure == MIXED
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        save(tmp_path / "n.safetensors", random_network(MIXED))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "n.safetensors").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        # The library's own word for the same thing.
        safetensors.SafetensorError("Error while serializing: I/O error: (os error 28)"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, error):
    path = tmp_path / "n.safetensors"
    old = random_network(MIXED)
    save(path, old, {"which": "old"})

    def fail(tensors, filename, metadata=None):
        Path(filename).write_bytes(b"the first half")
        raise error

    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    with pytest.raises(OSError, match=r"[Nn]o space|os error 28"):
        save(path, random_network(MIXED, seed=1), {"which": "new"})
    with pytest.raises(OSError, match=r"[Nn]o space|os error 28"):
        save(tmp_path / "fresh.safetensors", old)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]
    assert_same(load(path), old)
    assert load_metadata(path) == {"which": "old"}


def test_a_failed_exchange_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "n.safetensors"
    path.write_text("old")

    def fail(*args, **kwargs):
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        save(path, random_network(MIXED))
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_a_file_cannot_be_written_to_a_missing_folder_or_over_one(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        save(tmp_path / "nowhere" / "n.safetensors", random_network(MIXED))
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        save(tmp_path / "folder", random_network(MIXED))
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


# Precision ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "narrow"), [("float64", "float32"), ("complex128", "complex64")])
def test_double_precision_in_32_bit_mode_is_rounded_with_a_warning(tmp_path, dtype, narrow):
    network = random_network(MIXED, dtype)
    save(tmp_path / "n.safetensors", network)
    with jax.enable_x64(False), pytest.warns(UserWarning, match=f"{dtype}.*32-bit"):
        found = load(tmp_path / "n.safetensors")
    assert found.dtype == jnp.dtype(narrow)
    for core, exact in zip(found.cores, network.cores, strict=True):
        np.testing.assert_array_equal(core, np.asarray(exact).astype(narrow))


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_single_precision_in_32_bit_mode_is_loaded_in_silence(tmp_path, dtype):
    network = random_network(MIXED, dtype)
    save(tmp_path / "n.safetensors", network)
    with jax.enable_x64(False):
        assert_same(load(tmp_path / "n.safetensors"), network)
