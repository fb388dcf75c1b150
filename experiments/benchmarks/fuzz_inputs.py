"""Sound, hostile and damaged files of every kind that tnjax reads, for `fuzz_readers.py`."""

import functools
import io
import json
import os
import pickle
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import scipy.io
import scipy.sparse
from fuzz_coordinates import hostile_coordinates, sound_coordinates
from fuzz_gridded import sound_gridded
from PIL import Image

import tnjax

# What an archive member with an absolute name would write.
OUTSIDE = Path(tempfile.gettempdir()) / "tnjax_evil.npy"
SUFFIXES = {
    "png": ".png",
    "jpeg": ".jpg",
    "tiff": ".tif",
    "bmp": ".bmp",
    "gif": ".gif",
    "webp": ".webp",
    "pnm": ".ppm",
    "npy": ".npy",
    "npz": ".npz",
    "mat": ".mat",
    "mat compressed": ".mat",
    "load": ".safetensors",
    "load_metadata": ".safetensors",
    "from_json": ".json",
    "coordinates": ".npz",
    "tns": ".tns",
    "tns packed": ".tns.gz",
    "csv": ".csv",
    "csv packed": ".csv.gz",
    "parquet": ".parquet",
    "labels": ".json",
    "requests": ".csv",
    "csv plain": ".csv",
    "csv layout": ".csv",
    "hdf5": ".h5",
    "netcdf 4": ".nc",
    "netcdf 3": ".nc",
    "matlab 7.3": ".mat",
    "nifti": ".nii",
    "nifti packed": ".nii.gz",
    "pages": ".tif",
    "animation": ".gif",
}
Seeds = dict[str, list[bytes]]


# Sound files --------------------------------------------------------------------------------


def sound_files(folder: Path) -> Seeds:
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((3, 4, 2))
    grey = rng.integers(0, 256, (9, 7), np.uint8)
    rgb = rng.integers(0, 256, (9, 7, 3), np.uint8)
    return {
        **_images(grey, rgb),
        "npy": [
            _written(np.save, x)
            for x in (
                numbers,
                np.asfortranarray(numbers),
                numbers.astype(np.complex64),
                np.arange(5, dtype=">i2"),
                np.zeros((0, 3)),
            )
        ],
        "npz": [
            _written(np.savez, only=numbers),
            _written(np.savez_compressed, only=numbers),
            _written(np.savez, a=numbers, b=numbers[0]),
        ],
        "mat": [_mat(numbers, False), _mat(numbers + 1j, False), _mat(numbers[0], False, "4")]
        + [_mat(value, False) for value in _other_mat_values()],
        "mat compressed": [_mat(numbers, True), _mat(np.arange(6, dtype=np.int16), True)]
        + [_mat(value, True) for value in _other_mat_values()],
        "load": _networks(folder),
        "load_metadata": _networks(folder),
        "from_json": [s.to_json().encode() for s in _structures()],
        **sound_coordinates(folder),
        **sound_gridded(folder),
        **_stacks(grey),
    }


def _images(grey: np.ndarray, rgb: np.ndarray) -> Seeds:
    deep = grey.astype(np.uint16) * 257
    palette = Image.fromarray(rgb).quantize(8)
    image = lambda x: x if isinstance(x, Image.Image) else Image.fromarray(x)
    save = lambda x, kind, **options: _written(image(x).save, kind, **options)
    alpha = np.dstack([rgb, grey])
    return {
        "png": [save(x, "png") for x in (grey, rgb, deep, palette, alpha, grey > 127)],
        "jpeg": [save(x, "jpeg") for x in (grey, rgb)] + [save(rgb, "jpeg", progressive=True)],
        "tiff": [
            save(x, "tiff", compression=how)
            for x in (grey, rgb)
            for how in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ]
        + [save(deep, "tiff"), save(grey.astype(np.float32), "tiff")],
        "bmp": [save(x, "bmp") for x in (grey, rgb, palette, grey > 127)],
        "gif": [
            save(grey, "gif"),
            save(palette, "gif"),
            save(grey, "gif", save_all=True, append_images=[image(grey.T.copy())]),
        ],
        "webp": [save(rgb, "webp"), save(alpha, "webp", lossless=True)],
        "pnm": [save(x, "ppm") for x in (grey, rgb, deep, grey > 127)] + [b"P2 2 2 9 1 2 3 4"],
    }


