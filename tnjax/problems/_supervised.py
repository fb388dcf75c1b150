"""Functions of many features."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._network import TensorNetwork, scaled
from .._structure import Structure
from .._tuned import tuned
from ..contract.designs import Blocks
from ..features import Columns, FeatureMap, Fitted
from . import featured
from ._additive import additive_network, constant_vectors
from ._losses import Loss, Softmax
from ._of_samples import OfSamples
from ._supervised_model import SupervisedModel
from ._targets import (
    Table,
    checked_features,
    checked_targets,
    checked_values,
    checked_weights,
)
from .coordinates import Entries, check_ridge, fit_offsets, root_mean_square, split_held_out
from .featured import FeatureSamples
from .samples import Predictions


@dataclasses.dataclass(frozen=True)
class SupervisedStart:
    """Functions of features.

    Attributes:
        link_start: root mean square of a random start's predictions in the units of a link function
            (log odds), where 1 would be a lot.
        noise: of a random start, beside the constant function.
        classes: samples that a class counts as if it had more, in the log odds of the offsets.
        screened: samples of training that candidates are screened on, at least ...
        screened_per_param: ... and so many for each parameter.
    """

    link_start: float = 0.1
    noise: float = 0.1
    classes: float = 0.5
    screened: int = 2**13
    screened_per_param: int = 25


SUPERVISED = tuned("supervised", SupervisedStart(), traced=True)


class SupervisedOptions(TypedDict, total=False):
    """What `Supervised` takes as further keywords, and tells the meaning of."""

    maps: Mapping[str, FeatureMap | Fitted]
    offsets: Literal["mean"] | None
    ridge: float


class Aside:
    """A value that goes with a problem and that no program depends on: all of them are equal."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Aside)

    def __hash__(self) -> int:
        return 0


