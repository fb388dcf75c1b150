"""How soon the command line speaks, how long it is silent, and when it stops: a table and a JSON
file.

    python experiments/benchmarks/responsiveness.py --max-seconds 10 --out responsiveness.json
    python experiments/benchmarks/responsiveness.py --cases coffee ratings compression

Each case is a command in a process of its own, whose standard error is a pipe: seconds until the
process has ended and its folder is complete, until the first line, and of the longest silence.
The cases are inputs whose moves take long. With `--max-seconds` those are run that take it.
"""

import argparse
import dataclasses
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import datasets

FILES = ("result.json", "report.html")


@dataclasses.dataclass(frozen=True)
class Case:
    """A command without `--out`.

    Attributes:
        words: the command; "{input}" stands for the file that `write` makes.
        write: writes the input into a folder and gives the file's name.
        limited: whether the command takes `--max-seconds` and `--cache`, as searches do.
    """

    words: str
    write: Callable[[Path], str]
    limited: bool = True


def _saved(make: Callable[[], np.ndarray]) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        np.save(folder / "x.npy", make())
        return "x.npy"

    return write


def _noise(*dims: int) -> Callable[[Path], str]:
    return _saved(lambda: np.random.default_rng(0).standard_normal(dims))


def _binary() -> np.ndarray:
    return (np.random.default_rng(0).random((120, 100, 60)) < 0.02).astype(np.float64)


def _photograph(name: str) -> Callable[[Path], str]:
    """A picture in colors of scikit-image's wheel."""

    def write(folder: Path) -> str:
        from PIL import Image
        from skimage import data

        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")
        return f"{name}.png"

    return write


def _digits(name: str) -> Callable[[Path], str]:
    return _saved(lambda: datasets.image(name).reshape((4,) * 8))


def ratings(folder: Path, rows: int = 20_000) -> str:
    """A table of ratings: 900 users, 600 items, low rank with noise."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(900, size=rows), rng.integers(600, size=rows)
    left, right = rng.standard_normal((900, 3)), rng.standard_normal((600, 3))
    values = 3 + (left[users] * right[items]).sum(1) + 0.3 * rng.standard_normal(rows)
    lines = [f"u{u},i{i},{v:.3f}" for u, i, v in zip(users, items, values, strict=True)]
    (folder / "ratings.csv").write_text("\n".join(["user,item,rating", *lines]) + "\n")
    return "ratings.csv"


MODEL = """
import equinox as eqx, jax, jax.numpy as jnp, numpy as np
from tnjax.nn import Task

def model():
    return eqx.nn.MLP(64, 10, 256, 2, key=jax.random.key(0))

def task():
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((64, 64)), rng.integers(10, size=64)) for _ in range(20)]
    def loss(model, batch):
        logits = jax.vmap(model)(batch[0])
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(64), batch[1]])
    return Task(loss, batches[:16], batches[16:])
"""


def model(folder: Path) -> str:
    (folder / "a_model.py").write_text(MODEL)
    return "a_model:model"


CASES = {
    "coffee": Case("decompose {input} --target-error 0.1", _photograph("coffee")),
    "chelsea": Case("decompose {input} --target-error 0.1", _photograph("chelsea")),
    "grass": Case("decompose {input} --target-error 0.15", _digits("grass")),
    "gravel": Case("decompose {input} --target-error 0.15", _digits("gravel")),
    "binary": Case("decompose {input} --target-error 0.2", _saved(_binary)),
    "pines": Case("decompose {input} --target-error 0.02", _saved(datasets.indian_pines)),
    "noise 2^18": Case("decompose {input} --target-error 0.5", _noise(*(2,) * 18)),
    "tree 16^5": Case("decompose {input} --target-error 0.9 --strategy tree", _noise(*(16,) * 5)),
    "sampling 64^3": Case(
        "decompose {input} --target-error 0.5 --strategy local-sampling", _noise(64, 64, 64)
    ),
    "genetic 8^5": Case(
        "decompose {input} --target-error 0.5 --strategy genetic", _noise(*(8,) * 5)
    ),
    "ratings": Case(
        "complete {input} --validation 0.1 --target-error 0.05 --duplicates mean", ratings
    ),
    "compression": Case(
        "compress {input} --layers layers.* --budget 0.1 --task a_model:task", model, False
    ),
}


def measure(case: Case, max_seconds: float | None, timeout: float) -> dict:
    """One run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = case.words.format(input=case.write(folder)).split()
        if max_seconds is not None:
            words += ["--max-seconds", str(max_seconds)]
        script = "import sys; from tnjax._script import main; sys.exit(main())"
        words += ["--out", "run", *(["--cache", "none"] if case.limited else [])]
        command = [sys.executable, "-c", script, *words]
        begin = time.perf_counter()
        times, lines = [], []
        with subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path[1:]])},
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                times.append(time.perf_counter() - begin)
                lines.append(line.decode(errors="replace").rstrip())
                if times[-1] > timeout:
                    process.terminate()
            status = process.wait()
        seconds = time.perf_counter() - begin
        found = folder / "run" / "result.json"
        result = json.loads(found.read_text()) if found.exists() else {}
        marks = [0.0, *times, seconds]
        return {
            "seconds": seconds,
            "first_line": times[0] if times else None,
            "silence": max(b - a for a, b in itertools.pairwise(marks)),
            "exit": status,
            "params": result.get("num_params"),
            "error": result.get("error"),
            "status": result.get("status"),
            "missing": [file for file in FILES if not (folder / "run" / file).exists()],
            "last_line": lines[-1] if lines else "",
        }


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=None, metavar="CASE")
    parser.add_argument("--max-seconds", type=float)
    parser.add_argument("--timeout", type=float, default=600, help="a run is stopped after so long")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    names = options.cases or list(CASES)
    rows = []
    print(
        f"{'case':14} {'seconds':>8} {'first line':>10} {'silence':>8} {'parameters':>10}  status"
    )
    for name in names:
        if options.max_seconds is not None and not CASES[name].limited:
            continue
        row = {"case": name, **measure(CASES[name], options.max_seconds, options.timeout)}
        rows.append(row)
        first = "-" if row["first_line"] is None else f"{row['first_line']:.1f}"
        size = "-" if row["params"] is None else f"{row['params']:,}"
        end = f"{row['status']}, exit {row['exit']}"
        if row["missing"]:
            end += f", without {', '.join(row['missing'])}: {row['last_line']}"
        print(
            f"{name:14} {row['seconds']:8.1f} {first:>10} {row['silence']:8.1f} {size:>10}  {end}",
            flush=True,
        )
    if options.out:
        record = {"python": platform.python_version(), "max_seconds": options.max_seconds}
        options.out.write_text(json.dumps({**record, "rows": rows}, indent=1))
    return rows


if __name__ == "__main__":
    main()
