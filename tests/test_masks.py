"""Masks from files and drawn at random."""

import numpy as np
import pytest
from PIL import Image

from tnjax.io import random_mask, read_mask

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
    mask = random_mask((7, 9, 11), 0.1, seed=3)
    assert mask.shape == (7, 9, 11)
    assert mask.sum() == round(0.1 * 693)
    np.testing.assert_array_equal(mask, random_mask((7, 9, 11), 0.1, seed=3))
    assert (mask != random_mask((7, 9, 11), 0.1, seed=4)).any()
    assert random_mask((3, 3), 1, seed=0).all()
    assert random_mask((3, 3), 1e-9, seed=0).sum() == 1


@pytest.mark.parametrize("share", [0, -0.1, 1.1, np.nan])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="share"):
        random_mask((3, 3), share, seed=0)
