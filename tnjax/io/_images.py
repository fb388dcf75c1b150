"""Images: one as [height, width] or [height, width, 3], several pages with a mode before these."""

import contextlib
import dataclasses
import io
import math
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from .._errors import ReadError

IMAGE_SUFFIXES = (
    ".png",
    ".apng",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".webp",
    ".ppm",
    ".pgm",
)
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")  # others run programs
# Tags of TIFF.
_KIND, _BITS, _PHOTOMETRIC, _TEXT, _EXTRA, _SAMPLE_FORMAT = 254, 258, 262, 270, 338, 339
_REDUCED, _MASK = 1, 4  # bits of the kind: a smaller copy, a mask of transparency
_ZERO_IS_WHITE = 0
_UNSIGNED, _SIGNED, _REAL = 1, 2, 3
_PALETTES = ("P", "PA")
_TRANSPARENCY = "its transparency (alpha) is left out"
_CHANNELS = "its channels beyond gray or RGB are left out"
_GRAYS = ("L", "1", "LA", "La", "I", "F")


@dataclasses.dataclass(frozen=True)
class Pixels:
    """What an image file holds.

    Attributes:
        array: [height, width] or [height, width, 3], with the pages before these if there are
            several.
        white: the value that stands for full intensity.
        pages: how many there are; 1 for a single image.
        notes: what was done to the picture, for people.
    """

    array: np.ndarray
    white: float
    pages: int
    notes: tuple[str, ...] = ()


