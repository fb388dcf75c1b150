"""What do damaged and hostile files do to the readers? A table and a JSON file.

    python experiments/benchmarks/fuzz_readers.py --inputs 10000 --seed 0 --out fuzz.json

Sound files are damaged (cut, bits flipped, runs of bytes replaced, blocks inserted or doubled)
or made hostile by hand (huge shapes, unpacking bombs, pickles, paths that leave an archive). Each
input is read in a forked process, with a limit on its address space and on its time, which reads
up to fifty of one kind and ends at the first fault. The input depends on the seed and its number
only. Counted for each reader:

- clean: refused with a ValueError or OSError; read: accepted;
- other: any other exception, warnings included; hangs: more than five seconds; crashes: signals;
- large: the process grew by more than 64 MiB and four times the file (its peak resident size,
  VmHWM, which is set back just before the read, less its size then), or it ran out of memory,
  however that was reported. Arrays may take `--max-bytes` (16 MiB), so that unpacking bombs count
  as well;
- executed: a payload made its marker, or something was written out of the folder.

The exit status is 1 if any of the last five is not zero.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import pickle
import resource
import select
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import jax
import numpy as np
from fuzz_inputs import OUTSIDE, SUFFIXES, hostile_files, make_input, sound_files

import tnjax
from tnjax.io import Mode, read_coordinates, read_labels, read_requests, read_tensor

SECONDS = 5.0
EACH = 50  # inputs of one process: a fork of a process with JAX costs more than reading
BASE = 64 * 2**20
ADDRESSES = 2**30
COORDINATES = ("coordinates", "tns", "tns packed", "csv", "csv packed", "parquet")
COORDINATES += ("csv plain", "csv layout")
FAULTS = ("other", "hangs", "crashes", "large", "executed")
# One input ----------------------------------------------------------------------------------


def read(name: str, path: Path, max_bytes: int) -> None:
    if name == "load":
        tnjax.load(path)
    elif name == "load_metadata":
        tnjax.load_metadata(path)
    elif name == "from_json":
        structure = tnjax.Structure.from_json(path.read_bytes().decode("utf-8", "replace"))
        hash(structure), structure.num_params
    elif name == "labels":
        sum(mode.size for mode in read_labels(path))
    elif name == "requests":
        modes = (Mode("user", ("Ann", "Bob", "Eve")), Mode("day", ("1", "2", "10")))
        check_coordinates(read_requests(path, (3, 3), modes, max_bytes=max_bytes), (3, 3))
    elif name in COORDINATES:
        if name == "csv plain":  # by the standard library
            sys.modules["pyarrow"] = sys.modules["pyarrow.csv"] = None  # type: ignore[assignment]
        found = read_coordinates(path, max_bytes=max_bytes)
        check_coordinates(found.indices, found.shape)
        if not np.isfinite(found.values).all():
            raise AssertionError("accepted values that are not finite")
    else:
        array = read_tensor(path, max_bytes=max_bytes).array
        if array.dtype.kind not in "fciub" or array.nbytes > max(max_bytes, path.stat().st_size):
            raise AssertionError(f"accepted {array.dtype} of shape {array.shape}")


def check_coordinates(indices: np.ndarray, shape: tuple[int, ...]) -> None:
    if (indices < 0).any() or (indices >= np.asarray(shape)).any():
        raise AssertionError(f"accepted indices outside of {shape}")


def _memory(field: str) -> int:
    """Bytes, from what Linux tells about this process."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024


def _serve(name: str, max_bytes: int, asked: int, told: int) -> None:
    """Read each file whose path comes in; tell the outcome of each in a line."""
    if name == "load":
        jax.config.update("jax_enable_x64", True)
        jax.numpy.zeros(1).block_until_ready()
    limit = _memory("VmSize") + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff complains there
    warnings.simplefilter("error")
    with os.fdopen(asked, "rb", buffering=0) as paths:
        for line in paths:
            path = Path(os.fsdecode(line.rstrip(b"\n")))
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            before = _memory("VmRSS")
            os.write(told, b"\n")  # ready: the clock starts
            found = [*_outcome(name, path, max_bytes), _memory("VmHWM") - before]
            os.write(told, json.dumps(found).encode() + b"\n")


