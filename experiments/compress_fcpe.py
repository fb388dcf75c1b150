"""Compress the pitch estimator FCPE: its twelve dense matrices at the parameters of truncated SVDs.

    python experiments/compress_fcpe.py --ranks 128 64 --out fcpe.json

Rows: the plain SVD of each matrix; ranks shared out by the spectra, without data; the same with
calibration on synthesised tones (unlabeled mels). Raw pitch accuracy (within 50 cents) is
measured on other tones. `--small` runs it on a tiny random network, without the wheel.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).parent))

import fcpe
import tables
from datasets import Wheel, member

from tnjax import compress
from tnjax.nn import Calibration, Spectra, read_torch

TORCHFCPE = Wheel(
    "torchfcpe", "0.0.4", "f042c463d850d76c6f4899a0b84f0b694bb560adf05f4de951097a756d17472d"
)
LAYERS = ("blocks.*.expand", "blocks.*.project")


def load() -> fcpe.FCPE:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fcpe.pt"
        file.write_bytes(member(TORCHFCPE, "torchfcpe/assets/fcpe_c_v001.pt"))
        return fcpe.from_checkpoint(read_torch(file)["model"])


def forward(model: fcpe.FCPE, mels: jax.Array) -> jax.Array:
    """Logits of a batch, one clip at a time."""
    return jax.lax.map(model.logits, mels)


def measure(options: argparse.Namespace) -> list[dict]:
    if options.small:
        model = fcpe.FCPE(jax.random.key(0), width=16, inner=16, depth=1, kernel=5)
    else:
        model = load()
    mels, pitch = fcpe.tones(options.clips, seed=options.seed)
    other, _ = fcpe.tones(options.calibration, seed=options.seed + 1000)
    size = max(1, options.calibration // 4)
    batches = [jnp.asarray(other[n : n + size]) for n in range(0, len(other), size)]
    calibration = Calibration(forward, batches)
    accuracy = lambda model: fcpe.raw_pitch_accuracy(model, mels, pitch)
    rows = [{"method": "dense", "rank": 0, "accuracy": accuracy(model)}]
    blocks = model.blocks
    per_rank = sum(sum(b.expand.weight.shape) + sum(b.project.weight.shape) for b in blocks)
    rows[0]["params"] = sum(b.expand.weight.size + b.project.weight.size for b in blocks)
    methods = {
        "SVD of each matrix": {"method": Spectra(allocation="uniform")},
        "ranks by spectra": {"method": Spectra(allocation="error")},
        "ranks by relative spectra": {"method": Spectra(allocation="relative")},
        "calibrated on tones": {"calibration": calibration},
    }
    for rank in options.ranks:
        for name, given in methods.items():
            result = compress(model, layers=LAYERS, budget=rank * per_rank, **given)
            rows.append(
                {
                    "method": name,
                    "rank": rank,
                    "params": result.num_params,
                    "accuracy": accuracy(result.model),
                    "ranks": [max(layer.layout.structure.ranks) for layer in result.layers],
                    "seconds": round(result.seconds, 2),
                }
            )
            tables.show(rows[-1:], ["method", "rank", "params", "accuracy", "ranks"])
    return rows


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--clips", type=int, default=200, help="half a second each")
    parser.add_argument("--calibration", type=int, default=60, help="clips to calibrate on")
    parser.add_argument("--seed", type=int, default=0, help="of the tones")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    rows = measure(options)
    print()
    tables.show(rows, ["method", "rank", "params", "accuracy", "seconds"])
    tables.write(options.out, rows, arguments)
    return rows


if __name__ == "__main__":
    main()
