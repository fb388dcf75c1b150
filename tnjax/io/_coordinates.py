"""Some entries of a tensor from files of coordinates: `.npz`, FROSTT `.tns`, tables."""

import dataclasses
import functools
import gzip
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .._errors import ReadError
from ._checks import check_file
from ._indices import check_folder, check_indices, in_brackets
from ._labels import Mode
from ._npy import npz_members, read_member
from ._roles import Roles, roles_of
from ._samples import open_samples
from ._sparse_npz import is_sparse, read_sparse
from ._tables import TABLE_SUFFIXES, Table, table_suffix

_CHUNK_ROWS = 2**16
_LONGEST_LINE = 2**16
_MOST_MODES = 64


@dataclasses.dataclass(frozen=True)
class Coordinates:
    """Some entries of a tensor.

    Attributes:
        indices: [num_entries, order], integers from 0.
        values: [num_entries].
        shape: of the tensor.
        modes: the user's names for the modes and their indices, where the file has them.
        weights: [num_entries], where the file has them.
        value_name: of a table, the column of the values.
        notes: what there is to say about how the file was read.

    Example:
        >>> import numpy as np
        >>> from tnjax.io import Coordinates
        >>> found = Coordinates(np.array([[0, 1], [2, 0]]), np.array([0.5, -2.0]), (3, 2))
        >>> found.describe()
        '2 entries of a tensor 3x2'
    """

    indices: np.ndarray
    values: np.ndarray
    shape: tuple[int, ...]
    modes: tuple[Mode, ...] | None = None
    weights: np.ndarray | None = None
    value_name: str | None = None
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line about what was read: the modes with their sizes, the values, and the notes."""
        if self.modes is None:
            words = [f"{len(self.values)} entries of a tensor {'x'.join(map(str, self.shape))}"]
        else:
            sizes = ", ".join(f"{mode.name} ({mode.size} labels)" for mode in self.modes)
            words = [f"modes {sizes}; values {self.value_name!r} ({len(self.values)} rows)"]
        return "; ".join((*words, *self.notes))


def holds_coordinates(path: str | os.PathLike[str]) -> bool:
    """Whether `read_coordinates` reads this file; if not, it may hold a dense tensor.

    By the name, and of an `.npz` by whether there are arrays `indices` and `values`, or those of a
    sparse array in it; a folder must hold the former.

    Args:
        path: of a file or folder.

    Returns:
        Whether it lists entries.

    Raises:
        FileNotFoundError: if there is no such file.

    Example:
        >>> import pathlib, tempfile
        >>> from tnjax.io import holds_coordinates
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "x.tns"
        ...     _ = file.write_text("1 1 2 0.5")
        ...     holds_coordinates(file)
        True
    """
    if Path(path).is_dir():
        return check_folder(Path(path))
    path = check_file(path)
    suffix = table_suffix(path)
    if suffix != ".npz":
        return suffix in (".tns", *TABLE_SUFFIXES)
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(npz_members(archive))
            return {"indices", "values"} <= names or is_sparse(names)
    except Exception:  # a damaged one: the reader of dense tensors will say so
        return False


def read_coordinates(
    path: str | os.PathLike[str],
    *,
    value: str | None = None,
    modes: Sequence[str] | None = None,
    weights: str | None = None,
    shape: Sequence[int] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    max_bytes: int = 2**32,
) -> Coordinates:
    """Read entries of a tensor and where they are. Duplicates are kept as they are.

    - `.npz`: arrays `indices` [num_entries, order] counted from 0, `values` [num_entries] and, if
      it is there, `shape` [order] and `weights` [num_entries].
    - `.npz` of a sparse array, as `scipy.sparse.save_npz` (coordinates, CSR, CSC) and PyData's
      `sparse.save_npz` (coordinates) write it.
    - a folder with these arrays, without weights, as `.npy` files (see `write_samples`).
    - FROSTT `.tns` or `.tns.gz`: on each line the indices, counted from 1, and the value; text
      after `#` is a comment.
    - `.csv`, `.tsv` (or either with `.gz`), `.parquet`: one column for each mode, whose distinct
      cells (text, numbers, dates) are the labels of its indices in the order of `Mode.of`, and one
      for the values. Separators and decimal commas are seen from the cells.

    Args:
        path: of the file.
        value: name of the column of values; by default the last one if it holds numbers, else the
            only one that does.
        modes: names of the columns that are modes; by default all others, without an index of rows
            that has no name.
        weights: name of the column of weights, if there is one.
        shape: of the tensor; by default as the file says, or just large enough.
        labels: of a table, for some modes all labels in the order of the indices, those that no
            row has among them.
        max_bytes: bytes that compressed data may unpack to (4 GiB by default), or the size of the
            file if that is more.

    Returns:
        Indices [entries, modes], values [entries], and what the file says of the modes.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: for `.parquet`, if pyarrow is not installed.
        ValueError: if it is not of a known kind, is damaged or empty, holds an index outside the
            shape or a value that is NaN, infinite or no number, or lacks a column.

    Example:
        >>> import tempfile, pathlib
        >>> from tnjax.io import read_coordinates
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "x.tns"
        ...     _ = file.write_text("# two entries\\n1 1 2 0.5\\n3 1 1 -2\\n")
        ...     read_coordinates(file).shape
        (3, 1, 2)

    Reference:
        Smith et al., "FROSTT: The Formidable Repository of Open Sparse Tensors and Tools" (2017).
    """
    if Path(path).is_dir():
        if (value, modes, weights, labels or None) != (None,) * 4:
            raise ReadError(path, "columns can be chosen in tables only (.csv, .tsv, .parquet).")
        return _read_folder(Path(path), shape, max_bytes)
    path = check_file(path)
    limit = max(max_bytes, path.stat().st_size)
    suffix = table_suffix(path)
    if suffix in TABLE_SUFFIXES:
        table = Table(path, limit)
        roles = roles_of(table, value, modes, weights)
        found = _read_table(path, roles, table, labels or {}, modes is not None)
    elif (value, modes, weights, labels or None) != (None,) * 4:
        raise ReadError(path, "columns can be chosen in tables only (.csv, .tsv, .parquet).")
    elif suffix == ".tns":
        rows = read_tns(path, limit)
        found = Coordinates(*split_rows(path, rows), ())
    elif suffix == ".npz":
        found = _read_npz(path, limit)
    else:
        known = ", ".join((".npz", ".tns", *TABLE_SUFFIXES))
        raise ReadError(path, f"cannot read coordinates of kind {suffix!r}; known are {known}.")
    return _finished(path, found, shape, limit)


def _read_folder(path: Path, shape: Sequence[int] | None, max_bytes: int) -> Coordinates:
    check_folder(path)
    file = open_samples(path)
    assert file is not None
    indices, values = file.read()
    found = Coordinates(indices, values, file.shape)
    return _finished(path, found, shape, max(max_bytes, file.nbytes))


def _read_table(
    path: Path, roles: Roles, table: Table, labels: Mapping[str, Sequence[str]], named: bool
) -> Coordinates:
    values = table.numbers(roles.value)
    columns, modes = [], []
    unknown = [name for name in labels if name not in roles.modes]
    if unknown:
        raise ReadError(
            path,
            f"there is no mode {unknown[0]!r} to give labels for; the modes are "
            f"{', '.join(roles.modes)}.",
        )
    for name in roles.modes:
        codes, words = table.words(name, named=named or name in labels)
        try:
            given = tuple(labels.get(name, ()))
            mode = Mode(name, given) if given else Mode.of(name, words)
            columns.append(mode.encode(words)[codes])
        except ValueError as error:
            raise ReadError(path, f"{error}") from error
        modes.append(mode)
    return Coordinates(
        np.stack(columns, axis=1),
        values,
        tuple(mode.size for mode in modes),
        tuple(modes),
        None if roles.weights is None else table.numbers(roles.weights),
        roles.value,
        (*table.notes, *roles.notes),
    )


def read_tns(path: Path, limit: int) -> np.ndarray:
    """All rows of numbers, [rows, columns] float64."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    parts, size, columns = [], 0, None
    try:
        with opened(path, "rb") as file:
            while lines := _lines(file):
                part = np.loadtxt(lines, comments="#", ndmin=2, encoding="latin1")
                columns = part.shape[1] if columns is None else columns
                if part.shape[1] != columns:
                    raise ValueError(f"lines of {columns} and of {part.shape[1]} numbers")
                size += part.nbytes
                if size > limit and opened is gzip.open:
                    raise ValueError(f"it unpacks to more than max_bytes={limit}")
                parts.append(part)
    except (OSError, EOFError, ValueError) as error:
        raise ReadError(path, f"not a .tns file, or a damaged one ({error}).") from error
    except Exception as error:  # zlib's own
        raise ReadError(path, f"damaged ({error}).") from error
    if not parts:
        raise ReadError(path, "the file is empty; expected lines of indices and a value.")
    return np.concatenate(parts)


