"""Completion of a tensor from some of its entries."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, PRNGKeyArray

from .. import _mesh
from .._network import TensorNetwork, balance, safe_norm
from .._structure import Structure
from .._tracing import traced
from .._tuned import tuned
from ..features import FeatureMap, Fitted
from ._base import check_mesh
from ._dtypes import check_range
from ._losses import Loss, loss_for
from ._of_samples import OfSamples
from ._prior import Prior, PriorOptions
from ._sketch import is_none, sketched
from ._smoothness import Smoothness
from ._sobolev import SmoothCores
from ._supervised import Supervised
from .coordinates import (
    Entries,
    Offsets,
    checked_entries,
    checked_mask,
    fit_offsets,
    root_mean_square,
    split_folds,
    split_held_out,
    traced_root_mean_square,
    warn_unseen,
)
from .held_out import HeldOut, held_out_like
from .leading import informed_start, sized_start
from .samples import (
    Blocks,
    HostSamples,
    Predictions,
    Sampled,
    Samples,
    fit_bytes,
    predicted,
    ridged,
    row_equations,
    sample_flops,
    sample_loop_entries,
    sample_sweep_flops,
)


@dataclasses.dataclass(frozen=True)
class CompletionStart:
    """Completions.

    Attributes:
        link_start: root mean square of a random start's entries in the units of a link function
            (log rate, log odds), where 1 would be a lot.
    """

    link_start: float = 0.1


COMPLETION = tuned("completion", CompletionStart(), traced=True)


class Completion(OfSamples):
    r"""Learn a tensor from some of its entries, which are all that is ever looked at.

    With weights w that sum to 1 over the training entries, a network T is fitted by

    $$L(T) = \sum_s w_s\, \ell(b_s + T_s, x_s) + \frac{\lambda}{M} \sum_k \|G_k\|_F^2 + S(T)$$

    for M entries, offsets b, the cores $G_k$ and the smoothness S. For the squared loss,
    `error` is the unsquared relative Frobenius error $\|x - b - T\| / \|x\|$ over the entries,
    for other losses the weighted mean of the loss, in both cases over the held-out entries where
    there are any, else over those of training, and always without the penalties: it decides
    which network a fit keeps, what a candidate of a search is worth, and when to stop.

    Nothing of the size of the tensor is made: the cost of a sweep is linear in the entries.
    A slice without any observed entry is warned about; it has nothing to be learned from, and
    zero (plus the offsets) is predicted there, or its neighbors' continuation with `smooth`.

    Args:
        indices: integers [entries, modes], counted from 0.
        values: numbers [entries]; the cores have their dtype, as JAX holds it. Indices,
            values and weights may be traced, which is for `tnjax.solve.run`: what needs the traced
            ones is not checked then.
        shape: of the tensor.
        weights: one for each entry, 0 or more; only their ratios matter.
        loss: "squared", "huber" (relative to the spread of the values), "poisson", "bernoulli",
            one of the losses `Huber(delta)`, `Poisson()` (the network is the log of the rate),
            `Bernoulli()` (the log odds), or a differentiable function of (prediction, value) for
            single entries.
        validation: what is held out: "auto": a tenth of the entries, single ones, fibers or blocks
            as the missing ones are (what `held_out_like` chooses, which may be given as well); or a
            share of the entries, single ones drawn by `key` so that each slice keeps one for
            training; or the numbers of the entries. `everything` learns from them as well, once the
            structure is found.
        key: `jax.random.key(seed)` for the split.
        mesh: from `tnjax.make_mesh`: its `data` axis shares out the entries, its `candidates` axis
            the networks of a search that are looked at together.
        options: what is assumed, as further keywords:
            `duplicates`: an entry that is given more than once is refused ("refuse", the default),
            or its values are added up ("sum") or averaged by their weights ("mean"), or it counts
            as often as it is given ("keep").
            `offsets`: None, "mean" (one number) or "modes" (a mean and a bias for each index of
            each mode), estimated from the training entries and added to the network's prediction.
            `ridge`: $\lambda \ge 0$, in units of one entry of mean weight; 0 by default; "auto" for
            what held-out entries choose.
            `nonnegative`: whether no core may have a negative entry.
            `smooth`: strength $\mu_m \ge 0$ for each mode m (or `tnjax.problems.Axis`, whose digits
            lie in several modes) along which the tensor should be smooth, see `Smoothness`; 1
            weighs a mean squared difference as much as a mean squared residual. "auto" for a mode,
            or a `tnjax.problems.SmoothMode`, makes its core smooth instead; with "auto" in the
            place of all modes, every mode of at least four indices. What is "auto" is zero until
            `search` or `choose_prior` lets held-out entries choose it.
            `graphs`: for modes in `smooth` whose indices are not a line: pairs of neighbors
            [pairs, 2].

    Raises:
        ValueError: for indices out of range, shapes that do not fit, no observed entry, values
            that are NaN, infinite or not possible under the loss, duplicates that are refused,
            and options out of their range; for offsets, duplicates to be merged or a mesh where
            something is traced.
        TypeError: for an unknown option.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Completion, Structure, TensorNetwork, fit
        >>> train = Structure.tensor_train((6, 6, 6), 2)
        >>> truth = TensorNetwork.random(train, key=jax.random.key(1))
        >>> indices = np.argwhere(np.random.default_rng(0).random((6, 6, 6)) < 0.7)
        >>> problem = Completion(indices, truth.entries(indices), (6, 6, 6))
        >>> result = fit(problem, train, key=jax.random.key(0), max_steps=100)
        >>> result.error < 1e-2
        True

    Reference:
        Grasedyck, Kluge, Kraemer, "Variants of Alternating Least Squares Tensor Completion in the
        Tensor Train Format", SIAM J. Sci. Comput. 37 (2015).
    """

    training: Samples
    held_out: Samples | None
    blocks: tuple[Blocks, ...]
    penalty: Float[Array, ""]
    smoothness: Smoothness | None
    smooth_cores: SmoothCores | None
    offsets: Offsets | None
    loss_function: Loss = eqx.field(static=True)
    _nonnegative: bool = eqx.field(static=True)
    _choose_ridge: bool = eqx.field(static=True)
    _shape: tuple[int, ...] = eqx.field(static=True)
    _scale: Float[Array | np.ndarray, ""]
    _start_size: Float[Array | np.ndarray, ""]

    def __init__(
        self,
        indices: Any,
        values: Any,
        shape: Sequence[int],
        *,
        weights: Any = None,
        loss: str | Loss | Callable = "squared",
        validation: str | float | Sequence[int] | np.ndarray | HeldOut | None = None,
        key: PRNGKeyArray | None = None,
        mesh: Mesh | None = None,
        **options: Unpack[PriorOptions],
    ):
        prior = Prior.of(options)
        entries = checked_entries(indices, values, shape, weights, prior.duplicates)
        prior.check(entries)
        if mesh is not None and traced(entries):
            raise ValueError(
                "Completion: traced entries lie on no mesh; share work out around the trace."
            )
        self._shape = tuple(int(n) for n in shape)
        self.loss_function = loss_for(entries.values, loss, known=not traced(entries))
        if isinstance(validation, str):
            validation = self._like_missing(validation, entries, key, prior)
        if isinstance(validation, HeldOut):
            validation = validation.numbers
        training, held_out = split_held_out(entries, validation, key)
        if not traced(training.indices):
            warn_unseen(training.indices, self.shape, prior.unseen)
        dtype = jnp.asarray(entries.values[:1]).dtype
        self._measure(training, prior, dtype)
        mesh = None if mesh is None else check_mesh(mesh)
        seen = self._samples(training, dtype)
        self.training = Samples.of(seen, mesh)
        self.held_out = None
        if held_out is not None:
            self.held_out = Samples.of(self._samples(held_out, dtype), mesh)
        self.blocks = seen.blocks(self.shape, mesh)
        self.penalty = jnp.asarray(prior.first_ridge / len(training.values), jnp.finfo(dtype).dtype)
        smooth, graphs = prior.smooth_tensor(self.shape), prior.graphs or {}
        smooth = smooth if isinstance(smooth, dict) else {}
        some = smooth or graphs
        self.smoothness = Smoothness.of(smooth, graphs, self.shape, dtype) if some else None
        cores, count = prior.smooth_cores(self.shape), len(training.values)
        self.smooth_cores = None
        if cores:
            self.smooth_cores = SmoothCores.of(cores, self.shape, count, self.penalty.dtype)
        self._choose_ridge = prior.ridge == "auto"
        self._nonnegative = bool(prior.nonnegative)

    def _like_missing(
        self, validation: str, entries: Entries, key: PRNGKeyArray | None, prior: Prior
    ) -> HeldOut:
        """What "auto" holds out."""
        if validation != "auto" or key is None or traced(entries.indices, key):
            raise ValueError(
                f'Completion: validation={validation!r}; expected "auto" with '
                "`key=jax.random.key(seed)` (not in a trace), a share, or numbers of entries."
            )
        ordered = (*prior.smooth_cores(self.shape), *prior.smooth_tensor(self.shape))
        ordered = tuple(mode for mode in ordered if isinstance(mode, int))
        ordered = () if prior.smooth == "auto" else ordered  # which ones are is not known then
        found = held_out_like(entries.indices, self.shape, key=key, ordered=ordered)
        if found.warning() is not None:
            warnings.warn(f"Completion: {found.warning()}", stacklevel=4)
        return found

    def _measure(self, training: Entries, prior: Prior, dtype: jnp.dtype) -> None:
        """The offsets, and the size of what is left: the scale and the size of a start."""
        loss, known = self.loss_function, not traced(training)
        self.offsets, centered = None, training.values
        if prior.offsets is not None:
            self.offsets = fit_offsets(training, self.shape, loss, prior.offsets)
            centered = centered - self.offsets.at(training.indices)
        root_mean = root_mean_square if known else traced_root_mean_square
        size = root_mean(centered, training.weights)
        if known and loss.quadratic:
            if size == 0:
                raise ValueError(
                    "Completion: the observed values are all zero (after the offsets), so that "
                    "there is nothing left to learn."
                )
            check_range(float(size), dtype, "Completion")
        start = COMPLETION().link_start if loss.mean is not Loss.mean else size
        number = (np if known else jnp).asarray
        self._scale = number(size if loss.quadratic else 1.0)
        self._start_size = number(1.0 if loss.quadratic else start)

    def _samples(self, entries: Entries, dtype: jnp.dtype) -> HostSamples:
        scale, real = self.scale, jnp.finfo(dtype).dtype
        relative = self.loss_function.quadratic
        if traced(entries):
            norm = traced_root_mean_square(entries.values, entries.weights)
            return HostSamples(
                entries.indices,
                jnp.asarray(entries.values / scale, dtype),
                jnp.asarray(entries.weights / jnp.sum(entries.weights), real),
                jnp.zeros((), real),
                jnp.asarray(scale / norm if relative else 1.0, real),
            )
        base = np.zeros(())
        if self.offsets is not None:
            base = self.offsets.at(entries.indices) / scale
        norm = root_mean_square(entries.values, entries.weights)
        if relative and norm == 0:
            raise ValueError(
                "Completion: the values are all zero, so that a relative error has no meaning."
            )
        weights = entries.weights / entries.weights.sum(dtype=np.float64)
        return HostSamples(
            entries.indices,
            np.asarray(entries.values / scale, dtype),
            np.asarray(weights, real),
            np.asarray(base, real),
            np.asarray(scale / norm if relative else 1.0, real),
        )

    @classmethod
    def from_mask(cls, tensor: Any, mask: Any = None, **options: Any) -> "Completion":
        """From a dense tensor whose entries count where `mask` is true.

        Args:
            tensor: may hold NaN where the mask is false; an array of NumPy, JAX or xarray. Masked
                entries of a `numpy.ma` array do not count, whatever `mask` says.
            mask: booleans of the same shape; by default all that is not NaN. Where the mask is
                traced, all entries are kept, those outside of it with weight zero: the cost counts
                all of them.
            options: as of `Completion`; `weights` may have the shape of the tensor.

        Raises:
            ValueError: if the mask has another shape or is not boolean, or nothing is observed.

        Example:
            >>> import numpy as np
            >>> from tnjax import Completion
            >>> tensor = np.arange(6.0).reshape(2, 3)
            >>> tensor[0, 1] = np.nan
            >>> Completion.from_mask(tensor).training.count
            5
        """
        tensor, mask = checked_mask(tensor, mask)
        weights = options.get("weights")
        if traced(mask):
            return cls._weighed(tensor, mask, weights, options)
        if weights is not None and np.shape(weights) == tensor.shape:
            options["weights"] = (weights if traced(weights) else np.asarray(weights))[mask]
        where = np.argwhere(mask)
        return cls(where, tensor[tuple(where.T)], tensor.shape, **options)

    @classmethod
    def _weighed(cls, tensor: Any, mask: Array, weights: Any, options: dict) -> "Completion":
        """All entries of a tensor, of weight zero where the mask is false."""
        if options.get("validation") is not None:
            raise ValueError(
                "Completion: a traced mask does not tell which entries there are to hold out; take "
                "those out of the mask."
            )
        if weights is None:
            weights = np.ones(tensor.shape)
        elif np.shape(weights) != tensor.shape:
            raise ValueError(
                f"Completion: with a traced mask, expected weights of the tensor's shape "
                f"{tensor.shape}, got {np.shape(weights)}."
            )
        options["weights"] = jnp.where(mask, weights, 0).ravel()
        where = np.argwhere(np.ones(tensor.shape, bool))
        values = jnp.where(mask, tensor, 0).ravel()
        found = cls(where, values, tensor.shape, **options)
        share = jnp.mean(mask).astype(found.penalty.dtype)
        return eqx.tree_at(lambda problem: problem.penalty, found, found.penalty / share)

    @classmethod
    def on_axes(
        cls,
        coordinates: Any,
        values: Any,
        axes: Mapping[str, FeatureMap | Fitted],
        *,
        ridge: float = 1e-3,
        **options: Any,
    ) -> Supervised:
        """From values at coordinates on axes that are more than indices: a tensor whose modes are
        functions of them, defined between the coordinates too.

        It is a `Supervised` whose features are functions of one coordinate each: the modes of the
        network are their numbers, and `result.model.predict(coordinates)` gives values anywhere.
        With `Categorical()` on all axes it is the completion itself.

        Args:
            coordinates: by the name of the axis, arrays [entries] of numbers, or of words for a
                `Categorical()` axis; a data frame will do.
            values: numbers [entries].
            axes: for each axis a map, such as `Fourier(16)`, `Spline(8)` or `Categorical()`.
            ridge: as of `Completion`; above 0, so that functions of one coordinate stay smooth
                where nothing was observed.
            options: as of `Supervised`.

        Raises:
            ValueError: as of `Supervised`.

        Example:
            >>> import jax, numpy as np
            >>> from tnjax import Completion, Structure, fit
            >>> from tnjax.features import Categorical, Spline
            >>> time = np.repeat(np.linspace(0, 1, 12), 2)
            >>> station = np.tile(["north", "south"], 12)
            >>> values = np.where(station == "north", 1.0, 2.0) * np.sin(3 * time)
            >>> axes = {"time": Spline(6), "station": Categorical()}
            >>> problem = Completion.on_axes({"time": time, "station": station}, values, axes)
            >>> structure = Structure.tensor_train(problem.shape, 2)
            >>> model = fit(problem, structure, key=jax.random.key(0)).model
            >>> found = model.predict({"time": [0.5], "station": ["south"]})[0]
            >>> bool(abs(found - 2 * np.sin(1.5)) < 0.02)
            True
        """
        return Supervised(coordinates, values, maps=axes, ridge=ridge, **options)

    @classmethod
    def folds(
        cls,
        indices: Any,
        values: Any,
        shape: Sequence[int],
        *,
        count: int,
        key: PRNGKeyArray,
        **options: Any,
    ) -> "list[Completion]":
        """One problem for each of `count` folds of equal size, that fold held out (and those few
        entries that the division leaves over in none).

        Args:
            options: as of `Completion`.

        Raises:
            ValueError: if there are fewer than two folds or fewer entries than folds.
        """
        parts = split_folds(len(np.asarray(values)), count, key)
        return [cls(indices, values, shape, validation=part, **options) for part in parts]

    def on_host(self) -> "Completion":
        if self.mesh is None:
            return super().on_host()
        held_out = None if self.held_out is None else self.held_out.on_host()
        blocks = self.training.gathered().blocks(self.shape, None)
        problem = self._with(training=self.training.on_host(), held_out=held_out, blocks=blocks)
        return jax.tree.map(_mesh.on_host, problem)

    def placed(self, mesh: Mesh | None) -> "Completion":
        if mesh == self.mesh:
            return self
        mesh = None if mesh is None else check_mesh(mesh)
        known, held = self.training.gathered(), self.held_out
        return self._with(
            training=Samples.of(known, mesh),
            held_out=None if held is None else Samples.of(held.gathered(), mesh),
            blocks=known.blocks(self.shape, mesh),
        )

    def everything(self) -> "Completion":
        """The same problem with nothing held out: for a last fit of a network whose structure the
        held-out entries have chosen.

        Example:
            >>> import jax, numpy as np
            >>> from tnjax import Completion
            >>> tensor = np.arange(1.0, 21).reshape(4, 5)
            >>> problem = Completion.from_mask(tensor, validation=0.1, key=jax.random.key(0))
            >>> problem.training.count, problem.everything().training.count
            (18, 20)
        """
        if self.held_out is None:
            return self
        parts = self.training.gathered(), self.held_out.gathered()
        counts = np.asarray([len(part.values) for part in parts])
        shares = counts / counts.sum()
        full = lambda part: np.broadcast_to(part.base, part.values.shape)
        joined = HostSamples(
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.values for part in parts]),
            # Those of each part sum to one.
            np.concatenate([part.weights * share for part, share in zip(parts, shares)]).astype(
                parts[0].weights.dtype
            ),
            np.concatenate([full(part) for part in parts]) if parts[0].base.ndim else parts[0].base,
            # Mean squares in the units of the solvers are those of the parts, weighed.
            np.asarray(
                sum(s / float(part.unit) ** 2 for s, part in zip(shares, parts)) ** -0.5,
                parts[0].unit.dtype,
            ),
        )
        return self._with(
            training=Samples.of(joined, self.mesh),
            held_out=None,
            blocks=joined.blocks(self.shape, self.mesh),
            penalty=self.penalty * (counts[0] / counts.sum()).astype(self.penalty.dtype),
        )._cores_weighed(counts[0] / counts.sum())

    def _cores_weighed(self, factor: float) -> "Completion":
        """With the smoothness of the cores times a factor."""
        if self.smooth_cores is None:
            return self
        strengths = self.smooth_cores.strengths
        where = lambda problem: problem.smooth_cores.strengths
        return eqx.tree_at(where, self, strengths * np.asarray(factor, strengths.dtype))

    @property
    def undecided(self) -> tuple[str, ...]:
        """What the held-out entries are to choose (see `tnjax.choose_prior`): "ridge", "cores" and
        "tensor" with the number of a strength, such as "cores 0"; zero until then."""
        names = ["ridge"] if self._choose_ridge else []
        if self.smooth_cores is not None:
            names += [f"cores {n}" for n in self.smooth_cores.undecided]
        if self.smoothness is not None:
            names += [f"tensor {n}" for n in self.smoothness.undecided]
        return tuple(names)

    def with_prior(self, strengths: Mapping[str, float]) -> "Completion":
        """The same problem with some strengths of `undecided` (and the same programs).

        Args:
            strengths: by name; the ridge and those of cores in units of one entry.
        """
        problem, count = self, self.training.count
        for name, value in strengths.items():
            kind, _, number = name.partition(" ")
            if kind == "ridge":
                problem = problem.with_ridge(value)
                continue
            place = "smooth_cores" if kind == "cores" else "smoothness"
            where = lambda p, place=place: getattr(p, place).strengths
            unit = count if kind == "cores" else 1
            found = jnp.asarray(where(problem)).at[int(number)].set(value / unit)
            problem = eqx.tree_at(where, problem, found)
        return problem

    def without_held_out(self) -> "Completion":
        """The same training entries, and no others."""
        return self._with(held_out=None)

    @property
    def mesh(self) -> Mesh | None:
        return self.training.mesh

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes of the tensor."""
        return self._shape

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of cores that fit the problem."""
        return self.training.values.dtype

    @property
    def scale(self) -> Any:
        """Weighted root mean square of what the network has to explain (1 unless squared)."""
        return self._scale if traced(self._scale) else float(self._scale)

    @property
    def nonnegative(self) -> bool:
        return self._nonnegative

    @property
    def quadratic(self) -> bool:
        return self.loss_function.quadratic and self.smoothness is None

    @property
    def exact_rows(self) -> bool:
        return self.loss_function.quadratic

    @property
    def sampled(self) -> Sampled | None:
        return Sampled(self.training, self.held_out) if self.quadratic else None

    @property
    def work(self) -> int:
        return self.training.count * len(self.shape)

    def flops(self, structure: Structure) -> int:
        return self.training.count * sample_flops(structure)

    def loop_entries(self, structure: Structure) -> int:
        return max(self.work, sample_loop_entries(structure, self.training.count))

    def sweep_flops(self, structure: Structure) -> int:
        return sample_sweep_flops(structure, self.training.count)

    def fit_peak_bytes(self, structure: Structure) -> int:
        """Bytes on one device, for its part of the entries."""
        count = -(-self.training.count // _mesh.size(self.mesh, _mesh.DATA))
        return fit_bytes(structure, np.dtype(self.dtype), count)

    def prepared(self, network: TensorNetwork) -> TensorNetwork:
        """A random start, of the data's size, its first term from pairs of entries or the mean (in
        a trace, all of it random)."""
        if traced(self, network):
            return sized_start(
                network,
                self.training.indices,
                self.training.weights,
                size=self._start_size,
                nonnegative=self.nonnegative,
            )
        samples, loss = self.training.gathered(), self.loss_function
        centered = samples.values - samples.base if loss.quadratic else None
        return informed_start(
            network,
            samples.indices,
            centered,
            samples.weights,
            size=float(self._start_size),
            nonnegative=self.nonnegative,
        )

    def residual(self, network: TensorNetwork) -> Array:
        samples = self.training
        root = jnp.sqrt(samples.weights).astype(network.dtype)
        data = root * (samples.values - self._at(network, samples))
        return self._with_cores(data, network)

    def _with_cores(self, data: Array, network: TensorNetwork) -> Array:
        """One vector of what belongs to the entries and what the ridge adds, in equal parts."""
        root = jnp.sqrt(self.penalty).astype(network.dtype)
        parts = [root * core.ravel() for core in network.cores]
        if self.smooth_cores is not None:
            parts += self.smooth_cores.residuals(network)
        cores = jnp.concatenate(parts)
        if self.mesh is None:
            return jnp.concatenate([data, cores])
        parts = _mesh.size(self.mesh, _mesh.DATA)
        size = -(-cores.size // parts)
        cores = jnp.pad(cores, (0, parts * size - cores.size))

        def both(data, cores, start):
            return jnp.concatenate([data, lax.dynamic_slice_in_dim(cores, start[0], size)])

        starts, split = size * jnp.arange(parts), P(_mesh.DATA)
        args, layout = (data, cores, starts), (split, P(), split)
        return _mesh.over_data(both, self.mesh, args, layout, split)

    def stream(self, inputs: Any, values: Any) -> Any:
        self._check_sizes(inputs, values)
        if self.offsets is not None:
            raise ValueError(
                "Completion: offsets are not for streamed entries; subtract them before."
            )
        return inputs

    def chunk(self, inputs: Any, values: Any) -> tuple[Array, Array]:
        self._check_sizes(inputs, values)
        index, value = np.asarray(inputs), np.asarray(values)
        if index.dtype.kind not in "iu" or (index < 0).any() or (index >= self.shape).any():
            raise ValueError(
                f"Completion: an index is not an integer in range of the shape {self.shape}."
            )
        if not np.isfinite(value).all():
            raise ValueError("Completion: a value is NaN or infinite.")
        index = jax.device_put(np.asarray(index, np.int32))
        return index, jnp.asarray(value / self.scale, self.dtype)

    def _check_sizes(self, inputs: Any, values: Any) -> None:
        count, modes = len(values), len(self.shape)
        if np.shape(inputs) != (count, modes) or np.ndim(values) != 1 or not count:
            raise ValueError(
                f"Completion: expected indices [entries, {modes}] and values [entries], got "
                f"{np.shape(inputs)} and {np.shape(values)}."
            )

    def of_chunk(self, inputs: Array, values: Array) -> "Completion":
        real = self.training.weights.dtype
        weights = jnp.full(values.shape, 1 / len(values), real)
        samples = Samples(inputs, values, weights, jnp.zeros((), real), self.training.unit)
        return eqx.tree_at(lambda problem: problem.training, self, samples)

    def tangent(self, network: TensorNetwork, at: TensorNetwork) -> Array:
        samples = self.training
        curvature = self.loss_function.weight(self._at(at, samples), samples.values) / 2
        root = jnp.sqrt(samples.weights * curvature).astype(network.dtype)
        data = root * self._at(network, samples)
        return self._with_cores(data, network)

    def functional_gradient(self, network: TensorNetwork) -> Array:
        """dL/dT without the penalties, a dense tensor (for small shapes): zero where unobserved."""
        samples = self.training
        slope = self.loss_function.gradient(self._at(network, samples), samples.values)
        where = tuple(samples.indices[:, mode] for mode in range(len(self.shape)))
        weights = samples.weights.astype(slope.dtype)
        return jnp.zeros(self.shape, self.dtype).at[where].add(weights * slope)

    def sketch(self, num_params: int) -> "Completion":
        """The problem of some of the entries, where there are many more than a screen needs."""
        found = sketched(self.training, self.held_out, self.shape, num_params)
        parts = lambda problem: (problem.training, problem.held_out, problem.blocks)
        return eqx.tree_at(parts, self, found, is_leaf=is_none) if found else self

    def normal_equations(
        self,
        network: TensorNetwork,
        node: int,
        point: Predictions | None = None,
        layers: Sequence[Array] | None = None,
        partial: Any = None,
    ) -> tuple[Array, Array]:
        """Of the parabola that stands for the loss at the network (and is the squared loss)."""
        gram, rhs = self._equations(network, node, point, coupled=False)
        return ridged(jnp, gram, self.penalty), rhs

    def _equations(
        self, network: TensorNetwork, node: int, point: Predictions | None, *, coupled: bool
    ) -> tuple[Array, Array]:
        """The same without the ridge, `coupled` without the smoothness."""
        samples, loss = self.training, self.loss_function
        structure = network.structure
        base = (samples.base if point is None else point.training).astype(network.dtype)

        def equations(cores, indices, values, weights, base, blocks):
            def parabola(ids: Array, own: Array) -> tuple[Array, Array]:
                pick = lambda x: x if x.ndim == 0 else x.at[ids].get(mode="promise_in_bounds")
                value, weight = pick(values), pick(weights)
                prediction = pick(base) + own
                curvature = loss.weight(prediction, value) / 2
                slope = loss.gradient(prediction, value) / 2
                wide = lambda x: x.astype(own.dtype)
                return weight * curvature, wide(weight) * (wide(curvature) * own - slope)

            return row_equations(structure, cores, node, indices, blocks, parabola, self.mesh)

        split = P(_mesh.DATA)
        gram, rhs = _mesh.over_data(
            equations,
            self.mesh,
            (network.cores, samples.indices, samples.values, samples.weights, base, self.blocks),
            (P(), split, split, split, split if base.ndim else P(), split),
            None,
        )
        if self.smoothness is not None and point is None and not coupled:
            more_gram, more_rhs = self.smoothness.normal_equations(network, node)
            gram, rhs = gram + more_gram, rhs + more_rhs
        if self.smooth_cores is not None and point is None and not coupled:
            more_gram, more_rhs = self.smooth_cores.normal_equations(network, node)
            gram, rhs = gram + more_gram, rhs + more_rhs
        return gram, rhs

    def coupled_equations(
        self,
        network: TensorNetwork,
        node: int,
        layers: Sequence[Array] | None = None,
        partial: Any = None,
    ) -> tuple[Array, Array, Callable[[Array], Array] | None]:
        smooth = [s for s in (self.smoothness, self.smooth_cores) if s is not None]
        if not smooth or self.nonnegative:
            gram, rhs = self.normal_equations(network, node, layers=layers, partial=partial)
            return gram, rhs, None
        gram, rhs = self._equations(network, node, None, coupled=True)
        found = [each.coupled_equations(network, node) for each in smooth]
        gram = gram + sum(each.gram for each in found)
        ties = [each.tied for each in found if each.tied is not None]
        tied: Any = (lambda x: sum(tie(x) for tie in ties)) if ties else None
        return ridged(jnp, jnp.asarray(gram), self.penalty), rhs, tied

    def predict(self, network: TensorNetwork, indices: Any) -> Array:
        """Expected values at some entries, in the units of the data: offsets and link included.

        Args:
            network: as `fit` and `search` return it.
            indices: integers [entries, modes].

        Raises:
            ValueError: as of `TensorNetwork.entries`.
        """
        link = network.entries(indices)
        if self.offsets is not None:
            link = link + jnp.asarray(self.offsets.at(np.asarray(indices)), link.dtype)
        return self.loss_function.mean(link)

    def _predicted(self, network: TensorNetwork, samples: Samples) -> Array:
        return predicted(network, samples)

    def balanced(self, network: TensorNetwork) -> TensorNetwork:
        if self.smooth_cores is None:
            return super().balanced(network)
        # A core's penalty is a square of its scale: their sum is least where all are equal.
        sizes = []
        for core, smooth in zip(network.cores, self.smooth_cores.by_node(network), strict=True):
            ridge = jnp.sqrt(self.penalty) * safe_norm(core)
            sizes.append(jnp.hypot(ridge, safe_norm(smooth)))
        return TensorNetwork(network.structure, balance(network.cores, sizes))

    def penalties(self, network: TensorNetwork) -> Array:
        total = super().penalties(network)
        for smooth in (self.smoothness, self.smooth_cores):
            total = total if smooth is None else total + smooth.penalty(network)
        return total
