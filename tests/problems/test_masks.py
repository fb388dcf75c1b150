"""Masks from files and drawn at random."""

import jax
import numpy as np
import pytest
from PIL import Image

from tnjax import Completion, Decomposition
from tnjax.io import Mode, modes_of, random_mask, read_mask

# As users see it: type checks would turn some wrong exceptions into right ones.
pytestmark = pytest.mark.usefixtures("unchecked")

MASK = np.random.default_rng(0).random((6, 5)) < 0.5


def test_an_image_marks_what_is_bright(tmp_path):
    Image.fromarray(np.where(MASK, 200, 100).astype(np.uint8)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", (6, 5)), MASK)


def test_a_colored_image_marks_pixels_where_any_channel_is_bright(tmp_path):
    colors = np.zeros((6, 5, 3), np.uint8)
    colors[MASK, 1] = 255
    Image.fromarray(colors).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", (6, 5)), MASK)
    for_color = read_mask(tmp_path / "mask.png", (6, 5, 3))  # channel by channel
    np.testing.assert_array_equal(for_color, colors > 0)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float64"])
@pytest.mark.parametrize(
    ("shape", "place"),
    [
        ((6, 5), ...),
        ((6, 5, 3), (..., None)),
        ((4, 6, 5), (None, ...)),
        ((4, 6, 5, 3), (None, ..., None)),
    ],
)
def test_an_array_is_repeated_along_channels_and_frames(tmp_path, dtype, shape, place):
    np.save(tmp_path / "mask.npy", MASK.astype(dtype))
    found = read_mask(tmp_path / "mask.npy", shape)
    np.testing.assert_array_equal(found, np.broadcast_to(MASK[place], shape))


@pytest.mark.parametrize("shape", [(5, 6), (6, 6), (6,), (30,), (2, 2, 6, 4, 2)])
def test_a_mask_of_the_wrong_shape_is_refused(tmp_path, shape):
    np.save(tmp_path / "mask.npy", np.ones((6, 4)))
    with pytest.raises(ValueError, match=r"mask\.npy: .*6x4.*" + "x".join(map(str, shape))):
        read_mask(tmp_path / "mask.npy", shape)


def test_nan_in_a_mask_is_refused(tmp_path):
    np.save(tmp_path / "mask.npy", np.where(MASK, 1, np.nan))
    with pytest.raises(ValueError, match="NaN"):
        read_mask(tmp_path / "mask.npy", (6, 5))


def test_a_random_mask_has_its_share_and_follows_its_seed():
    mask = random_mask((7, 9, 11), 0.1, key=jax.random.key(3))
    assert mask.shape == (7, 9, 11)
    assert mask.sum() == round(0.1 * 693)
    np.testing.assert_array_equal(mask, random_mask((7, 9, 11), 0.1, key=jax.random.key(3)))
    assert (mask != random_mask((7, 9, 11), 0.1, key=jax.random.key(4))).any()
    assert random_mask((3, 3), 1, key=jax.random.key(0)).all()
    assert random_mask((3, 3), 1e-9, key=jax.random.key(0)).sum() == 1


@pytest.mark.parametrize("share", [0, -0.1, 1.1, np.nan])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="share"):
        random_mask((3, 3), share, key=jax.random.key(0))


def test_masked_entries_of_numpy_are_not_observed():
    x = np.ma.masked_greater(np.array([[1.0, 2.0], [3.0, 1e20]]), 10)
    known = Completion.from_mask(x).training
    assert {tuple(row) for row in np.asarray(known.indices).tolist()} == {(0, 0), (0, 1), (1, 0)}
    with pytest.warns(UserWarning, match="1 of 2 in mode 1"):  # nothing is seen of it now
        some = Completion.from_mask(x, np.array([[True, False], [True, True]])).training
    assert {tuple(row) for row in np.asarray(some.indices).tolist()} == {(0, 0), (1, 0)}
    with pytest.raises(ValueError, match=r"1 of 4 entries are masked.*Completion\.from_mask"):
        Decomposition(x)
    assert Decomposition(np.ma.array([[1.0, 2.0], [3.0, 4.0]])).shape == (2, 2)


class Labeled:
    """What is used of an `xarray.DataArray`."""

    def __init__(self, values, **coords):
        self.values, self.dims, self.shape = values, tuple(coords), values.shape
        self.coords = {k: Labeled1d(v) for k, v in coords.items() if v is not None}

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class Labeled1d:
    def __init__(self, values):
        self.values, self.attrs = np.asarray(values), {}


def test_named_arrays_are_taken_and_their_labels_given():
    days = np.arange("2024-01-01", "2024-01-04", dtype="M8[D]")
    array = Labeled(np.array([[1.0, np.nan], [2.0, 3.0], [4.0, 5.0]]), day=days, site=None)
    assert Completion.from_mask(array).training.count == 5
    assert Decomposition(Labeled(np.eye(3), a=[1, 2, 3], b=None)).shape == (3, 3)
    day, site = modes_of(array)
    assert day == Mode("day", ("2024-01-01", "2024-01-02", "2024-01-03"))
    assert site == Mode("site", ("0", "1"))
    assert modes_of(np.eye(2)) is None
