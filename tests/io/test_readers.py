"""Readers of images and arrays: kinds, choices, damaged and hostile files; the image writer."""

import gc
import os
import pickle
import subprocess
import sys
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from PIL import Image

from tnjax.io import read_tensor, write_image

# As users see it: type checks would turn some wrong exceptions into right ones.
pytestmark = [pytest.mark.quick, pytest.mark.usefixtures("unchecked")]

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5), np.uint8)
RGB = RNG.integers(0, 256, (6, 5, 3), np.uint8)
NUMBERS = RNG.standard_normal((3, 4, 2))


# Images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff", ".bmp", ".ppm", ".pgm"])
def test_grey_images_are_height_by_width(tmp_path, suffix):
    path = tmp_path / f"grey{suffix}"
    Image.fromarray(GREY).save(path)
    data = read_tensor(path)
    np.testing.assert_array_equal(data.array, GREY, strict=True)
    assert data.is_image
    assert data.white == 255


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".ppm", ".webp"])
def test_color_images_are_height_by_width_by_3(tmp_path, suffix):
    path = tmp_path / f"color{suffix}"
    Image.fromarray(RGB).save(path, lossless=True)
    data = read_tensor(path)
    np.testing.assert_array_equal(data.array, RGB, strict=True)
    assert data.is_image
    assert data.white == 255


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".gif"])
@pytest.mark.parametrize("shape", [(8, 16), (8, 16, 3)])
def test_flat_images_survive_lossy_formats(tmp_path, suffix, shape):
    path = tmp_path / f"flat{suffix}"
    Image.fromarray(np.full(shape, 90, np.uint8)).save(path)
    data = read_tensor(path)
    assert data.is_image
    assert data.array.shape[:2] == (8, 16)
    assert data.array.ndim == 2 or data.array.shape[2] == 3
    np.testing.assert_allclose(data.array.astype(float), 90, atol=2)


def test_the_alpha_channel_is_dropped(tmp_path):
    rgba = np.concatenate([RGB, RNG.integers(1, 256, (6, 5, 1), np.uint8)], axis=2)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    with pytest.warns(UserWarning, match="rgba.png: its transparency"):
        found = read_tensor(tmp_path / "rgba.png").array
    np.testing.assert_array_equal(found, RGB, strict=True)


def test_an_alpha_channel_that_is_opaque_needs_no_word(tmp_path):
    rgba = np.concatenate([RGB, np.full((6, 5, 1), 255, np.uint8)], axis=2)
    Image.fromarray(rgba).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read_tensor(tmp_path / "opaque.png").array, RGB, strict=True)


def test_grey_with_alpha_is_grey(tmp_path):
    grey_alpha = np.stack([GREY, np.full_like(GREY, 200)], axis=2)
    Image.fromarray(grey_alpha).save(tmp_path / "la.png")
    with pytest.warns(UserWarning, match="la.png: its transparency"):
        found = read_tensor(tmp_path / "la.png").array
    np.testing.assert_array_equal(found, GREY, strict=True)


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_are_looked_up(tmp_path, transparent):
    palette = RNG.integers(0, 256, (4, 3), np.uint8)
    indices = RNG.integers(0, 4, (6, 5), np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "p.png", **({"transparency": b"\x80\xff\x00\xff"} if transparent else {}))
    with Image.open(tmp_path / "p.png") as found:
        assert found.mode == "P"
    word = pytest.warns(UserWarning, match="transparency") if transparent else nullcontext()
    with word:
        data = read_tensor(tmp_path / "p.png")
    np.testing.assert_array_equal(data.array, palette[indices], strict=True)


def test_black_and_white_is_0_and_255(tmp_path):
    bits = GREY > 127
    Image.fromarray(bits).save(tmp_path / "bits.png")
    data = read_tensor(tmp_path / "bits.png")
    np.testing.assert_array_equal(data.array, np.where(bits, 255, 0))
    assert data.white == 255


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_keeps_its_depth(tmp_path, suffix):
    deep = RNG.integers(0, 2**16, (6, 5), np.uint16)
    Image.fromarray(deep).save(tmp_path / f"deep{suffix}")
    data = read_tensor(tmp_path / f"deep{suffix}")
    np.testing.assert_array_equal(data.array, deep)
    assert data.is_image
    assert data.white == 65535


# Arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "complex64", "int8", "uint64", ">i4", "bool"]
)
def test_npy_gives_back_shape_and_dtype(tmp_path, dtype):
    array = np.asarray(RNG.integers(0, 2, (3, 4, 2)), dtype)
    np.save(tmp_path / "x.npy", array)
    data = read_tensor(tmp_path / "x.npy")
    np.testing.assert_array_equal(data.array, array, strict=True)
    assert not data.is_image
    assert data.white == 1


def test_npy_in_fortran_order_and_path_as_text(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(NUMBERS))
    np.testing.assert_array_equal(read_tensor(str(tmp_path / "x.npy")).array, NUMBERS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_only_array_of_an_npz_needs_no_name(tmp_path, save):
    save(tmp_path / "x.npz", only=NUMBERS)
    np.testing.assert_array_equal(read_tensor(tmp_path / "x.npz").array, NUMBERS, strict=True)
    np.testing.assert_array_equal(read_tensor(tmp_path / "x.npz", "only").array, NUMBERS)


def test_the_only_array_of_a_mat_needs_no_name(tmp_path):
    for version, array in (("5", NUMBERS), ("4", NUMBERS[0])):
        for compressed in {False, version == "5"}:
            scipy.io.savemat(
                tmp_path / "x.mat", {"only": array}, format=version, do_compression=compressed
            )
            np.testing.assert_array_equal(read_tensor(tmp_path / "x.mat").array, array)
            np.testing.assert_array_equal(read_tensor(tmp_path / "x.mat", "only").array, array)


@pytest.fixture(params=[".npz", ".mat"])
def several(request, tmp_path):
    """An archive of two arrays."""
    path = tmp_path / f"several{request.param}"
    arrays = {"first": NUMBERS, "second": NUMBERS[0]}
    if request.param == ".npz":
        np.savez(path, **arrays)
    else:
        scipy.io.savemat(path, arrays)
    return path


def test_one_of_several_arrays_is_chosen_by_name(several):
    np.testing.assert_array_equal(read_tensor(several, "first").array, NUMBERS)
    np.testing.assert_array_equal(read_tensor(several, variable="second").array, NUMBERS[0])


def test_several_arrays_and_no_name_are_refused_with_their_names(several):
    with pytest.raises(ValueError, match="first, second"):
        read_tensor(several)


def test_unknown_names_are_refused_with_the_known_ones(several):
    with pytest.raises(ValueError, match=r"'third'.*first, second"):
        read_tensor(several, "third")


def test_archives_without_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "empty.npz")
    scipy.io.savemat(tmp_path / "empty.mat", {})
    for name in ("empty.npz", "empty.mat"):
        with pytest.raises(ValueError, match="none"):
            read_tensor(tmp_path / name)


# Files that cannot be read ------------------------------------------------------------------