def read_image(path: Path, limit: int) -> Pixels:
    """All pictures of a file.

    Pictures are turned as their EXIF orientation says. Palettes, CMYK, YCbCr and LAB become RGB. A
    channel of transparency is left out, with a warning unless it is opaque everywhere.

    Raises:
        ValueError: if it is no image, a damaged or a too large one, or holds what would lose
            digits: 16 bits for each of several channels, or float64.
    """
    data = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Of a file on disk Pillow would ask for as many bytes as a chunk claims to have.
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                _check_depth(path, image, data)
                found = _pages(path, image, limit)
    except UnidentifiedImageError as error:
        raise ReadError(
            path, "not an image of a known format (gray or color, 8 or 16 bits or float32)."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ReadError(path, f"the image is too large ({error}).") from error
    except ReadError:
        raise
    except Exception as error:  # on damaged files the library raises almost anything
        raise ReadError(path, f"not an image, or a damaged one ({error}).") from error
    for note in (_TRANSPARENCY, _CHANNELS):
        if note in found.notes:
            warnings.warn(f"{path}: {note}.", stacklevel=3)
    return found


def _check_depth(path: Path, image: Image.Image, data: bytes) -> None:
    """Refuse what Pillow reads with fewer digits than the file has."""
    is_png, is_ppm = image.format == "PNG", image.format == "PPM" and data[:2] in (b"P3", b"P6")
    is_deep = is_png and data[24:25] == b"\x10" and data[25:26] != b"\0"
    is_deep |= is_ppm and _largest_of_ppm(data) > 255
    deep = "16 bits for each of several channels" if is_deep else None
    if image.format == "TIFF":
        given = image.tag_v2.get(_BITS, (1,))  # pyright: ignore[reportAttributeAccessIssue]
        bits = [int(n) for n in given] if isinstance(given, tuple) else [int(given)]
        if len(bits) > 1 and max(bits) > 8:
            deep = f"{max(bits)} bits for each of {len(bits)} channels"
        elif max(bits) > 32:
            deep = f"{max(bits)} bits"
    if deep is not None:
        raise ReadError(
            path,
            f"an image with {deep}, of which Pillow would keep fewer. Save it as .npy "
            "(for example with tifffile or imageio), or convert it to 8 bits.",
        )


def _largest_of_ppm(data: bytes) -> int:
    """The largest value that the header allows; 255 if the header cannot be read."""
    head = re.sub(rb"#[^\n\r]*", b" ", data[:1024])
    match = re.match(rb"P[36]\s+\d+\s+\d+\s+(\d{1,9})\s", head)
    return int(match.group(1)) if match else 255


def _pages(path: Path, image: Image.Image, limit: int) -> Pixels:
    is_tiff = image.format == "TIFF"
    count = getattr(image, "n_frames", 1)
    notes: list[str] = []
    arrays: list[np.ndarray] = []
    if image.format == "MPO":  # a photograph, and previews of it
        count = 1
        notes.append("the first of several pictures is read, the others are previews")
    _check_size(image, count, limit)
    if is_tiff and count == 1:
        _check_imagej(path, image)
    animated = count > 1 and not is_tiff
    whites = []
    for frame in [image] if count == 1 else ImageSequence.Iterator(image):
        if is_tiff and count > 1 and _tag(frame, _KIND) & (_REDUCED | _MASK):
            notes.append("smaller copies and masks among the pages are left out")
            continue
        _check_size(frame, count, limit)
        if is_tiff:
            _check_depth(path, frame, b"")
        array, white, more = _page(frame, animated)
        arrays.append(array)
        whites.append(white)
        notes += more
    if not arrays:
        raise ValueError("it has no page of full size")
    kinds = {(array.shape[:2], array.dtype) for array in arrays}
    if len(kinds) > 1:
        words = ", ".join(sorted({f"{h}x{w} {dtype}" for (h, w), dtype in kinds})[:4])
        raise ReadError(
            path,
            f"its {len(arrays)} pages differ in size or kind ({words}). Save those that "
            "belong together as a file of their own.",
        )
    if len({array.ndim for array in arrays}) > 1:
        arrays = [a if a.ndim == 3 else np.repeat(a[..., None], 3, axis=2) for a in arrays]
    if animated:
        arrays = _gray_if_all_are(arrays)
    array = arrays[0] if len(arrays) == 1 else np.stack(arrays)
    white = max(whites)
    if len(arrays) > 1:
        notes.insert(0, f"{len(arrays)} pages, which are the first mode")
    return Pixels(array, white, len(arrays), tuple(dict.fromkeys(notes)))


def _check_size(image: Image.Image, count: int, limit: int) -> None:
    needed = count * math.prod(image.size) * _pixel_bytes(image.mode)
    if needed > limit:
        raise Image.DecompressionBombError(f"{needed} bytes, more than max_bytes={limit}")


def _check_imagej(path: Path, image: Image.Image) -> None:
    """ImageJ writes stacks of more than 4 GiB as one page, with the others after it."""
    text = str(image.tag_v2.get(_TEXT, ""))  # pyright: ignore[reportAttributeAccessIssue]
    match = re.search(r"^images=(\d+)", text, re.MULTILINE)
    if text.startswith("ImageJ=") and match and int(match.group(1)) > 1:
        raise ReadError(
            path,
            f"a stack of {match.group(1)} images that ImageJ wrote as one page. Save it as "
            ".npy, or with its pages apart.",
        )


def _page(image: Image.Image, animated: bool) -> tuple[np.ndarray, float, list[str]]:
    """The numbers of one picture, the value of white, and what was done."""
    notes = []
    is_tiff = image.format == "TIFF"
    orientation = image.getexif().get(0x0112, 1)  # which Pillow forgets of TIFF once it has turned
    image.load()
    extra = _tag(image, _EXTRA, -1) if is_tiff else -1
    sample = _tag(image, _SAMPLE_FORMAT, _UNSIGNED) if is_tiff else _UNSIGNED
    bits = _tag(image, _BITS, 8) if is_tiff else 8
    inverted = is_tiff and _tag(image, _PHOTOMETRIC, 1) == _ZERO_IS_WHITE
    turned = ImageOps.exif_transpose(image)
    if orientation not in (1, None) and orientation in range(2, 9):
        notes.append("turned as its EXIF orientation says")
    transparent = _is_transparent(turned)
    if transparent:
        notes.append(_TRANSPARENCY)
    elif extra == 0 and image.mode in ("L", "RGB"):
        notes.append(_CHANNELS)
    array = np.asarray(_plain(turned, animated))
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    if is_tiff and array.dtype == np.uint8 and sample == _SIGNED and bits == 8:
        array = array.view(np.int8)
    if is_tiff and array.dtype == np.int32 and sample == _UNSIGNED and bits == 32:
        array = array.view(np.uint32)
    if array.dtype == np.uint16:
        white = float(2**bits - 1) if is_tiff and bits in (12, 16) else 65535.0
        if inverted:  # Pillow does it for 8 bits
            array = np.uint16(white) - array
    elif array.dtype == np.uint8:
        white = 255.0
    elif inverted:
        raise ValueError("zero stands for white, which is not read for numbers of this kind")
    else:
        white = 65535.0 if image.format in ("PNG", "PPM") else _largest(array)
    return array, white, notes


def _plain(image: Image.Image, animated: bool) -> Image.Image:
    """The image in a mode whose channels are gray or red, green and blue."""
    if animated:
        return image.convert("RGB" if image.mode not in _GRAYS else "L")
    if image.mode in ("LA", "La", "1"):
        return image.convert("L")
    if image.mode in ("L", "RGB", "F", "I") or image.mode.startswith("I;16"):
        return image
    if image.mode in ("RGBa",):
        image = image.convert("RGBA")
    return image.convert("RGB")


def _is_transparent(image: Image.Image) -> bool:
    """Whether some pixel is not opaque."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        channel = image.getchannel("A" if image.mode in ("RGBA", "LA", "PA") else "a")
        return bool(np.asarray(channel).min() < 255)
    if image.mode in _PALETTES and "transparency" in image.info:
        return bool(np.asarray(image.convert("RGBA").getchannel("A")).min() < 255)
    return "transparency" in image.info and image.mode in ("L", "RGB")


def _gray_if_all_are(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Frames of an animation without the modes of colors if no pixel of any has one."""
    if any(array.ndim != 3 for array in arrays):
        return arrays
    if all((a[..., :1] == a).all() for a in arrays):
        return [a[..., 0] for a in arrays]
    return arrays


def _largest(array: np.ndarray) -> float:
    """White of numbers that have no largest one of their own: 1 if all lie in 0..1, else the
    largest in size."""
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    if not finite.size or finite.max() <= 1:
        return 1.0
    return float(finite.max())


def _tag(image: Image.Image, tag: int, default: int = 0) -> int:
    """The (first) number of a tag of TIFF."""
    value = image.tag_v2.get(tag, default)  # pyright: ignore[reportAttributeAccessIssue]
    values = value if isinstance(value, tuple) else (value,)
    with contextlib.suppress(TypeError, ValueError, IndexError):
        return int(values[0])
    return default


def _pixel_bytes(mode: str) -> int:
    """What Pillow holds for a pixel once it is gray or red, green and blue: one, two or four
    bytes."""
    return {"1": 1, "L": 1}.get(mode, 2 if mode.startswith("I;16") else 4)


def write_image(file: Path | str | io.BytesIO, array: np.ndarray, white: float) -> None:
    """Write an 8-bit image, PNG by default; values past the range are clipped.

    Args:
        file: a path, whose ending says the format, or a buffer.
        array: [height, width] or [height, width, 3].
        white: the value that stands for full intensity; 0 is black.

    Raises:
        ValueError: for an array of another shape, or a path with an unknown ending.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from tnjax.io import read_tensor, write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/x.png", np.array([[0.0, 0.5, 2.0]]), white=1.0)
        ...     read_tensor(f"{folder}/x.png").array.tolist()
        [[0, 128, 255]]
    """
    scaled = np.clip(np.rint(np.asarray(array, np.float64) * (255 / white)), 0, 255)
    kind = "PNG" if isinstance(file, io.BytesIO) else None
    Image.fromarray(scaled.astype(np.uint8)).save(file, kind)