def _lines(file) -> list[str]:
    """The next lines that hold numbers; none at the end of the file."""
    out: list[str] = []
    while len(out) < _CHUNK_ROWS:
        line = file.readline(_LONGEST_LINE)
        if not line:
            break
        if len(line) == _LONGEST_LINE:
            raise ValueError(f"a line of {_LONGEST_LINE} bytes or more")
        text = line.split(b"#")[0].strip()
        if text:
            out.append(text.decode("latin1"))
    return out


def split_rows(path: Path, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices from 0, and values."""
    places = rows[:, :-1]
    if not places.shape[1]:
        raise ReadError(path, "expected lines of indices and a value, got one number each.")
    with np.errstate(invalid="ignore"):
        whole = (places == np.floor(places)) & (np.abs(places) < 2**53)
    if not whole.all():
        row = int(np.argmin(whole.all(axis=1)))
        raise ReadError(
            path,
            f"entry {row + 1} has the indices {in_brackets(places[row])}; expected "
            "whole numbers from 1.",
        )
    if places.min() < 1:
        row = int(np.argmin(places.min(axis=1)))
        raise ReadError(
            path,
            f"entry {row + 1} has the indices {in_brackets(places[row])}, but in .tns "
            "files they are counted from 1.",
        )
    return places.astype(np.int64) - 1, rows[:, -1].copy()


def _read_npz(path: Path, limit: int) -> Coordinates:
    try:
        with zipfile.ZipFile(path) as archive:
            members = npz_members(archive)
            if is_sparse(set(members)):
                return Coordinates(*read_sparse(path, archive, limit))
            arrays = {
                name: read_member(path, archive, members[name], limit)
                for name in ("indices", "values", "shape", "weights")
                if name in members
            }
    except Exception as error:  # on damaged files the library raises almost anything
        raise ReadError(path, f"damaged, or not an .npz file ({error}).") from error
    for name in ("indices", "values"):
        if name not in arrays:
            raise ReadError(path, f"there is no array {name!r}; it holds {', '.join(members)}.")
    for name in ("indices", "shape"):
        if name in arrays and arrays[name].dtype.kind not in "iu":
            raise ReadError(path, f"{name} must be integers, got {arrays[name].dtype}.")
    shape = tuple(map(int, arrays["shape"].ravel())) if "shape" in arrays else ()
    return Coordinates(arrays["indices"], arrays["values"], shape, weights=arrays.get("weights"))


def _finished(
    path: Path, found: Coordinates, shape: Sequence[int] | None, limit: int
) -> Coordinates:
    """With the shape settled, all sizes compared and all numbers looked at."""
    indices, values = found.indices, found.values
    if indices.ndim != 2 or values.shape != indices.shape[:1]:
        raise ReadError(
            path,
            f"expected indices of shape [entries, modes] and values of shape [entries], "
            f"got {list(indices.shape)} and {list(values.shape)}.",
        )
    if not 1 <= indices.shape[1] <= _MOST_MODES:
        raise ReadError(path, f"{indices.shape[1]} modes; expected 1 to {_MOST_MODES}.")
    if not len(values):
        raise ReadError(path, "there are no entries.")
    if shape is not None and found.modes is None:
        found = dataclasses.replace(found, shape=tuple(int(n) for n in shape))
    elif not found.shape:
        found = dataclasses.replace(found, shape=tuple(int(n) + 1 for n in indices.max(axis=0)))
    check_indices(indices, found.shape, functools.partial(ReadError, path))
    if 8 * sum(found.shape) > limit:
        raise ReadError(
            path,
            f"the shape {in_brackets(found.shape)} is too large for max_bytes={limit}. "
            "Number the indices that occur, or read a table, whose labels are numbered.",
        )
    for name, array in (("values", values), ("weights", found.weights)):
        if array is None:
            continue
        if array.dtype.kind not in "fciub" or array.shape != values.shape:
            raise ReadError(
                path,
                f"{name} must be {len(values)} numbers, got {array.dtype} of shape "
                f"{list(array.shape)}.",
            )
        bad = np.flatnonzero(~np.isfinite(array))
        if bad.size:
            place = f"the indices {in_brackets(indices[bad[0]])} (from 0)"
            if found.modes is not None:
                words = [m.decode(indices[bad[:1], k])[0] for k, m in enumerate(found.modes)]
                named = zip(found.modes, words, strict=True)
                place = ", ".join(f"{mode.name} {word!r}" for mode, word in named)
            if name == "values" and found.value_name is not None:
                name = f"values in the column {found.value_name!r}"
            raise ReadError(
                path,
                f"{bad.size} of {len(values)} {name} are NaN or infinite, the first at "
                f"{place}. Leave out entries that are missing.",
            )
    return found