SUFFIXES = [".png", ".jpg", ".tif", ".gif", ".npy", ".npz", ".mat"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file_is_not_found(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_tensor(tmp_path / f"nowhere{suffix}")


@pytest.mark.parametrize("suffix", ["", *SUFFIXES])
def test_folders_are_refused(tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(ValueError, match="folder"):
        read_tensor(tmp_path / f"folder{suffix}")


@pytest.mark.parametrize("name", ["x.txt", "x", "x.pt", "x.pkl", ".npy", "x.npy.gz"])
def test_unknown_kinds_are_refused_with_the_known_ones(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match=r"\.npy.*\.png"):
        read_tensor(tmp_path / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "data", [b"", b"\0", b"only text\n" * 40, bytes(600), pickle.dumps([1])], ids=len
)
def test_files_of_another_kind_are_refused(tmp_path, suffix, data):
    path = tmp_path / f"other{suffix}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="other"):
        read_tensor(path)


def test_arrays_under_the_wrong_suffix_are_refused(tmp_path):
    files = {}
    for suffix, save in ((".npy", np.save), (".npz", np.savez)):
        save(tmp_path / f"x{suffix}", NUMBERS)
        files[suffix] = (tmp_path / f"x{suffix}").read_bytes()
    Image.fromarray(GREY).save(tmp_path / "x.png")
    files[".png"] = (tmp_path / "x.png").read_bytes()
    for kind, data in files.items():
        for suffix in {".npy", ".npz", ".mat", ".png"} - {kind}:
            path = tmp_path / f"wrong{suffix}"
            path.write_bytes(data)
            with pytest.raises(ValueError, match="wrong"):
                read_tensor(path)
    gc.collect()  # a file left open would warn here


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif", ".bmp", ".webp", ".ppm"])
def test_images_cut_anywhere_are_refused(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(RGB).save(path)
    data = path.read_bytes()
    for length in range(0, len(data) - 24, 5):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="cut"):
            read_tensor(path)
    gc.collect()


def test_images_that_claim_to_be_huge_are_refused(tmp_path):
    head = b"P5\n100000 100000\n255\n"
    (tmp_path / "bomb.pgm").write_bytes(head + bytes(100))
    with pytest.raises(ValueError, match="too large"):
        read_tensor(tmp_path / "bomb.pgm")


def array_file(path, compressed=False):
    """A small sound file of the kind that the suffix names."""
    if path.suffix == ".npy":
        np.save(path, NUMBERS)
    elif path.suffix == ".npz":
        (np.savez_compressed if compressed else np.savez)(path, only=NUMBERS)
    else:
        scipy.io.savemat(path, {"only": NUMBERS}, do_compression=compressed)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "compressed"),
    [(".npy", False), (".npz", False), (".npz", True), (".mat", False), (".mat", True)],
)
def test_arrays_cut_anywhere_are_refused(tmp_path, suffix, compressed):
    path = tmp_path / f"cut{suffix}"
    data = array_file(path, compressed)
    for length in range(0, len(data), 3):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="cut"):
            read_tensor(path)
    gc.collect()


@pytest.mark.parametrize("flip", [0x01, 0x07, 0xFF])
@pytest.mark.parametrize(
    ("suffix", "compressed"), [(".npy", False), (".npz", False), (".npz", True)]
)
def test_a_wrong_byte_is_refused_or_gives_an_array_of_numbers(tmp_path, suffix, compressed, flip):
    path = tmp_path / f"flip{suffix}"
    data = array_file(path, compressed)
    refused = []
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= flip
        path.write_bytes(damaged)
        try:
            found = read_tensor(path).array
        except ValueError as error:
            refused.append(str(error))
        else:
            assert found.dtype.kind in "fciub", place
    gc.collect()
    assert len(refused) > 20
    assert all(str(path) in message for message in refused)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"}", b" "), (b"'<f8'", b"',f8'"), (b"'<f8'", b"'<a8'"), (b"'shape'", b"'snape'")],
)
def test_headers_that_numpy_trips_over_are_refused(tmp_path, old, new):
    """It raises errors of the tokenizer and the parser, and warns."""
    path = tmp_path / "header.npy"
    data = array_file(path)
    assert old in data
    path.write_bytes(data.replace(old, new))
    with pytest.raises(ValueError, match="header"):
        read_tensor(path)


def test_a_shape_beyond_all_memory_is_refused(tmp_path):
    path = tmp_path / "huge.npy"
    data = array_file(path)
    path.write_bytes(data.replace(b"(3, 4, 2), }       ", b"(2**60, 2**60), }  "))
    with pytest.raises(ValueError, match="huge"):
        read_tensor(path)
    path.write_bytes(data.replace(b"(3, 4, 2), }            ", b"(1000000, 1000000000), }"))
    with pytest.raises(ValueError, match="huge"):
        read_tensor(path)


def test_encrypted_archives_are_refused(tmp_path):
    path = tmp_path / "secret.npz"
    data = bytearray(array_file(path))
    data[6] |= 1  # general purpose flags, in the member's header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="secret"):
        read_tensor(path)


def test_archive_members_that_are_no_arrays_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "notes.npz", "w") as archive:
        archive.writestr("notes.txt", "no array")
    with pytest.raises(ValueError, match="notes"):
        read_tensor(tmp_path / "notes.npz")


def test_a_mat_file_of_an_unknown_element_type_does_not_crash(tmp_path):
    """SciPy's reader dereferences a null pointer, so this runs in a process of its own."""
    path = tmp_path / "crash.mat"
    data = bytearray(array_file(path))
    place = data.index(b"only") + 4  # the tag of the numbers: type miDOUBLE, then their size
    assert data[place] == 9
    data[place] = 15
    path.write_bytes(data)
    code = (
        "import sys, tnjax.io\n"
        "try: tnjax.io.read_tensor(sys.argv[1])\n"
        "except ValueError: print('refused')"
    )
    found = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "refused\n"