class Supervised(OfSamples):
    r"""Learn a function of many features as a tensor network.

    Sample s has for each feature column k a vector $\phi_k(s)$ of functions of its value. Of a
    network T

    $$f(s) = \langle T, \phi_1(s) \otimes \cdots \otimes \phi_d(s) \rangle, \qquad
    L(T) = \sum_s w_s\, \ell(b + f(s), y_s) + \frac{\lambda}{M} \sum_k \|G_k\|_F^2$$

    with weights that sum to 1 over the M training samples, an offset b and the cores $G_k$. Several
    outputs are one more open leg, mode 0 of the network. For the squared loss `error` is the root
    of the unexplained share $\sqrt{1 - R^2}$ (with offsets; relative to the targets without), for
    other losses their weighted mean; over the held-out samples where there are any.

    A `Completion` is the case of one-hot features: `Supervised` solves for all rows of a core
    together, as they share samples here. ALS is for the squared loss, and by parabolas for others;
    `GaussNewton()` and optax transformations are for any.

    Args:
        features: a list of arrays [samples, d_k], one for each mode; an array [samples, d_k, d_l,
            ...] covers as many modes, for samples that are tensors. Or, with `maps`, a table:
            columns by name.
        targets: numbers [samples], or [samples, outputs]; for "logistic" between 0 and 1, for
            "softmax" numbers of classes 0, 1, ... [samples] or probabilities [samples, classes].
        loss: "squared", "logistic", "softmax", a loss or its name as of `Completion`, or a
            differentiable function of (prediction, value) for single outputs.
        weights: one for each sample, 0 or more; only their ratios matter.
        validation: what is held out: a share of the samples, drawn by `key`, or their numbers.
        key: `jax.random.key(seed)` for the split.
        options: further keywords:
            `maps`: a map of `tnjax.features` for each column of a table; they are fitted to it.
            `offsets`: "mean" (the default): the best constant is added to every prediction; None:
            nothing is.
            `ridge`: $\lambda \ge 0$, in units of one sample of mean weight; 0 by default.

    Raises:
        ValueError: for arrays that do not fit each other, no sample, fewer samples than columns
            without a ridge, numbers that are NaN or infinite or not possible under the loss,
            targets that are all equal, and options out of their range.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Structure, Supervised, fit
        >>> from tnjax.features import Polynomial
        >>> rng = np.random.default_rng(0)
        >>> table = {"a": rng.uniform(-1, 1, 80), "b": rng.uniform(-1, 1, 80)}
        >>> maps = {"a": Polynomial(2), "b": Polynomial(2)}
        >>> problem = Supervised(table, table["a"] * table["b"], maps=maps)
        >>> result = fit(problem, Structure.tensor_train((3, 3), 2), key=jax.random.key(0))
        >>> result.error < 1e-2
        True
        >>> bool(abs(result.model.predict({"a": [0.5], "b": [0.4]})[0] - 0.2) < 0.01)
        True

    Reference:
        Stoudenmire, Schwab, NIPS 2016; Novikov, Trofimov, Oseledets, "Exponential machines" (2016).
    """

    training: FeatureSamples
    held_out: FeatureSamples | None
    penalty: Float[Array, ""]
    loss_function: Loss = eqx.field(static=True)
    blocks: Blocks = eqx.field(static=True)
    _shape: tuple[int, ...] = eqx.field(static=True)
    _aside: Aside = eqx.field(static=True)  # the maps
    _scale: Float[Array | np.ndarray, ""]
    _start_size: Float[Array | np.ndarray, ""]

    def __init__(
        self,
        features: Any,
        targets: Any,
        *,
        loss: str | Loss | Callable = "squared",
        weights: Any = None,
        validation: float | Sequence[int] | np.ndarray | None = None,
        key: PRNGKeyArray | None = None,
        **options: Unpack[SupervisedOptions],
    ):
        maps, offsets, ridge = _options(options)
        columns = None if maps is None else Columns.fit(features, maps)
        arrays = checked_features(features if columns is None else columns(features))
        count, dtype = len(arrays[0]), arrays[0].dtype
        values, self.loss_function = checked_targets(targets, loss, count, dtype)
        table = Table(arrays, values, checked_weights(weights, count, dtype))
        if len(arrays) > count and ridge == 0:
            raise ValueError(
                f"Supervised: {count} samples are fewer than the {len(arrays)} feature columns, "
                "which tells nothing apart without a ridge; pass ridge=1.0, leave columns out, or "
                "give more samples."
            )
        first = values.shape[1:]  # outputs are mode 0
        self._shape = (*first, *(n for part in arrays for n in part.shape[1:]))
        self.blocks, mode = (), len(first)
        for part in arrays:
            self.blocks += (tuple(range(mode, mode + part.ndim - 1)),)
            mode += part.ndim - 1
        self._aside = Aside(columns)
        rows = np.arange(count)
        unnamed = Entries(np.zeros((count, 0), np.int32), rows, table.weights)
        seen, held = split_held_out(unnamed, validation, key, "Supervised", "samples")
        training = table.take(seen.values)
        base = _offset(training, self.loss_function) if offsets else np.zeros(first)
        spread = root_mean_square(*_flat(training.values - base, training.weights))
        quadratic = self.loss_function.quadratic
        if quadratic and spread == 0:
            raise ValueError(
                "Supervised: the targets of training are all equal; there is nothing to learn."
            )
        link = self.loss_function.mean.__func__ is not Loss.mean
        start = SUPERVISED().link_start if link else spread
        self._scale = np.asarray(spread if quadratic else 1.0)
        self._start_size = np.asarray(1.0 if quadratic else start)
        self.training = self._samples(training, base)
        self.held_out = None if held is None else self._samples(table.take(held.values), base)
        self.penalty = jnp.asarray(ridge / len(training.values), dtype)

    def _samples(self, table: Table, base: np.ndarray) -> FeatureSamples:
        scale, dtype = self.scale, table.weights.dtype
        weights = table.weights / table.weights.sum(dtype=np.float64)
        unit = 1.0
        if self.loss_function.quadratic:
            norm = root_mean_square(*_flat(table.values - base, table.weights))
            if norm == 0:
                raise ValueError(
                    "Supervised: the held-out targets are all the same as the offset, so that a "
                    "relative error has no meaning; hold out more samples."
                )
            unit = scale / norm / math.sqrt(max(math.prod(table.values.shape[1:]), 1))
        base = base[None] if base.ndim else base
        return FeatureSamples(
            tuple(map(jnp.asarray, table.features)),
            jnp.asarray(table.values / scale, dtype),
            jnp.asarray(weights, dtype),
            jnp.asarray(base / scale, dtype),
            jnp.asarray(unit, dtype),
        )

    def stream(self, inputs: Any, values: Any) -> Any:
        if self.columns is None:
            found = list(inputs)
            lengths = {k: len(part) for k, part in enumerate(found)}
        else:
            found = {name: inputs[name] for name in self.columns.names}
            lengths = {name: len(column) for name, column in found.items()}
        count = len(values)
        wrong = {name: length for name, length in lengths.items() if length != count}
        if wrong or not count:
            name, length = next(iter(wrong.items()), (next(iter(lengths)), count))
            raise ValueError(
                f"Supervised: expected as many samples in the inputs as there are values, {count}, "
                f"and at least one; got {length} of {name!r}."
            )
        return found

    def chunk(self, inputs: Any, values: Any) -> tuple[tuple[Array, ...], Array]:
        columns, dtype = self.columns, np.dtype(self.dtype)
        arrays = checked_features(inputs if columns is None else columns(inputs))
        found = [part.shape[1:] for part in arrays]
        wanted = [tuple(self.shape[mode] for mode in block) for block in self.blocks]
        if found != wanted:
            raise ValueError(
                f"Supervised: expected features of sizes {wanted} in a chunk, got {found}."
            )
        outputs = self.training.values.shape[1:]
        checked = checked_values(values, self.loss_function, len(arrays[0]), dtype, outputs)
        features = tuple(jnp.asarray(part, dtype) for part in arrays)
        return features, jnp.asarray(checked / self.scale, dtype)

    def of_chunk(self, inputs: tuple[Array, ...], values: Array) -> "Supervised":
        samples = self.training
        weights = jnp.full(values.shape[:1], 1 / len(values), samples.weights.dtype)
        part = FeatureSamples(tuple(inputs), values, weights, samples.base, samples.unit)
        return eqx.tree_at(lambda problem: problem.training, self, part)

    def everything(self) -> "Supervised":
        """The same problem with nothing held out: for a last fit of a network whose structure the
        held-out samples have chosen.

        Example:
            >>> import jax, numpy as np
            >>> from tnjax import Supervised
            >>> x = np.linspace(0, 1, 20)[:, None]
            >>> problem = Supervised([x, x**2], x[:, 0], validation=0.2, key=jax.random.key(0))
            >>> problem.training.count, problem.everything().training.count
            (16, 20)
        """
        if self.held_out is None:
            return self
        parts = (self.training, self.held_out)
        counts = np.asarray([part.count for part in parts])
        shares = counts / counts.sum()
        join = lambda arrays: jnp.concatenate([jnp.asarray(x) for x in arrays])
        weights = [p.weights * np.asarray(s, p.weights.dtype) for p, s in zip(parts, shares)]
        features = tuple(map(join, zip(*(part.features for part in parts), strict=True)))
        unit = sum(s / float(p.unit) ** 2 for p, s in zip(parts, shares)) ** -0.5
        dtype = self.training.weights.dtype
        joined = FeatureSamples(
            features,
            join([part.values for part in parts]),
            join(weights),
            self.training.base,
            jnp.asarray(unit, dtype),
        )
        penalty = self.penalty * np.asarray(shares[0], dtype)
        return self._with(training=joined, held_out=None, penalty=penalty)

    @property
    def columns(self) -> Columns | None:
        """The fitted maps of the columns, where there are any."""
        return self._aside.value

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes of the tensor: of the outputs, if there are several, then of the
        features."""
        return self._shape

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of cores that fit the problem."""
        return self.training.weights.dtype

    @property
    def scale(self) -> Any:
        """Weighted root mean square of what the network has to explain (1 unless squared)."""
        return float(self._scale)

    @property
    def work(self) -> int:
        return self.training.count * sum(self.shape)

    def flops(self, structure: Structure) -> int:
        return self.training.count * featured.sample_flops(structure, self.blocks)

    def loop_entries(self, structure: Structure) -> int:
        count = self.training.count
        return max(self.work, featured.loop_entries(structure, self.blocks, count))

    def sweep_flops(self, structure: Structure) -> int:
        return featured.sweep_flops(structure, self.blocks, self.training.count)

    def fit_peak_bytes(self, structure: Structure) -> int:
        """Bytes that a sweep has alive at its worst moment, the data included."""
        count = self.training.count
        return featured.peak_bytes(structure, self.blocks, np.dtype(self.dtype), count)

    def prepared(self, network: TensorNetwork) -> TensorNetwork:
        """A random start of the data's size around the constant function."""
        vectors = constant_vectors(self)
        share = float(self._start_size) ** (1 / len(network.cores))
        cores = []
        for node, core in enumerate(map(np.array, network.cores)):
            legs = network.structure.legs[node]
            shape = [network.dims[mode] for mode in legs]
            core = core * share * math.sqrt(math.prod(shape))
            own = [vectors[mode] for mode in legs]
            if not any(vector is None for vector in own):
                known: Any = functools.reduce(np.multiply.outer, own, np.asarray(share))  # type: ignore[arg-type]
                first = (..., *(0,) * (core.ndim - len(legs)))
                core = core * SUPERVISED().noise
                core[first] = core[first] + known
            cores.append(jnp.asarray(core, self.dtype))
        return TensorNetwork(network.structure, cores)

    def named_start(self, name: str | None) -> TensorNetwork | None:
        """The best sum of functions of one column each, as a network, for None or "additive": what
        a search begins with."""
        found = additive_network(self) if name in (None, "additive") else None
        return None if found is None else scaled(found, self.scale)

    @property
    def restarts(self) -> bool:
        return any(len(block) > 1 for block in self.blocks)

    @property
    def cites(self) -> tuple[str, ...]:
        return ("stoudenmire2016",)

    def model(self, network: TensorNetwork) -> SupervisedModel:
        """A network, in the units of the data, as a function of features."""
        base = np.asarray(np.asarray(self.training.base) * self.scale)
        base = base[0] if base.ndim else base
        return SupervisedModel(network, base, self.loss_function, self.blocks, self.columns)

    def residual(self, network: TensorNetwork) -> Array:
        samples = self.training
        return self._with_cores(samples.values - self._at(network, samples), network)

    def tangent(self, network: TensorNetwork, at: TensorNetwork) -> Array:
        samples, loss = self.training, self.loss_function
        moved, before = self._at(network, samples), self._at(at, samples)
        if isinstance(loss, Softmax):
            data = loss.root(before, moved) / math.sqrt(2)
        else:
            data = jnp.sqrt(loss.weight(before, samples.values) / 2) * moved
        return self._with_cores(data, network)

    def _with_cores(self, data: Array, network: TensorNetwork) -> Array:
        """One vector of what belongs to the samples and what the ridge adds."""
        root = jnp.sqrt(self.training.weights).reshape(-1, *(1,) * (data.ndim - 1))
        cores = [jnp.sqrt(self.penalty) * core.ravel() for core in network.cores]
        return jnp.concatenate([(root * data).ravel(), *cores])

    def sketch(self, num_params: int) -> "Supervised":
        """The problem of some of the samples, where there are many more than a screen needs."""
        wanted = SUPERVISED().screened
        while wanted < SUPERVISED().screened_per_param * num_params:
            wanted *= 2
        if 2 * wanted > self.training.count:
            return self
        held = self.held_out
        if held is not None:
            share = wanted / self.training.count
            held = _thinned(held, max(1, int(share * held.count)))
        return self._with(training=_thinned(self.training, wanted), held_out=held)

    def partial(
        self,
        network: TensorNetwork,
        nodes: tuple[int, ...],
        layers: Sequence[Array] | None = None,
        partial: Any = None,
    ) -> Any:
        structure, blocks, samples = network.structure, self.blocks, self.training
        if partial is None and not featured.shares(
            structure, blocks, nodes, samples.count, self.dtype
        ):
            return None
        given, around = (None, None) if partial is None else partial
        found = featured.designs.environment(
            structure, blocks, network.cores, nodes, samples.features, given=given, around=around
        )
        return nodes, found

    def normal_equations(
        self,
        network: TensorNetwork,
        node: int,
        point: Predictions | None = None,
        layers: Sequence[Array] | None = None,
        partial: Any = None,
    ) -> tuple[Array, Array]:
        """Of the parabola that stands for the loss at the network (and is the squared loss)."""
        samples, loss = self.training, self.loss_function
        base = samples.base if point is None else point.training

        def parabola(base: Array, own: Array, values: Array) -> tuple[Array, Array]:
            prediction = base + own
            curvature = loss.weight(prediction, values) / 2
            return curvature, curvature * own - loss.gradient(prediction, values) / 2

        gram, rhs = featured.equations(
            network,
            self.blocks,
            node,
            samples,
            base,
            parabola,
            known=partial,
            equal=loss.quadratic or isinstance(loss, Softmax),
        )
        eye = np.eye(gram.shape[-1], dtype=gram.dtype)[None]
        diagonal = jnp.sum(gram * eye, -1)  # a gather would have to be compiled
        diagonal = self.penalty + (diagonal + self.penalty == 0).astype(gram.dtype)
        return gram + diagonal[..., None] * eye, rhs

    def _predicted(self, network: TensorNetwork, samples: FeatureSamples) -> Array:
        return featured.predict(network.structure, self.blocks, network.cores, samples.features)

    def _mean_loss(self, samples: FeatureSamples, prediction: Array) -> Array:
        loss = self.loss_function.value(prediction, samples.values)
        return jnp.sum(samples.weights * (loss if loss.ndim == 1 else loss.sum(1)))


