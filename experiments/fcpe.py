"""The pitch estimator FCPE in JAX: its mel front end, its network as Equinox modules, its decoder,
and synthesised tones to measure it on. Weights from the torchfcpe wheel (MIT license).

Reference: https://github.com/CNChTu/FCPE
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

SAMPLE_RATE, MELS, WINDOW, HOP = 16000, 128, 1024, 160
LOWEST, HIGHEST = 32.7, 1975.5


def mel_basis() -> np.ndarray:
    """Slaney's mel filters, as librosa makes them: [mels, frequencies]."""
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), MELS + 2))
    frequencies = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    ramps = edges[:, None] - frequencies[None]
    width = np.diff(edges)
    lower = -ramps[:-2] / width[:-1, None]
    upper = ramps[2:] / width[1:, None]
    weights = np.maximum(0, np.minimum(lower, upper))
    return (weights * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def _hz_to_mel(hz):
    hz = np.asarray(hz, np.float64)
    return np.where(
        hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1e-9) / 1000) / (np.log(6.4) / 27)
    )


def _mel_to_hz(mel):
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.log(6.4) / 27) * (mel - 15)))


def log_mel(wave: np.ndarray) -> np.ndarray:
    """[samples] -> [frames, mels], one frame every 10 ms."""
    left = (WINDOW - HOP) // 2
    right = max((WINDOW - HOP + 1) // 2, WINDOW - len(wave) - left)
    padded = np.pad(wave, (left, right), mode="reflect" if right < len(wave) else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    spectrum = np.fft.rfft(frames * hann)
    magnitude = np.sqrt(np.abs(spectrum) ** 2 + 1e-9)
    return np.log(np.maximum(magnitude @ mel_basis().T, 1e-5)).astype(np.float32)


def tones(count: int, *, seed: int, seconds: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Harmonic tones with vibrato and noise: mels [count, frames, mels], pitch in Hz [count,
    frames]. Pitch is log-uniform in 60 to 1000 Hz, harmonics fall off by a random power."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * SAMPLE_RATE)
    time = np.arange(samples) / SAMPLE_RATE
    mels, pitches = [], []
    for _ in range(count):
        base = np.exp(rng.uniform(np.log(60), np.log(1000)))
        cents = rng.uniform(0, 50) * np.sin(
            2 * np.pi * rng.uniform(3, 7) * time + rng.uniform(0, 6)
        )
        pitch = base * 2 ** (cents / 1200)
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
        wave = np.zeros(samples)
        decay = rng.uniform(0.5, 1.5)
        for k in range(1, 1 + min(30, int(0.95 * SAMPLE_RATE / 2 / pitch.max()))):
            wave += k**-decay * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
        wave *= rng.uniform(0.1, 0.8) / np.abs(wave).max()
        wave += rng.uniform(0, 0.02) * rng.standard_normal(samples)
        mel = log_mel(np.clip(wave, -1, 1))
        centers = np.clip(np.arange(len(mel)) * HOP, 0, samples - 1)
        mels.append(mel)
        pitches.append(pitch[centers])
    return np.stack(mels), np.stack(pitches).astype(np.float32)


class Block(eqx.Module):
    """Layer norm, pointwise convolution (a dense layer), GLU, depthwise convolution, dense layer,
    and the residual connection."""

    norm: eqx.nn.LayerNorm
    expand: eqx.nn.Linear
    depthwise: eqx.nn.Conv1d
    project: eqx.nn.Linear

    def __call__(self, x: Array) -> Array:
        y = jax.vmap(self.expand)(jax.vmap(self.norm)(x))
        value, gate = jnp.split(y, 2, axis=-1)
        y = self.depthwise((value * jax.nn.sigmoid(gate)).T).T
        return x + jax.vmap(self.project)(jax.nn.silu(y))


class FCPE(eqx.Module):
    """Log-mel frames [frames, mels] -> activations [frames, 360], one bin per 20 cents."""

    first: eqx.nn.Conv1d
    group_norm: eqx.nn.GroupNorm
    second: eqx.nn.Conv1d
    blocks: tuple[Block, ...]
    norm: eqx.nn.LayerNorm
    output: eqx.nn.Linear

    def __init__(self, key, *, mels=MELS, width=512, inner=1024, depth=6, bins=360, kernel=31):
        keys = iter(jax.random.split(key, 3 + 3 * depth))
        self.first = eqx.nn.Conv1d(mels, width, 3, padding=1, key=next(keys))
        self.group_norm = eqx.nn.GroupNorm(4, width)
        self.second = eqx.nn.Conv1d(width, width, 3, padding=1, key=next(keys))
        self.blocks = tuple(
            Block(
                eqx.nn.LayerNorm(width),
                eqx.nn.Linear(width, 2 * inner, key=next(keys)),
                eqx.nn.Conv1d(
                    inner, inner, kernel, padding=kernel // 2, groups=inner, key=next(keys)
                ),
                eqx.nn.Linear(inner, width, key=next(keys)),
            )
            for _ in range(depth)
        )
        self.norm = eqx.nn.LayerNorm(width)
        self.output = eqx.nn.Linear(width, bins, key=next(keys))

    def __call__(self, mel: Array) -> Array:
        return jax.nn.sigmoid(self.logits(mel))

    def logits(self, mel: Array) -> Array:
        x = jax.nn.leaky_relu(self.group_norm(self.first(mel.T)), 0.01)
        x = self.second(x).T
        for block in self.blocks:
            x = block(x)
        return jax.vmap(self.output)(jax.vmap(self.norm)(x))


def from_checkpoint(state: dict) -> FCPE:
    """The network with the tensors of `fcpe_c_v001.pt`."""
    skeleton = eqx.filter_eval_shape(FCPE, jax.random.key(0))
    get = lambda name: jnp.asarray(state[name])
    root = "net.encoder_layers.{}.conformer.net.{}"
    gain = state["output_proj.weight_g"]
    direction = state["output_proj.weight_v"]
    new = [
        *(get(f"input_stack.{n}.{part}") for n in (0, 1, 3) for part in ("weight", "bias")),
        get("norm.weight"),
        get("norm.bias"),
        jnp.asarray(gain * direction / np.linalg.norm(direction, axis=1, keepdims=True)),
        get("output_proj.bias"),
    ]
    for depth in range(len(skeleton.blocks)):
        name = lambda n, part, depth=depth: root.format(depth, n) + "." + part
        new += [get(name(0, "weight")), get(name(0, "bias"))]
        new += [get(name(2, "weight"))[..., 0], get(name(2, "bias"))]
        new += [get(name("4.conv", "weight")), get(name("4.conv", "bias"))[:, None]]
        new += [get(name(6, "weight"))[..., 0], get(name(6, "bias"))]
    new[1], new[5] = new[1][:, None], new[5][:, None]

    def leaves(model: FCPE) -> list:
        pair = lambda module: [module.weight, module.bias]
        out = [*pair(model.first), *pair(model.group_norm), *pair(model.second)]
        out += [*pair(model.norm), *pair(model.output)]
        for block in model.blocks:
            for part in (block.norm, block.expand, block.depthwise, block.project):
                out += pair(part)
        return out

    for old, given in zip(leaves(skeleton), new, strict=True):
        if old.shape != given.shape:
            raise ValueError(f"checkpoint: expected a tensor of shape {old.shape}, {given.shape}.")
    return eqx.tree_at(leaves, skeleton, new)


def cent_table(bins: int = 360) -> np.ndarray:
    cents = lambda hz: 1200 * np.log2(hz / 10)
    return np.linspace(cents(LOWEST), cents(HIGHEST), bins).astype(np.float32)


def decode(activations: Array) -> Array:
    """Pitch in Hz from the nine bins around the largest one."""
    bins = activations.shape[-1]
    table = jnp.asarray(cent_table(bins))
    peak = jnp.argmax(activations, axis=-1, keepdims=True)
    near = jnp.clip(peak + jnp.arange(-4, 5), 0, bins - 1)
    weight = jnp.take_along_axis(activations, near, axis=-1)
    cents = jnp.sum(table[near] * weight, -1) / jnp.sum(weight, -1)
    return 10 * 2 ** (cents / 1200)


def soft_targets(pitch: np.ndarray, bins: int = 360) -> np.ndarray:
    """The Gaussian bumps that FCPE is trained on: [..., bins]."""
    cents = 1200 * np.log2(np.asarray(pitch)[..., None] / 10)
    return np.exp(-((cent_table(bins) - cents) ** 2) / 1250).astype(np.float32)


def raw_pitch_accuracy(model, mels: np.ndarray, pitch: np.ndarray, *, batch: int = 50) -> float:
    """Share of frames whose pitch is within 50 cents."""
    found = [
        np.asarray(_pitch_of(model, jnp.asarray(mels[start : start + batch])))
        for start in range(0, len(mels), batch)
    ]
    distance = np.abs(1200 * np.log2(np.concatenate(found) / pitch))
    return float((distance <= 50).mean())


@eqx.filter_jit
def _pitch_of(model, mels: Array) -> Array:
    return decode(lax.map(model, mels))