def _stacks(grey: np.ndarray) -> Seeds:
    pages = [Image.fromarray(np.roll(grey, k, 0)) for k in range(3)]
    more = {"save_all": True, "append_images": pages[1:]}
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = [Image.fromarray(np.asarray(page).astype(np.float32)) for page in pages]
    return {
        "pages": [
            _written(pages[0].save, "tiff", **more),
            _written(pages[0].save, "tiff", **more, compression="tiff_lzw"),
            _written(deep[0].save, "tiff", save_all=True, append_images=deep[1:]),
            _written(pages[0].save, "tiff", exif=exif),
        ],
        "animation": [_written(pages[0].save, "gif", **more)],
    }


def _written(save: Callable, *values, **named) -> bytes:
    file = io.BytesIO()
    save(file, *values, **named)
    return file.getvalue()


def _mat(value, compressed: bool, version="5") -> bytes:
    return _written(scipy.io.savemat, {"only": value}, do_compression=compressed, format=version)


def _other_mat_values() -> list:
    cell = np.empty(2, object)
    cell[:] = [np.eye(2), "text"]
    return ["text", {"field": np.eye(2), "more": {"x": 1.0}}, cell, scipy.sparse.eye(3).tocsc()]


def _structures() -> list[tnjax.Structure]:
    mixed = tnjax.Structure((2, 3, 5), ((0,), (1, 2), ()), {(0, 1): 2, (1, 2): 3, (0, 1, 2): 4})
    return [mixed, tnjax.Structure.tensor_ring((3, 3, 3), 2), tnjax.Structure.rank_one((4,))]


