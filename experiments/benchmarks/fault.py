"""Kill a search at random moments, also while it writes, and resume it: is the result the same?

    python experiments/benchmarks/fault.py --kills 20 --seed 0 --out fault.json

A planted ring is decomposed on the command line. An undisturbed run gives the network to expect.
Then, for each round, a run is killed with SIGKILL at a random moment, the first second included,
started again with `--resume`, killed again with probability 1/2, and so on until it ends; every
other round the newest checkpoint is damaged before resuming. Writes of checkpoints are slowed down
by a third of a second in the killed processes, so that many kills fall into one. The last part
fills a small tmpfs (where mounting is allowed; a limit on file sizes elsewhere) and resumes outside
it.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

import tnjax

# A process whose fsync takes a third of a second, so that a kill often falls into a write.
_SLOW = """
import os, sys, time
sync = os.fsync
def slow(handle):
    time.sleep(0.3)
    sync(handle)
os.fsync = slow
from tnjax.cli import main
sys.exit(main(sys.argv[1:]))
"""


def command(folder: Path, out: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-c", _SLOW, "decompose", str(folder / "x.npy"), "--out", str(out)),
        *("--target-error", "1e-4", "--cache", str(folder / "cache"), "--no-infer", *more),
    ]


def cores(run: Path) -> list[bytes]:
    return [np.asarray(core).tobytes() for core in tnjax.load(run / "network.safetensors").cores]


def disturb(folder: Path, out: Path, seconds: float, rng: random.Random, damage: bool) -> dict:
    """One round: kill, damage, resume until the run ends by itself."""
    kills, in_write, damaged = 0, 0, 0
    while True:
        resume = ["--resume"] if kills else []  # a batch system does not look what there is
        process = subprocess.Popen(
            command(folder, out, *resume), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if kills == 0 or rng.random() < 0.5:
            try:
                process.wait(rng.uniform(0.0, 1.1) * seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            kills += 1
            in_write += bool(list(out.glob("checkpoints/.*.partial")))
            found = sorted(out.glob("checkpoints/checkpoint-*"))
            if damage and len(found) > 1:
                content = bytearray(found[-1].read_bytes())
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                found[-1].write_bytes(content)
                damaged += 1
            continue
        return {
            "status": process.returncode,
            "kills": kills,
            "writes": in_write,
            "damaged": damaged,
        }


def full_disk(folder: Path, expected: list[bytes]) -> dict:
    """A run whose disk fills up: it says so, and its last good state resumes elsewhere."""
    small = folder / "small"
    small.mkdir()
    mounted = False
    if os.geteuid() == 0:
        mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(small)]
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    limit = None if mounted else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
    try:
        run = subprocess.run(
            command(folder, small / "run"), capture_output=True, text=True, preexec_fn=limit
        )
        kept = sorted(path.name for path in (small / "run" / "checkpoints").glob("checkpoint-*"))
        shutil.copytree(small / "run", folder / "moved")
    finally:
        if mounted:
            subprocess.run(["umount", str(small)], check=True)
    again = subprocess.run(command(folder, folder / "moved", "--resume"), capture_output=True)
    return {
        "how": "tmpfs of 48 KiB" if mounted else "file size limit",
        "status": run.returncode,
        "said": [line[:160] for line in run.stderr.splitlines()],
        "kept": kept,
        "resumed": again.returncode == 0 and cores(folder / "moved") == expected,
    }


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of all rounds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    rng = random.Random(options.seed)
    planted = tnjax.Structure.tensor_ring((6, 5, 6, 5), (2, 3, 2, 2))
    truth = tnjax.TensorNetwork.random(planted, key=jax.random.key(1))
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", np.asarray(truth.to_dense(), np.float64))
        subprocess.run(command(folder, folder / "first"), check=True, capture_output=True)
        begin = time.perf_counter()  # with the compiled programs on disk, as the killed runs
        subprocess.run(command(folder, folder / "whole"), check=True, capture_output=True)
        seconds = time.perf_counter() - begin
        expected = cores(folder / "whole")
        print(f"undisturbed: {seconds:.1f} s")
        print(f"{'round':<7}{'kills':>6}{'in a write':>12}{'damaged':>9}{'same network':>14}")
        number = 0
        while sum(r["kills"] for r in rounds) < options.kills:
            out = folder / f"round-{number}"
            found = disturb(folder, out, seconds, rng, damage=number % 2 == 1)
            found["same"] = found["status"] == 0 and cores(out) == expected
            rounds.append(found)
            number += 1
            print(
                f"{number:<7}{found['kills']:>6}{found['writes']:>12}{found['damaged']:>9}"
                f"{found['same']!s:>14}",
                flush=True,
            )
        disk = full_disk(folder, expected)
    same = sum(r["same"] for r in rounds)
    kills, writes = (sum(r[key] for r in rounds) for key in ("kills", "writes"))
    print(f"{same} of {len(rounds)} rounds end alike; {kills} kills, {writes} within a write")
    print(f"full disk ({disk['how']}): kept {len(disk['kept'])}, resumed alike: {disk['resumed']}")
    for line in disk["said"]:
        print(f"  {line}")
    record = {"rounds": rounds, "disk": disk}
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


if __name__ == "__main__":
    main()