def _outcome(name: str, path: Path, max_bytes: int) -> tuple[str, str]:
    problem: BaseException | None = None
    try:
        read(name, path, max_bytes)
        outcome = "read"
    except (ValueError, OSError, ImportError) as error:
        outcome, problem = "clean", error
    except UserWarning as error:  # of what is left out of an image
        outcome, problem = ("read" if "left out" in str(error) else "other"), error
    except BaseException as error:
        outcome, problem = "other", error
    chain, cause = [], problem
    while cause is not None:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(error, MemoryError) for error in chain):
        outcome = "large"
    return outcome, repr(problem)[:500]


class Reading:
    """A process forked to read files of one kind. One that reads wrongly is not asked again."""

    def __init__(self, name: str, max_bytes: int) -> None:
        self.name, self.read = name, 0
        asked, self._ask = os.pipe()
        self._told, told = os.pipe()
        self._process = os.fork()
        if not self._process:
            try:
                os.close(self._ask)
                os.close(self._told)
                _serve(name, max_bytes, asked, told)
            finally:
                os._exit(0 if sys.exc_info()[0] is None else 3)
        os.close(asked)
        os.close(told)

    def run(self, path: Path) -> tuple[str, str, int, float]:
        """Outcome, what was raised, growth in bytes, seconds."""
        self.read += 1
        with contextlib.suppress(BrokenPipeError):
            os.write(self._ask, os.fsencode(path) + b"\n")
        text, begin = b"", time.monotonic()
        while text.count(b"\n") < 2:
            left = (SECONDS if text else 60.0) - (time.monotonic() - begin)
            if left <= 0 or not select.select([self._told], [], [], left)[0]:
                os.kill(self._process, signal.SIGKILL)
                break
            part = os.read(self._told, 4096)
            if not part:
                break
            if not text:  # ready: the clock starts
                begin = time.monotonic()
            text += part
        seconds = time.monotonic() - begin
        if text.count(b"\n") < 2:
            return *self._ended(), 0, seconds
        outcome, problem, growth = json.loads(text)
        if growth > BASE + 4 * path.stat().st_size:
            outcome = "large"
        return outcome, problem, growth, seconds

    def _ended(self) -> tuple[str, str]:
        _, state = os.waitpid(self._process, 0)
        self._process = 0
        if os.WIFSIGNALED(state):
            number = os.WTERMSIG(state)
            return ("hangs" if number == signal.SIGKILL else "crashes"), f"signal {number}"
        return "other", f"exit status {os.WEXITSTATUS(state)}"

    def close(self) -> None:
        os.close(self._ask)
        os.close(self._told)
        if self._process:
            os.waitpid(self._process, 0)


# All of them --------------------------------------------------------------------------------


def _run_share(job: tuple) -> list[dict]:
    seeds, hostile, root, options, share, shares = job
    folder = root / "a" / "b" / str(share)
    folder.mkdir(parents=True)
    names = options.only or list(SUFFIXES)
    mine = sorted(range(share, options.inputs, shares), key=lambda index: index % len(names))
    reading, records = None, []
    for index in mine:
        name = names[index % len(names)]
        path = folder / f"input{SUFFIXES[name]}"
        data = make_input(seeds, hostile, name, options.seed, index)
        path.write_bytes(data)
        if reading is None or reading.name != name or reading.read == EACH:
            if reading is not None:
                reading.close()
            reading = Reading(name, options.max_bytes)
        outcome, problem, growth, seconds = reading.run(path)
        if _leaked(folder, path, root):
            outcome = "executed"
        if outcome in FAULTS:
            reading.close()
            reading = None
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{index}{SUFFIXES[name]}").write_bytes(data)
        path.unlink()
        records.append(
            {
                "index": index,
                "reader": name,
                "outcome": outcome,
                "problem": problem,
                "bytes": len(data),
                "growth": growth,
                "seconds": seconds,
            }
        )
    if reading is not None:
        reading.close()
    return records


