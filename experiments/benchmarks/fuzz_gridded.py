"""Sound files of gridded data (HDF5, NetCDF, MATLAB 7.3, NIfTI) and tables of other layouts, for
`fuzz_inputs.py`."""

import gzip
import importlib.util
import io
from pathlib import Path

import h5py
import numpy as np
import scipy.io

_PACKED = {"scale_factor": 0.01, "add_offset": 280.0, "_FillValue": np.int16(-32767)}
_TABLE = b'user;day;value\nAnn;31/12/2023;0,5\nBob;01/02/2024;-2,25\n"Eve; E.";05/06/2024;1\n'


def sound_gridded(folder: Path) -> dict[str, list[bytes]]:
    rng = np.random.default_rng(0)
    stored = rng.integers(-3000, 3000, (5, 4, 3)).astype(np.int16)
    mat = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    volumes = _niftis(stored)
    return {
        "csv plain": [_TABLE.replace(b";", b",").replace(b"0,5", b"0.5").replace(b"2,25", b"2")],
        "csv layout": [_TABLE, b",user,day,v\n0,a,Jan,1\n1,b,Mar,2\n", b"v\tu\n1\tx\n2\ty\n"],
        "hdf5": [_hdf5(folder, stored, {}), _hdf5(folder, stored, _PACKED, chunks=(2, 4, 3))],
        "netcdf 4": [_hdf5(folder, stored, _PACKED), _hdf5(folder, stored * 1.0, {})],
        "netcdf 3": [_netcdf3(stored, version) for version in (1, 2)],
        "matlab 7.3": [mat + _hdf5(folder, stored * 1.0, {}, userblock_size=512)[128:]],
        "nifti": volumes,
        "nifti packed": [gzip.compress(volume, mtime=0) for volume in volumes],
    }


def _hdf5(folder: Path, stored: np.ndarray, attributes: dict, userblock_size=0, **more) -> bytes:
    path = folder / "sound.h5"
    with h5py.File(path, "w", userblock_size=userblock_size) as file:
        data = file.create_dataset("t2m", data=stored, **more)
        data.attrs.update(attributes)
        if userblock_size:
            data.attrs["MATLAB_class"] = np.bytes_("double")
        for axis, name in enumerate(("time", "lat", "lon")):
            scale = file.create_dataset(name, data=np.arange(stored.shape[axis]) * 10.0)
            scale.attrs["units"] = "days since 2024-01-01"
            scale.make_scale(name)
            data.dims[axis].attach_scale(scale)
    found = path.read_bytes()
    path.unlink()
    return found


def _netcdf3(stored: np.ndarray, version: int) -> bytes:
    out = io.BytesIO()
    file = scipy.io.netcdf_file(out, "w", version=version)
    for axis, name in enumerate(("time", "lat", "lon")):
        file.createDimension(name, stored.shape[axis] if axis else None)
        file.createVariable(name, "f8", (name,))[:] = np.arange(stored.shape[axis]) * 10.0
    data = file.createVariable("t2m", "i2", ("time", "lat", "lon"))
    data[:] = stored
    for key, value in _PACKED.items():
        setattr(data, key, value)
    file.flush()
    return out.getvalue()


def _niftis(stored: np.ndarray) -> list[bytes]:
    if importlib.util.find_spec("nibabel") is None:  # refused with how to install it
        return [bytes(400)]
    import nibabel

    out = []
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        image = kind(stored, np.eye(4))
        image.header.set_slope_inter(0.5, 3)
        out.append(image.to_bytes())
    return out
