"""What docs/formats.md says is honored: packing, order of modes, names, pages, white, EXIF."""

import warnings

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import zarr
from PIL import Image

from tnjax.io import open_tensor, read_mask, read_tensor

# As users see it: type checks would turn some wrong exceptions into right ones.
pytestmark = pytest.mark.usefixtures("unchecked")

RNG = np.random.default_rng(0)
STORED = RNG.integers(-3000, 3000, (5, 4, 3)).astype(np.int16)
STORED[0, :2] = -32767
STORED[1, 0, 0] = -9999
PACKED = {"scale_factor": 0.01, "add_offset": 280.0, "_FillValue": np.int16(-32767)}
PACKED |= {"missing_value": np.int16(-9999)}
# What the conventions say, entry by entry.
MEANT = np.array(
    [np.nan if x in (-32767, -9999) else int(x) * 0.01 + 280.0 for x in STORED.ravel()]
).reshape(STORED.shape)
GREY16 = RNG.integers(0, 2**16, (6, 5), np.uint16)
RGB = RNG.integers(0, 256, (6, 5, 3), np.uint8)


# Packed variables ---------------------------------------------------------------------------


def write_hdf5(path, attributes, stored=STORED):
    """As the NetCDF 4 library lays out a variable with coordinates."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("t2m", data=stored, chunks=(2, 4, 3))
        data.attrs.update(attributes)
        for axis, name in enumerate(("time", "lat", "lon")):
            scale = file.create_dataset(name, data=np.arange(stored.shape[axis]) * 10.0)
            scale.make_scale(name)
            data.dims[axis].attach_scale(scale)
        file["time"].attrs["units"] = "hours since 2024-02-28 00:00:00"
        file["time"][:] = np.arange(stored.shape[0]) * 24.0


def write_netcdf3(path, attributes, stored=STORED, version=1):
    with scipy.io.netcdf_file(path, "w", version=version) as file:
        for axis, name in enumerate(("time", "lat", "lon")):
            file.createDimension(name, stored.shape[axis])
            scale = file.createVariable(name, "f8", (name,))
            scale[:] = np.arange(stored.shape[axis]) * (24.0 if axis == 0 else 10.0)
        file.variables["time"].units = "hours since 2024-02-28 00:00:00"
        data = file.createVariable("t2m", stored.dtype.str[1:], ("time", "lat", "lon"))
        data[:] = stored
        for key, value in attributes.items():
            setattr(data, key, value)


def write_zarr(path, attributes, stored=STORED, version=2):
    group = zarr.open_group(path, mode="w", zarr_format=version)
    dims = ("time", "lat", "lon")
    for axis, name in enumerate((*dims, "t2m")):
        mine = dims if name == "t2m" else (name,)
        values = stored if name == "t2m" else np.arange(stored.shape[axis]) * 10.0
        values = values * 2.4 if name == "time" else values
        more = {"dimension_names": mine} if version == 3 else {"fill_value": None}
        array = group.create_array(name, shape=values.shape, dtype=values.dtype, **more)
        array[:] = values
        if version == 2:
            array.attrs["_ARRAY_DIMENSIONS"] = list(mine)
        if name == "time":
            array.attrs["units"] = "hours since 2024-02-28 00:00:00"
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in attributes.items()}
    group["t2m"].attrs.update(plain)


WRITERS = {
    "x.nc": write_hdf5,
    "x.h5": write_hdf5,
    "three.nc": write_netcdf3,
    "two.zarr": write_zarr,
    "new.zarr": lambda path, attributes: write_zarr(path, attributes, version=3),
}


@pytest.mark.parametrize("name", WRITERS)
def test_packed_variables_are_decoded_and_named(tmp_path, name):
    WRITERS[name](tmp_path / name, PACKED)
    found = read_tensor(tmp_path / name)  # the coordinates are not offered beside the variable
    # SciPy writes the attributes in single precision.
    np.testing.assert_allclose(found.array, MEANT, rtol=1e-8 if name == "three.nc" else 1e-12)
    assert found.array.dtype == np.float64
    assert [mode.name for mode in found.modes] == ["time", "lat", "lon"]
    days = ("2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02", "2024-03-03")
    assert found.modes[0].labels == days
    assert found.modes[1].labels == ("0.0", "10.0", "20.0", "30.0")
    assert "scale_factor 0.01" in " ".join(found.notes)


@pytest.mark.parametrize("name", ["x.nc", "two.zarr"])
def test_slabs_are_decoded_as_the_whole(tmp_path, name):
    WRITERS[name](tmp_path / name, PACKED)
    file = open_tensor(tmp_path / name)
    slabs = [slab.copy() for slab in file.slabs(max_bytes=2 * file.row_bytes)]
    assert [len(slab) for slab in slabs] == [2, 2, 1]
    np.testing.assert_allclose(np.concatenate(slabs), MEANT, rtol=1e-12)
    assert file.dtype == np.float64


def test_numbers_without_attributes_are_left_as_they_are(tmp_path):
    for name in ("x.h5", "two.zarr", "new.zarr"):
        WRITERS[name](tmp_path / name, {})
        found = read_tensor(tmp_path / name)
        np.testing.assert_array_equal(found.array, STORED, strict=True)
        assert found.notes == ()


def test_the_default_fill_value_counts_in_netcdf_only(tmp_path):
    for name, missing in (("x.nc", True), ("three.nc", True), ("x.h5", False)):
        WRITERS[name](tmp_path / name, {})
        found = read_tensor(tmp_path / name).array
        np.testing.assert_array_equal(np.isnan(found), (STORED == -32767) & missing)


@pytest.mark.parametrize("name", ["x.nc", "three.nc", "two.zarr"])
@pytest.mark.parametrize(
    ("limits", "low", "high"),
    [
        ({"valid_range": np.array([-100, 2000], np.int16)}, -100, 2000),
        ({"valid_min": np.int16(0)}, 0, np.inf),
        ({"valid_max": np.int16(5)}, -np.inf, 5),
    ],
)
def test_stored_numbers_outside_of_the_valid_range_are_missing(tmp_path, name, limits, low, high):
    limits = {k: v.tolist() if "zarr" in name else v for k, v in limits.items()}
    WRITERS[name](tmp_path / name, {"scale_factor": 0.5, "_FillValue": np.int16(-32767), **limits})
    found = read_tensor(tmp_path / name).array
    good = (low <= STORED) & (high >= STORED) & (STORED != -32767)
    np.testing.assert_array_equal(found, np.where(good, STORED * 0.5, np.nan))


def test_bytes_that_are_meant_without_sign(tmp_path):
    stored = np.arange(-128, 128, dtype=np.int8).reshape(4, 8, 8)
    attributes = {"_Unsigned": "true", "_FillValue": np.int8(-1), "scale_factor": 2.0}
    write_hdf5(tmp_path / "x.nc", attributes, stored)
    expected = stored.astype(int) % 256 * 2.0
    expected[stored == -1] = np.nan
    np.testing.assert_array_equal(read_tensor(tmp_path / "x.nc").array, expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale_factor": "wide"},
        {"scale_factor": np.nan},
        {"add_offset": np.arange(3.0)},
        {"valid_range": np.arange(3)},
    ],
    ids=str,
)
def test_attributes_that_cannot_be_meant_are_refused(tmp_path, wrong):
    write_hdf5(tmp_path / "x.nc", wrong)
    with pytest.raises(ValueError, match=rf"x\.nc: t2m: the attribute {next(iter(wrong))}"):
        read_tensor(tmp_path / "x.nc")


def test_netcdf_cdf5_is_named(tmp_path):
    (tmp_path / "x.nc").write_bytes(b"CDF\x05" + bytes(40))
    with pytest.raises(ValueError, match=r"CDF-5.*nccopy"):
        read_tensor(tmp_path / "x.nc")


@pytest.mark.parametrize("name", ["x.h5", "x.mat"])
def test_matlab_73_has_its_modes_in_matlabs_order(tmp_path, name):
    """A file as `save -v7.3` writes it: HDF5 behind 512 bytes, modes reversed, attributes."""
    x = RNG.normal(size=(2, 3, 4))
    z = x[..., 0] + 1j * x[..., 1]
    with h5py.File(tmp_path / name, "w", userblock_size=512) as file:
        for key, values in (("x", x), ("z", z)):
            stored = values.T
            if key == "z":
                stored = np.rec.fromarrays([values.T.real, values.T.imag], names="real,imag")
            file.create_dataset(key, data=stored).attrs["MATLAB_class"] = np.bytes_("double")
        text = file.create_dataset("s", data=np.array([[104], [105]], np.uint16))
        text.attrs["MATLAB_class"] = np.bytes_("char")
    head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    with open(tmp_path / name, "r+b") as file:
        file.write(head)
    np.testing.assert_array_equal(read_tensor(tmp_path / name, "x").array, x)
    np.testing.assert_array_equal(read_tensor(tmp_path / name, "z").array, z)
    with pytest.raises(ValueError, match=r"'s'|char"):
        read_tensor(tmp_path / name, "s")


def test_nifti_is_scaled_as_its_header_says(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    stored = RNG.integers(-99, 99, (4, 5, 6)).astype(np.int16)
    image = nibabel.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    for name in ("x.nii", "x.nii.gz"):
        image.to_filename(tmp_path / name)
        np.testing.assert_array_equal(read_tensor(tmp_path / name).array, stored * 0.5 + 3)
    whole = (tmp_path / "x.nii").read_bytes()
    (tmp_path / "x.nii").write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=r"x\.nii"):
        read_tensor(tmp_path / "x.nii")


# Images -------------------------------------------------------------------------------------

KINDS = {
    "uint8": (GREY16 >> 8).astype(np.uint8),
    "uint16": GREY16,
    "int16": GREY16.view(np.int16),
    "uint32": GREY16.astype(np.uint32) * 65537,
    "int32": GREY16.astype(np.int32) * -9,
    "float32": GREY16 / np.float32(65535),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
def test_tiff_of_any_kind_and_byte_order(tmp_path, kind, order):
    tifffile.imwrite(tmp_path / "x.tif", KINDS[kind], byteorder=order)
    if (kind, order) == ("uint32", ">"):
        with pytest.raises(ValueError, match="not an image of a known format"):
            read_tensor(tmp_path / "x.tif")
        return
    found = read_tensor(tmp_path / "x.tif")
    np.testing.assert_array_equal(found.array, KINDS[kind])
    assert found.array.dtype.isnative
    white = {"uint8": 255, "uint16": 65535, "float32": 1}
    largest = np.abs(KINDS[kind].astype(float)).max()
    assert found.white == white.get(kind, largest)


@pytest.mark.parametrize("order", ["<", ">"])
def test_masks_of_16_bits_and_of_floats_are_dark_where_nothing_is_observed(tmp_path, order):
    mask = RNG.random((6, 5)) < 0.5
    for stored in (np.where(mask, 65535, 20000).astype(np.uint16), mask.astype(np.float32)):
        tifffile.imwrite(tmp_path / "m.tif", stored, byteorder=order)
        np.testing.assert_array_equal(read_mask(tmp_path / "m.tif", (6, 5)), mask)


@pytest.mark.parametrize("shape", [(3, 6, 5), (3, 6, 5, 3)])
def test_pages_of_a_tiff_are_the_first_mode(tmp_path, shape):
    pages = RNG.integers(0, 256, shape, np.uint8)
    photometric = "rgb" if len(shape) == 4 else "minisblack"
    tifffile.imwrite(tmp_path / "x.tif", pages, photometric=photometric)
    found = read_tensor(tmp_path / "x.tif")
    np.testing.assert_array_equal(found.array, pages, strict=True)
    assert (found.is_image, found.is_stack, found.white) == (False, True, 255)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
@pytest.mark.parametrize("color", [False, True])
def test_frames_of_an_animation_are_the_first_mode(tmp_path, suffix, color):
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    for k in range(3):
        frames[k, 4 * k : 4 * k + 4] = (200, 40, 10) if color else 200
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(tmp_path / f"x{suffix}", save_all=True, append_images=images[1:], lossless=True)
    found = read_tensor(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(found.array, frames if color else frames[..., 0])
    assert found.is_stack


def test_pages_of_other_sizes_are_refused_and_thumbnails_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(KINDS["uint8"])
        file.write(KINDS["uint8"][::2], subfiletype=1)
    np.testing.assert_array_equal(read_tensor(tmp_path / "x.tif").array, KINDS["uint8"])
    with tifffile.TiffWriter(tmp_path / "y.tif") as file:
        file.write(KINDS["uint8"])
        file.write(KINDS["uint8"][::2])
    with pytest.raises(ValueError, match="2 pages differ in size"):
        read_tensor(tmp_path / "y.tif")


def test_white_is_zero(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", GREY16, photometric="miniswhite")
    np.testing.assert_array_equal(read_tensor(tmp_path / "x.tif").array, 65535 - GREY16)


def test_16_bits_of_color_are_refused_by_name(tmp_path):
    deep = RNG.integers(0, 2**16, (6, 5, 3), np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", deep, photometric="rgb")
    (tmp_path / "x.ppm").write_bytes(b"P6 5 6 65535\n" + deep.astype(">u2").tobytes())
    for name in ("x.tif", "x.ppm"):
        with pytest.raises(ValueError, match=r"16 bits for each of .*channels.*\.npy"):
            read_tensor(tmp_path / name)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    scene = np.zeros((16, 24, 3), np.uint8)
    scene[:8, :8] = 255  # bright at the top left when seen upright
    stored = {  # how a camera holds the scene so that the tag brings it upright
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.transpose(1, 0, 2),
        6: scene.transpose(1, 0, 2)[::-1],
        7: scene.transpose(1, 0, 2)[::-1, ::-1],
        8: scene.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    more = {".jpg": {"quality": 95}, ".webp": {"lossless": True}}.get(suffix, {})
    image.save(tmp_path / f"x{suffix}", exif=exif, **more)
    found = read_tensor(tmp_path / f"x{suffix}")
    np.testing.assert_allclose(found.array.astype(float), scene, atol=12)
    assert bool(found.notes) == (orientation != 1)


def test_channels_beyond_color_are_left_out_with_a_word(tmp_path):
    five = RNG.integers(0, 256, (6, 5, 5), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", five, photometric="rgb", planarconfig="contig")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_tensor(tmp_path / "x.tif")
    np.testing.assert_array_equal(found.array, five[..., :3])
    assert ["channels beyond" in str(word.message) for word in caught] == [True]


# What the fuzzer found ----------------------------------------------------------------------------


def with_scales(path, coordinate, units: str) -> None:
    """A dataset [2, 3] with a scale for each axis."""
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(6.0).reshape(2, 3)
        file["row"], file["time"] = np.array([10, 20]), np.asarray(coordinate)
        file["time"].attrs["units"] = units
        for axis, name in enumerate(("row", "time")):
            file[name].make_scale(name)
            file["x"].dims[axis].attach_scale(file[name])


def test_scales_are_found_where_the_dataset_tells_of_too_few(tmp_path):
    path = tmp_path / "x.h5"
    with_scales(path, [1, 2, 3], "m")
    with h5py.File(path, "r+") as file:
        known = file["x"].attrs["DIMENSION_LIST"][:1]
        kind = h5py.vlen_dtype(h5py.ref_dtype)
        del file["x"].attrs["DIMENSION_LIST"]  # HDF5's own look at axis 1 may crash
        file["x"].attrs.create("DIMENSION_LIST", known, dtype=kind)
    modes = read_tensor(path).modes
    assert [mode.name for mode in modes] == ["row", "time"]
    assert modes[1].labels == ("1", "2", "3")


def test_labels_of_axes_without_scales(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(6.0).reshape(2, 3)
        file["x"].dims[1].label = "wave length"
    assert [mode.name for mode in read_tensor(path).modes][1] == "wave length"


def test_moments_past_all_calendars_are_numbers(tmp_path):
    path = tmp_path / "x.h5"
    with_scales(path, [0.0, 1.0, 1e307], "days since 2000-01-01")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = read_tensor(path).modes[1].labels
    assert labels == ("0.0", "1.0", "1e+307")


def test_palettes_are_counted_as_the_colors_that_they_become(tmp_path):
    pages = [Image.new("P", (40, 50), color) for color in (0, 1)]
    for page in pages:
        page.putpalette([0, 0, 0, 250, 20, 30])
    pages[0].save(tmp_path / "x.gif", save_all=True, append_images=pages[1:])
    assert read_tensor(tmp_path / "x.gif", max_bytes=4 * 2 * 2000).array.shape == (2, 50, 40, 3)
    with pytest.raises(ValueError, match="too large"):
        read_tensor(tmp_path / "x.gif", max_bytes=4 * 2 * 2000 - 1)


def test_a_name_that_is_not_in_utf_8(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file[b"temp\xe9"] = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(read_tensor(path).array, np.arange(6.0).reshape(2, 3))
    assert read_tensor(path, "temp\ufffd").array.shape == (2, 3)
