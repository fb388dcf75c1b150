"""Which entries to predict, and the predictions, in the user's own names."""

import functools
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._atomic import atomic_path
from .._errors import ReadError
from ._checks import check_file
from ._coordinates import read_tns, split_rows
from ._indices import check_indices
from ._labels import Mode
from ._npy import npz_members, read_member
from ._tables import TABLE_SUFFIXES, Table, table_suffix, write_table


def mode_names(modes: Sequence[Mode] | None, order: int) -> tuple[str, ...]:
    """Names of the columns of a table of coordinates: those of the modes, or mode_0, mode_1, ..."""
    if modes is not None:
        return tuple(mode.name for mode in modes)
    return tuple(f"mode_{k}" for k in range(order))


def read_requests(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    modes: Sequence[Mode] | None = None,
    *,
    max_bytes: int = 2**32,
) -> np.ndarray:
    """Read the coordinates of entries that shall be predicted, in the user's names.

    Args:
        path: a table with a column for each mode (`mode_0`, `mode_1`, ... with indices from 0
            where modes have no names), a `.tns` (without values, or with values that are not
            looked at), or an `.npz` with an array `indices`.
        shape: of the tensor.
        modes: its labels, if it has some.
        max_bytes: as for `read_coordinates`.

    Returns:
        Indices [num_entries, order].

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: for `.parquet`, if pyarrow is not installed.
        ValueError: if it is damaged, empty, or names what the tensor does not have.

    Example:
        >>> import pathlib, tempfile
        >>> from tnjax.io import Mode, read_requests
        >>> modes = (Mode("user", ("Ann", "Bob")), Mode("day", ("1", "2")))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "wanted.csv"
        ...     _ = file.write_text("day,user\\n2,Ann\\n")
        ...     read_requests(file, (2, 2), modes).tolist()
        [[0, 1]]
    """
    path = check_file(path)
    limit = max(max_bytes, path.stat().st_size)
    suffix, order = table_suffix(path), len(shape)
    if suffix in TABLE_SUFFIXES:
        table = Table(path, limit)
        columns = []
        for k, name in enumerate(mode_names(modes, order)):
            codes, words = table.words(name, named=True)
            try:
                known = _integers(words, name) if modes is None else modes[k].encode(words)
            except ValueError as error:
                raise ReadError(path, f"{error}") from error
            columns.append(known[codes])
        indices = np.stack(columns, axis=1)
    elif suffix == ".tns":
        rows = read_tns(path, limit)
        if rows.shape[1] == order:
            rows = np.column_stack([rows, np.zeros(len(rows))])
        indices, _ = split_rows(path, rows)
    elif suffix == ".npz":
        try:
            with zipfile.ZipFile(path) as archive:
                members = npz_members(archive)
                if "indices" not in members:
                    raise ValueError(f"there is no array 'indices', only {', '.join(members)}")
                indices = read_member(path, archive, members["indices"], limit)
        except Exception as error:
            raise ReadError(path, f"cannot be read as requests ({error}).") from error
        if indices.dtype.kind not in "iu":
            raise ReadError(path, f"indices must be integers, got {indices.dtype}.")
    else:
        known = ", ".join((".npz", ".tns", *TABLE_SUFFIXES))
        raise ReadError(path, f"cannot read requests of kind {suffix!r}; known are {known}.")
    if not indices.size:
        raise ReadError(path, "no entries are requested.")
    check_indices(indices, shape, functools.partial(ReadError, path))
    return indices.astype(np.int64)


def _integers(words: Sequence[str], name: str) -> np.ndarray:
    try:
        return np.array([int(word) for word in words], np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"the column {name!r} must hold indices, whole numbers from 0.") from None


def write_predictions(
    path: str | os.PathLike[str],
    indices: np.ndarray,
    values: np.ndarray,
    modes: Sequence[Mode] | None = None,
) -> None:
    """Write predicted entries with the user's own names, in the kind of file that `path` names.

    Args:
        path: `.csv` or `.tsv` (a column for each mode, then `prediction`), `.parquet` (the same),
            `.tns` (indices from 1) or `.npz` (arrays `indices` from 0 and `values`).
        indices: [num_entries, order].
        values: [num_entries].
        modes: labels, if the tensor has some.

    Raises:
        ValueError: if the name ends in something else.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile, pathlib
        >>> import numpy as np
        >>> from tnjax.io import Mode, write_predictions
        >>> modes = (Mode("user", ("Ann", "Bob")), Mode("day", ("1", "2")))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "predictions.csv"
        ...     write_predictions(file, np.array([[1, 0]]), np.array([0.5]), modes)
        ...     file.read_text()
        'user,day,prediction\\nBob,1,0.5\\n'
    """
    path = Path(path)
    suffix, order = table_suffix(path), indices.shape[1]
    names = mode_names(modes, order)
    with atomic_path(path) as part:
        if suffix == ".npz":
            with open(part, "wb") as file:
                np.savez(file, indices=indices, values=values)
        elif suffix == ".tns":
            rows = zip((indices + 1).tolist(), values.tolist())
            with open(part, "w", encoding="utf-8") as file:
                file.writelines(f"{' '.join(map(str, row))} {value!r}\n" for row, value in rows)
        elif suffix in TABLE_SUFFIXES:
            columns = {
                name: indices[:, k].tolist() if modes is None else modes[k].decode(indices[:, k])
                for k, name in enumerate(names)
            }
            name = "prediction" if "prediction" not in names else "prediction_"
            write_table(part, {**columns, name: values.tolist()}, suffix)
        else:
            raise ReadError(path, "predictions are written to .csv, .tsv, .parquet, .tns, .npz.")