def _options(options: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, bool, float]:
    """Maps, whether there are offsets, and the ridge."""
    for name in options:
        if name not in SupervisedOptions.__annotations__:
            raise TypeError(f"Supervised() got an unexpected keyword argument {name!r}")
    offsets, ridge = options.get("offsets", "mean"), options.get("ridge", 0.0)
    if offsets not in ("mean", None):
        raise ValueError(f'Supervised: offsets={offsets!r}; expected "mean" or None.')
    check_ridge(ridge, "Supervised")
    return options.get("maps"), offsets is not None, float(ridge)


def _flat(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All outputs, each with the weight of its sample."""
    return values.ravel(), np.repeat(weights, values[0].size)


def _offset(table: Table, loss: Loss) -> np.ndarray:
    """The best constant prediction, [] or [outputs]."""
    values, weights = table.values, table.weights
    if isinstance(loss, Softmax):
        share = weights @ values + SUPERVISED().classes * weights.mean()
        return np.log(share / share.sum())
    indices = np.zeros((len(values), 0), np.int32)
    columns = values.T if values.ndim == 2 else values[None]
    found = [fit_offsets(Entries(indices, c, weights), (), loss, "mean").mean for c in columns]
    return np.asarray(found if values.ndim == 2 else found[0])


def _thinned(samples: FeatureSamples, count: int) -> FeatureSamples:
    """Some of the samples, the same ones every time."""
    rng = np.random.default_rng([samples.count, count])
    part = samples.take(np.sort(rng.choice(samples.count, count, replace=False)))
    total = part.weights.sum()
    weights = jnp.where(total > 0, part.weights / total, 1 / count)
    return eqx.tree_at(lambda part: part.weights, part, weights)