def _leaked(folder: Path, path: Path, root: Path) -> bool:
    """Whether a payload ran, or something was written beside the file."""
    marker = root / "marker"
    leaked = {p.name for p in folder.iterdir()} != {path.name}
    leaked |= not {p.name for p in root.iterdir()} <= {"a", "sound.pickle"}
    if leaked and marker.exists():
        marker.rmdir()
    return leaked or OUTSIDE.exists()


def _prepare(root: Path) -> None:
    """In a process of its own: once JAX has started, a process should not fork."""
    jax.config.update("jax_enable_x64", True)
    seeds = sound_files(root)
    hostile = hostile_files(seeds, root / "marker")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in SUFFIXES:
            if name not in ("load", "csv plain"):  # they start JAX, and hide pyarrow
                path = root / f"sound{SUFFIXES[name]}"
                path.write_bytes(seeds[name][0])
                with contextlib.suppress(ValueError, OSError):
                    read(name, path, 2**24)
                path.unlink()
    (root / "sound.pickle").write_bytes(pickle.dumps((seeds, hostile, list(sys.modules))))


def summary(records: list[dict]) -> dict[str, dict]:
    rows = {}
    for name in SUFFIXES:
        mine = [r for r in records if r["reader"] == name]
        if not mine:
            continue
        counts = collections.Counter(r["outcome"] for r in mine)
        rows[name] = {"inputs": len(mine)}
        rows[name] |= {key: counts[key] for key in ("clean", "read", *FAULTS)}
        rows[name]["growth_mib"] = round(max(r["growth"] for r in mine) / 2**20, 1)
        rows[name]["seconds"] = round(max(r["seconds"] for r in mine), 2)
    total = {"inputs": len(records)}
    for key in ("clean", "read", *FAULTS):
        total[key] = sum(row[key] for row in rows.values())
    for key in ("growth_mib", "seconds"):
        total[key] = max(row[key] for row in rows.values())
    return {**rows, "total": total}


def print_table(rows: dict[str, dict]) -> None:
    columns = list(rows["total"])
    print(f"{'reader':<16}" + "".join(f"{column:>11}" for column in columns))
    for name, row in rows.items():
        print(f"{name:<16}" + "".join(f"{row[column]:>11}" for column in columns))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON: the table and every fault")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that gave faults")
    parser.add_argument("--max-bytes", type=int, default=2**24)
    parser.add_argument("--only", nargs="*", choices=list(SUFFIXES), help="some of the readers")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    begin = time.perf_counter()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        preparing = context.Process(target=_prepare, args=(root,))
        preparing.start()
        preparing.join()
        seeds, hostile, used = pickle.loads((root / "sound.pickle").read_bytes())
        for module in used:  # what the readers import, once for all inputs
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        gc.freeze()
        jobs = [
            (seeds, hostile, root, options, share, options.workers)
            for share in range(options.workers)
        ]
        with concurrent.futures.ProcessPoolExecutor(options.workers, mp_context=context) as pool:
            records = [record for share in pool.map(_run_share, jobs) for record in share]
    records.sort(key=lambda record: record["index"])
    rows = summary(records)
    faults = [record for record in records if record["outcome"] in FAULTS]
    print_table(rows)
    for fault in faults[:20]:
        print(f"{fault['index']} {fault['reader']}: {fault['outcome']}: {fault['problem']}")
    print(f"{len(faults)} faults in {len(records)} inputs, {time.perf_counter() - begin:.0f} s")
    if options.out:
        record = {
            "inputs": options.inputs,
            "seed": options.seed,
            "max_bytes": options.max_bytes,
            "base_bytes": BASE,
            "seconds_limit": SECONDS,
            "table": rows,
            "faults": faults,
        }
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