def _networks(folder: Path) -> list[bytes]:
    out, rng = [], np.random.default_rng(0)
    for structure in _structures():
        shapes = [structure.core_shape(node) for node in range(structure.num_nodes)]
        for dtype in ("float64", "complex64"):
            cores = [jax.numpy.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
            network = tnjax.TensorNetwork(structure, cores)
            tnjax.save(folder / "sound", network, {"note": "sound", "numbers": [1, 2.5, None]})
            out.append((folder / "sound").read_bytes())
    (folder / "sound").unlink()
    return out


# Hostile files ------------------------------------------------------------------------------


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def hostile_files(seeds: Seeds, marker: Path) -> Seeds:
    payload = pickle.dumps(Payload(marker))
    objects = np.array([Payload(marker)], object)
    pickled = _written(functools.partial(np.save, allow_pickle=True), objects)
    sound = seeds["npy"][0]
    headers = _npy_headers()
    bomb = _written(np.save, np.zeros(2**25))  # 256 MiB
    members = [
        {"only.npy": pickled},
        {"only.npy": payload},
        {"only.pkl": payload},
        {"../../evil.npy": sound},
        {str(OUTSIDE): sound},
        {"..\\..\\evil.npy": sound, "x/": b""},
        {"x" * 60_000 + ".npy": sound},
        *({"only.npy": header} for header in headers),
    ]
    archives = [_zip(m, how) for m in members for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
    archives += [_zip({"only.npy": bomb}, how) for how in (8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)]
    archives += [_overclaim(_zip({"only.npy": header}, 8)) for header in headers]
    archives += [_zip(member, 8) for member in members[:3]] * 8
    out = {name: [payload, pickled] * 8 for name in SUFFIXES}  # drawn often
    out["npy"] += headers
    out["npz"] += archives
    for name in ("mat", "mat compressed"):
        out[name] += _hostile_mats(name != "mat")
    out["png"] += [_png(*size) for size in ((60_000, 60_000), (2**31 - 1, 1), (9000, 9000), (0, 0))]
    out["png"].append(_png(4000, 4000, zlib.compress(bytes(4000 * 12001))))
    out["png"].append(_png(9, 7, text=zlib.compress(bytes(2**28), 9)))
    for name, places in {"bmp": (18, 22), "gif": (6, 8), "tiff": (18, 30)}.items():
        for seed in seeds[name]:
            for size in (60_000, 9000, 2**31 - 1, 0):
                out[name].append(_patched(seed, places, size, 2 if name == "gif" else 4))
    for seed in seeds["jpeg"]:
        place = max(seed.find(b"\xff\xc0"), seed.find(b"\xff\xc2"))
        out["jpeg"].append(seed[: place + 5] + struct.pack(">HH", 65500, 65500) + seed[place + 9 :])
    out["pnm"] += [
        b"P5\n%d %d\n255\n" % size + bytes(99) for size in ((10**5, 10**5), (9000, 9000))
    ]
    out["pnm"] += [b"P6 " + b"9" * 9000, b"P2 9000 9000 255 " + b"1 " * 99, b"Pf 9 9 nan "]
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(" + bytes(99)
    out["png"].append(eps)
    for name in ("load", "load_metadata"):
        out[name] += _hostile_networks(seeds["load"][0])
    out["from_json"] += [text.encode() for text in _hostile_texts()]
    for name, files in hostile_coordinates(headers, archives).items():
        out[name] += files
    return out


def _npy_headers() -> list[bytes]:
    shapes = (
        "(1000000000, 1000000)",
        "(100000000,)",
        "(2**60,)",
        f"({10**30},)",
        "(-1, 24)",
        "(-3, -8)",
        f"(0, {10**18})",
        "(True, 24)",
        f"({'1, ' * 80})",
        "(" * 5000,
        "-" * 9000 + "1",
        "-" * 1900 + "1",
        "3.5",
        "()",
    )
    texts = [f"{{'descr': '<f8', 'fortran_order': False, 'shape': {s}, }}" for s in shapes]
    kinds = ("|O", "|S99999999", "<U9", "<M8[s]", "|V8", "|b1", "<f16", "<c32", "<e", ">f8", "|S0")
    texts += [f"{{'descr': '{k}', 'fortran_order': True, 'shape': (3, 4), }}" for k in kinds]
    records = "[('a', '<f8'), ('b', '|O')]"
    texts.append(f"{{'descr': {records}, 'fortran_order': False, 'shape': (3,), }}")
    out = []
    for text in texts:
        text = text.ljust(118).encode() + b"\n"
        out.append(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(192))
        out.append(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + bytes(192))
    for version, claim in ((2, 2**32 - 1), (3, 2**31), (2, 9999), (9, 118)):
        out.append(b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<I", claim) + bytes(99))
    return out


def _zip(members: dict[str, bytes], how: int) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", how) as archive:
        warnings.simplefilter("ignore")
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _overclaim(archive: bytes) -> bytes:
    """The directory says that the first member unpacks to almost 4 GiB."""
    place = archive.index(b"PK\x01\x02") + 24
    return archive[:place] + struct.pack("<I", 2**32 - 2) + archive[place + 4 :]


def _hostile_mats(compressed: bool) -> list[bytes]:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    tag = lambda kind, data: struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)
    out = []
    for dims in (
        (2**31 - 1,) * 3,
        (10**6, 10**3),
        (-1, 2),
        (2, 3),
        (),
        (1,) * 2000,
        (0, 2**31 - 1),
    ):
        for flags in (6, 6 | 0x800, 5, 1, 2, 3, 4, 16, 17, 18, 255):
            body = tag(6, struct.pack("<II", flags, 2**31)) + tag(
                5, struct.pack(f"<{len(dims)}i", *dims)
            )
            body += tag(1, b"only") + tag(9, bytes(48))
            matrix = tag(14, body)
            out.append(matrix)
    out += [struct.pack("<II", kind, 2**32 - 1) + bytes(64) for kind in (1, 9, 14, 15)]
    out.append(tag(14, tag(14, tag(14, b""))) * 50)
    if compressed:
        out = [tag(15, zlib.compress(matrix)) for matrix in out]
        bomb = out[0][:0] + tag(6, struct.pack("<II", 6, 0))
        bomb += tag(5, struct.pack("<ii", 2**25, 1)) + tag(1, b"only") + tag(9, bytes(2**28))
        out.append(tag(15, zlib.compress(tag(14, bomb))))
        out.append(tag(15, zlib.compress(tag(14, b"") + bytes(2**28))))
    files = [head + matrix for matrix in out]
    for kind, rows, columns, imaginary, length in (
        (0, 2**31 - 1, 2**31 - 1, 0, 2),
        (0, -1, 1, 0, 2),
        (1000, 2, 2, 1, 2**31 - 1),
        (10, 0, 0, 0, 2),
        (2, 3, 3, 0, 2),
        (1, 2, 2, 0, 2),
        (4052, 2, 2, 0, 2),
    ):
        files.append(
            struct.pack("<5i", kind, rows, columns, imaginary, length) + b"x\0" + bytes(64)
        )
    return files


def _png(width: int, height: int, data: bytes = b"x", text: bytes = b"") -> bytes:
    chunk = lambda kind, body: (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    )
    out = b"\x89PNG\r\n\x1a\n"
    out += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    if text:
        out += chunk(b"zTXt", b"note\0\0" + text) + chunk(b"iCCP", b"icc\0\0" + text)
    return out + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _patched(data: bytes, places: tuple[int, int], value: int, width: int) -> bytes:
    out = bytearray(data)
    for place in places:
        out[place : place + width] = (value % 256**width).to_bytes(width, "little")
    return bytes(out)


def _hostile_networks(sound: bytes) -> list[bytes]:
    size = int.from_bytes(sound[:8], "little")
    header, data = json.loads(sound[8 : 8 + size]), sound[8 + size :]
    ours = json.loads(header["__metadata__"]["tnjax"])
    out = [n.to_bytes(8, "little") + sound[8:] for n in (2**62, 2**64 - 1, 10**8, 2**31, 0, 2)]

    def add(change: Callable[[dict, dict], None]) -> None:
        outer, inner = json.loads(json.dumps([header, ours]))
        change(outer, inner)
        outer["__metadata__"]["tnjax"] = json.dumps(inner)
        text = json.dumps(outer).encode()
        out.append(len(text).to_bytes(8, "little") + text + data)

    for shape in ([2**40, 2**40], [10**9], [0, 2**60], [], [2, 2, 5], [-1], [2**64]):
        add(lambda o, i, s=shape: o["core_0"].update(shape=s))
    for dtype in ("F99", "BOOL", "F8_E4M3", "U64", "C64", "F4", "BF16"):
        add(lambda o, i, d=dtype: o["core_0"].update(dtype=d))
    for offsets in ([0, 2**62], [2**63, 2**63 + 128], [128, 0], [0, 0]):
        add(lambda o, i, x=offsets: o["core_0"].update(data_offsets=x))
    for dims in ([10**9, 3, 5], [2, 3, 10**30], [2] * 5000, [], [2, 3], ["2", 3, 5], [{}, 3, 5]):
        add(lambda o, i, d=dims: i["structure"].update(dims=d))
    for legs in ([[0], [1, 2], [], *([[]] * 20_000)], [[0] * 9, [1], [2]], [[10**9], [1, 2], []]):
        add(lambda o, i, x=legs: i["structure"].update(legs=x))
    for rank in (10**12, 10**400, -1, 0, True, "2", 1.5, None):
        add(lambda o, i, r=rank: i["structure"]["edges"][0].update(rank=r))
    nested: dict = {}
    for _ in range(400):
        nested = {"x": nested}
    add(lambda o, i: i.update(metadata=nested))
    add(lambda o, i: i.update(metadata=[1], structure=None))
    outer = json.loads(json.dumps(header))
    for text in (
        "[" * 10**5,
        '{"a":' * 10**5,
        "9" * 10**5,
        "\ud800",
        '{"format": "tnjax.network"}',
    ):
        outer["__metadata__"]["tnjax"] = text
        encoded = json.dumps(outer).encode()
        out.append(len(encoded).to_bytes(8, "little") + encoded + data)
    return out


def _hostile_texts() -> list[str]:
    whole = {"format": "tnjax.structure", "version": 1, "dims": [2, 3], "legs": [[0], [1]]}
    whole = {**json.loads(_structures()[0].to_json()), **whole}
    edges = lambda *pairs: [{"nodes": n, "rank": r} for n, r in pairs]
    changes = [
        {"edges": edges(([0, 1], 10**400))},
        {"edges": edges(([0, 10**9], 2))},
        {"edges": edges(([0, 0], 2))},
        {"edges": edges(([], 2), ([0], 3))},
        {"edges": edges(([0, 1], 2), ([1, 0], 2))},
        {"edges": edges(([0, 1], True))},
        {"edges": edges(([0, "1"], 2))},
        {"edges": edges(([0, None], 2.5))},
        {"edges": edges(([[0], [1]], 2))},
        {"edges": {"nodes": 3}},
        {"edges": [[0, 1]]},
        {"dims": [10**1000, 3], "edges": []},
        {"dims": [float("inf"), float("nan")], "edges": []},
        {"dims": "23", "edges": []},
        {"dims": {"2": 3}, "edges": []},
        {"dims": [1] * 3000, "legs": [[k] for k in range(3000)], "edges": []},
        {"legs": [[0, 1], *[[]] * 30_000], "edges": []},
        {"legs": [[0], [0]], "edges": []},
        {"legs": "ab", "edges": []},
        {"version": 10**400, "edges": []},
    ]
    texts = [json.dumps({**whole, **change}) for change in changes]
    deep = ["[" * 10**5, '{"format":' * 10**5, "9" * 10**5, "-" * 99, "null", "", "\0", "1e999"]
    return [*texts, *deep]


# Damage -------------------------------------------------------------------------------------


def make_input(seeds: Seeds, hostile: Seeds, name: str, seed: int, index: int) -> bytes:
    rng = np.random.default_rng((seed, index))
    kind = rng.random()
    if kind < 0.03:  # another kind of file under this suffix
        name = list(SUFFIXES)[rng.integers(len(SUFFIXES))]
    pool = hostile[name] if kind < 0.3 else seeds[name]
    data = bytearray(pool[rng.integers(len(pool))])
    if kind < 0.2:
        return bytes(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4, 16]))):
        _damage(data, rng)
    return bytes(data)


def _damage(data: bytearray, rng: np.random.Generator) -> None:
    if not data:
        return
    size = len(data)
    # Headers are small and at the start: half of the damage goes there.
    place = int(rng.integers(size if rng.random() < 0.5 else min(size, 256)))
    length = int(rng.integers(1, 17))
    extreme = [0, 1, 127, 128, 255]
    match int(rng.integers(8)):
        case 0:
            del data[place:]
        case 1 | 2:
            data[place] ^= 1 << int(rng.integers(8))
        case 3:
            data[place] = extreme[rng.integers(5)]
        case 4:
            data[place : place + length] = rng.bytes(length)
        case 5:
            run = bytes([extreme[rng.integers(5)]]) * length
            data[place : place + length] = run
        case 6:
            data[place:place] = rng.bytes(int(rng.integers(1, 200)))
        case 7:
            start = int(rng.integers(size))
            data[place:place] = data[start : start + int(rng.integers(1, 400))]
