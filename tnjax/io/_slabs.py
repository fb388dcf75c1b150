"""Dense tensors that stay on disk: `.npy`, HDF5 and Zarr, read slab by slab."""

import contextlib
import math
import os
from pathlib import Path

import numpy as np

from .._errors import ReadError
from ._checks import check_file
from ._hdf5 import HDF5_SUFFIXES, Hdf5File
from ._netcdf3 import is_netcdf3
from ._npy import read_header
from ._tensor_file import TensorFile
from ._zarr import ZARR_SUFFIX, ZarrFile


def open_tensor(path: str | os.PathLike[str], variable: str | None = None) -> TensorFile | None:
    """A tensor that can be read slab by slab.

    Args:
        path: `.npy`, HDF5 (`.h5`, `.hdf5`, `.he5`, NetCDF 4 as `.nc` or `.nc4`; needs h5py) or a
            `.zarr` folder (needs zarr). Both are in the extra `arrays`.
        variable: which array of a file or folder that holds several.

    Returns:
        the tensor, or None if files of this kind cannot be read in parts (NetCDF 3 is one).

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if h5py or zarr is needed and not installed.
        ValueError: if it is damaged, or holds no such array of numbers.

    Example:
        >>> import tempfile, pathlib
        >>> import numpy as np
        >>> from tnjax.io import open_tensor
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "x.npy"
        ...     np.save(file, np.zeros((5, 3, 2)))
        ...     tensor = open_tensor(file)
        ...     [slab.shape for slab in tensor.slabs(max_bytes=96)]
        [(2, 3, 2), (2, 3, 2), (1, 3, 2)]
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ZARR_SUFFIX:
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such folder.")
        return ZarrFile(path, variable)
    check_file(path)
    if suffix == ".npy":
        return NpyFile(path)
    if suffix in HDF5_SUFFIXES and not is_netcdf3(path):
        return Hdf5File(path, variable)
    return None


class NpyFile(TensorFile):
    """An `.npy` file. Read into one buffer, not mapped: mapped pages would count as memory."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with open(path, "rb") as file:
                shape, self.fortran, dtype = read_header(file, path.stat().st_size)
                self._offset = file.tell()
        except ValueError as error:
            raise ReadError(
                path, f"not an .npy file of numbers, or a damaged one ({error})."
            ) from error
        self.shape = tuple(map(int, shape))
        self._stored, self.dtype = dtype, dtype.newbyteorder("=")

    @contextlib.contextmanager
    def _opened(self):
        row = math.prod(self.stored_shape[1:])
        buffer = np.empty(0, self._stored)
        with open(self.path, "rb", buffering=0) as file:

            def read(first: int, last: int) -> np.ndarray:
                nonlocal buffer
                count = (last - first) * row
                if buffer.size < count:
                    buffer = np.empty(count, self._stored)
                part = buffer[:count]
                file.seek(self._offset + first * row * self._stored.itemsize)
                view = part.view(np.uint8).data
                while len(view):
                    got = file.readinto(view)
                    if not got:
                        raise ReadError(self.path, "the data are cut.")
                    view = view[got:]
                array = part.reshape(last - first, *self.stored_shape[1:])
                return array.astype(self.dtype, copy=False)

            yield read
