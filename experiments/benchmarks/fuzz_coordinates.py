"""Sound and hostile files of coordinates, for `fuzz_inputs.py`."""

import gzip
import importlib.util
import io
import os
import struct
from pathlib import Path

import numpy as np

# Arrow's own allocator sets aside a GiB of addresses at the first byte, which is no fault.
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"

import pyarrow as pa
import pyarrow.csv  # here, before the fork: what it takes to load is not the file's
import pyarrow.parquet as pq

if importlib.util.find_spec("pandas"):
    import pandas as pd  # noqa: F401  # which Arrow loads with the first column

from tnjax.io import Mode, write_labels

_TNS = b"# three modes\n1 4 2 0.5\n3 1 1 -2e-3 # more\n2 2 2 1\n"
_CSV = b'user,day,value\nAnn,1,0.5\nBob,10,-2e-3\n"Eve, E.",2,1\n'


def sound_coordinates(folder: Path) -> dict[str, list[bytes]]:
    indices, values = np.array([[0, 3], [2, 0], [1, 1]]), np.array([0.5, -2.0, 1.0])
    archives = []
    for more in ({}, {"shape": np.array([3, 4])}, {"weights": values}):
        file = io.BytesIO()
        np.savez_compressed(file, indices=indices, values=values, **more)
        archives.append(file.getvalue())
    write_labels(folder / "sound", (Mode("user", ("Ann", "Bob")), Mode("day", ("1", "2", "10"))))
    labels = (folder / "sound").read_bytes()
    (folder / "sound").unlink()
    return {
        "coordinates": archives,
        "tns": [_TNS, _TNS.replace(b" ", b"\t"), b"1 1\n2 -3\n"],
        "tns packed": [gzip.compress(_TNS, mtime=0)],
        "csv": [_CSV, _CSV.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + _CSV],
        "csv packed": [gzip.compress(_CSV, mtime=0)],
        "parquet": _parquets(),
        "labels": [labels],
        "requests": [b"user,day\nAnn,1\nBob,10\n", b"day,x,user\n2,,Eve\n"],
    }


def _parquets() -> list[bytes]:
    days = np.array(["2024-01-10", "2024-01-09", "2024-01-09"], "datetime64[D]")
    plain = pa.table({"user": ["Bob", "Ann", "Bob"], "day": days, "value": [1.0, 2.0, 3.0]})
    coded = pa.table({"n": [1, 2, 3], "k": plain["user"].dictionary_encode(), "value": [1, 2, 3]})
    out = []
    for table in (plain, coded):
        for how in ("none", "snappy", "zstd", "gzip"):
            file = io.BytesIO()
            pq.write_table(table, file, compression=how)
            out.append(file.getvalue())
    return out


def hostile_coordinates(headers: list[bytes], archives: list[bytes]) -> dict[str, list[bytes]]:
    """Numbers out of range, long lines, bombs; `headers` of .npy and `archives` as elsewhere."""
    lines = [
        b"0 0 1\n",
        b"-1 1 1\n",
        b"1 1 nan\n",
        b"1 inf 1\n",
        b"1e300 1 1\n",
        b"1000000000000000 1 1\n",
        b"9" * 5000 + b" 1 1\n",
        b"1 " * 40_000 + b"\n",
        b"1 " * 300_000,
        b"1 1 1\n1 1\n",
        b"0x1 1 1\n",
        b"1+1j 1 1\n",
        b"\0" * 99,
        b"#" * 10**6,
        b"1 1 1e999\n",
    ]
    rows = b"1 1 1\n" * 2**22  # 24 MiB, which become 96 MiB of numbers
    cells = [
        b"",
        b"\n\n\n",
        b"a,b\n",
        b"a,a\nx,1\n",
        b"a,b\nx,nan\n",
        b"a,b\nx,1e999\n",
        b'a,b\n"x,1\n',
        b'"' * 9999,
        b"a" * 2**21 + b",b\nx,1\n",
        b"," * 5000 + b"\n" + b"," * 5000 + b"\n",
        b"a,b\n" + b"x" * 10**6 + b",1\n",
        b"a,b\nx,1\n" * 2**15,
        b"a,b\n\0,1\n",
        b"user,day\nAnn," + b"9" * 5000 + b"\n",
    ]
    table = b"a,b\n" + b"x,1\n" * 2**23  # 32 MiB
    parquet = _parquets()[0]
    feet = [parquet[:-8] + struct.pack("<i", n) + b"PAR1" for n in (-1, 2**31 - 1, 0, 7)]
    wide = io.BytesIO()
    pq.write_table(pa.table({"a": ["x"] * 2**23, "b": np.ones(2**23)}), wide, compression="zstd")
    return {
        "coordinates": [*archives, *headers],
        "tns": lines,
        "tns packed": [gzip.compress(data, mtime=0) for data in (rows, bytes(2**27), *lines)],
        "csv": cells,
        "csv packed": [gzip.compress(data, mtime=0) for data in (table, bytes(2**27), *cells)],
        "parquet": [*feet, wide.getvalue(), b"PAR1" * 9, b"PARE" + parquet[4:-4] + b"PARE"],
        "labels": [b"[" * 10**5, b'{"modes":' * 10**5, b"9" * 10**5, b"\xff\xfe", b"null"],
        "requests": cells,
    }