def test_matlab_73_files_are_refused_with_advice(tmp_path):
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "new.mat").write_bytes(head + bytes(400))
    with pytest.raises(ValueError, match=r"7\.3.*-v7"):
        read_tensor(tmp_path / "new.mat")


# Arrays that are not numbers ----------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "bc"]),
        np.array([b"a", b"bc"]),
        np.array(["2020-01-01"], "M8[D]"),
        np.array([3], "m8[s]"),
        np.zeros(3, [("x", float), ("y", int)]),
        np.zeros(3, "V8"),
    ],
    ids=lambda x: x.dtype.str,
)
def test_arrays_of_other_things_are_refused(tmp_path, array):
    np.save(tmp_path / "things.npy", array)
    np.savez(tmp_path / "things.npz", only=array)
    for name in ("things.npy", "things.npz"):
        with pytest.raises(ValueError, match=r"things.*numbers"):
            read_tensor(tmp_path / name)


@pytest.mark.parametrize(
    "value",
    ["text", {"field": 1.0}, np.array([1, "a"], object), scipy.sparse.eye(3).tocsc()],
    ids=["text", "struct", "cell", "sparse"],
)
def test_matlab_values_of_other_kinds_are_refused(tmp_path, value):
    scipy.io.savemat(tmp_path / "things.mat", {"only": value})
    with pytest.raises(ValueError, match=r"things.*numbers"):
        read_tensor(tmp_path / "things.mat")


class Hostile:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_pickles_are_refused_and_never_run(tmp_path):
    trap = tmp_path / "trap"
    hostile = np.array([Hostile(trap)], object)
    np.save(tmp_path / "hostile.npy", hostile, allow_pickle=True)
    np.savez(tmp_path / "hostile.npz", only=hostile)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Hostile(trap)))
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Hostile(trap)))
    (tmp_path / "raw.mat").write_bytes(pickle.dumps(Hostile(trap)))
    (tmp_path / "raw.png").write_bytes(pickle.dumps(Hostile(trap)))
    with zipfile.ZipFile(tmp_path / "member.npz", "w") as archive:
        archive.writestr("only.npy", pickle.dumps(Hostile(trap)))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ValueError, match=path.stem):
            read_tensor(path)
        assert not trap.exists(), path
    np.load(tmp_path / "hostile.npy", allow_pickle=True)
    assert trap.exists(), "the trap of this test does not work"


# Writing images -----------------------------------------------------------------------------


def written(path, array, white):
    write_image(path, np.asarray(array), white)
    with Image.open(path) as image:
        return np.asarray(image)


def test_values_are_rounded_to_the_nearest_grey(tmp_path):
    found = written(tmp_path / "x.png", [[0, 0.4, 0.6, 100.49, 254.51, 255]], 255.0)
    np.testing.assert_array_equal(found, np.array([[0, 0, 1, 100, 255, 255]], np.uint8))


def test_values_past_the_range_are_clipped(tmp_path):
    found = written(tmp_path / "x.png", [[-1e9, -3, -0.6, 255.4, 256, 1e9]], 255.0)
    np.testing.assert_array_equal(found, np.array([[0, 0, 0, 255, 255, 255]], np.uint8))


def test_white_is_full_intensity(tmp_path):
    found = written(tmp_path / "x.png", [[0, 257, 32768, 65535, 70000]], 65535.0)
    np.testing.assert_array_equal(found, np.array([[0, 1, 128, 255, 255]], np.uint8))
    found = written(tmp_path / "x.png", [[0.0, 0.5, 1.0]], 1.0)
    np.testing.assert_array_equal(found, np.array([[0, 128, 255]], np.uint8))


@pytest.mark.parametrize("array", [GREY, RGB, GREY > 127], ids=["grey", "color", "bool"])
def test_8_bit_images_come_back(tmp_path, array):
    white = 1.0 if array.dtype == bool else 255.0
    found = written(tmp_path / "x.png", array, white)
    np.testing.assert_array_equal(found, array * np.uint8(255 / white), strict=True)
    assert read_tensor(tmp_path / "x.png").array.shape == array.shape
