"""Compression by spectra: all layers approximated at once, ranks shared out by what they buy."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from .._tuned import tuned
from ._allocate import Blocks, Family, LowRank, allocate, root_pair
from ._layers import FORWARD
from ._layout import Layout
from ._linear import Forward
from ._project import rebuild
from ._tap import Moments
from .model import Slot


@dataclasses.dataclass(frozen=True)
class Spared:
    """Small layers that are left dense.

    Attributes:
        share: of the budget, that they may take at the most.
    """

    share: float = 0.33


SPARED = tuned("layer_spared", Spared())

Allocation = Literal["auto", "error", "relative", "output", "uniform"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spectra:
    """Compression at once: all weights are approximated, ranks shared out by their spectra.

    Args:
        family: of the layouts, `LowRank()` by default, or `Blocks(...)`.
        allocation: what ranks are shared out by, as in `approximate`.
        ridge: how far the calibration is trusted, as in `approximate`.
        spare: the smallest layers, which together hold at most this part of the weights, are left
            dense: a head of ten classes saves nothing and loses much. 0 for none.
        forward: how the new layers compute.

    Raises:
        ValueError: if the allocation is unknown or the ridge is negative.

    Example:
        >>> import equinox as eqx, jax, tnjax
        >>> from tnjax.nn import Blocks, Spectra
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> blocks = Spectra(family=Blocks(4, 4))
        >>> tnjax.compress(model, layers="layers.0", budget=0.5, method=blocks).num_params
        192
    """

    family: LowRank | Blocks | None = None
    allocation: Allocation = "auto"
    ridge: float = 0.01
    spare: float = 0.05
    forward: Forward = FORWARD

    def __post_init__(self) -> None:
        _check_allocation(self.allocation)
        if not self.ridge >= 0:
            raise ValueError(f"Spectra: ridge={self.ridge!r}; expected 0 or more.")
        if not 0 <= self.spare < 1:
            raise ValueError(f"Spectra: spare={self.spare!r}; expected a part from 0 up to 1.")


def approximate(
    slots: Sequence[Slot],
    budget: int,
    *,
    family: LowRank | Blocks | None = None,
    moments: Mapping[str, Moments] | None = None,
    allocation: Allocation = "auto",
    ridge: float = 0.01,
    spare: float = 0.0,
) -> tuple[dict[str, tuple[Layout, tuple[np.ndarray, ...]]], dict[str, np.ndarray]]:
    r"""Networks for all layers, and biases that make up for the mean of what was left out.

    Without moments, $\|W - \hat W\|_F$ is minimized. With them it is the output error
    $E\|(W - \hat W)(x - \mu)\|^2$, by the SVD of $W C^{1/2}$ with $C$ the covariance of the
    inputs, and $\hat b = b + (W - \hat W)\mu$.

    Args:
        slots: the layers.
        budget: parameters of all networks, and of the layers that are left dense.
        family: of the layouts; low rank by default.
        moments: from calibration; None weighs all inputs alike. Embeddings never have any.
        allocation: what ranks are shared out by. "error": squared errors as they are; "relative":
            as fractions of each layer; "output": output errors times the sensitivity of the
            model's outputs, or of the loss, to the layer's (needs moments); "uniform": the same
            rank everywhere. "auto": "uniform" with moments, "error" without, as measured best on
            two networks; `compress` tries "uniform" and "output" where it has data to judge by.
        ridge: added to C, relative to its mean variance: how far the calibration is trusted.
        spare: as in `Spectra`; none by default.

    Returns:
        Layout and cores by layer, and new biases [rows] of the layers that have moments and a
        bias. Layers that gain nothing by a network are left out: where the budget is less than
        the dense weights, no network is as large as its weight.

    Raises:
        ValueError: if the budget is below rank one, or an option does not fit.

    Example:
        >>> import numpy as np
        >>> from tnjax.nn import Slot, approximate
        >>> slot = Slot("fc", "linear", np.diag([3.0, 2.0, 1.0]), None)
        >>> networks, _ = approximate([slot], budget=6)
        >>> networks["fc"][0].num_params
        6

    Reference:
        Wang et al., arXiv 2403.07378 (SVD-LLM).
    """
    spectra = LayerSpectra.of(slots, family=family, moments=moments, ridge=ridge)
    return spectra.networks(spectra.ranks(budget, allocation, spare))


@dataclasses.dataclass(frozen=True)
class LayerSpectra:
    """All layers decomposed once: ranks for a budget, and networks of these ranks.

    Attributes:
        slots: the layers.
        family: of the layouts.
        moments: of the layers that are whitened.
        targets: the weights [count, rows, columns], whitened.
        inverses: of the whitening, [count, columns, columns], by layer.
        families: what ranks buy, for each layer.
        factors: SVDs of the targets (of low rank only).
    """

    slots: Sequence[Slot]
    family: LowRank | Blocks
    moments: Mapping[str, Moments]
    targets: Sequence[np.ndarray]
    inverses: Mapping[str, np.ndarray]
    families: Sequence[Family]
    factors: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]

    @classmethod
    def of(
        cls,
        slots: Sequence[Slot],
        *,
        family: LowRank | Blocks | None = None,
        moments: Mapping[str, Moments] | None = None,
        ridge: float = 0.01,
    ) -> "LayerSpectra":
        """Whitened and decomposed.

        Raises:
            ValueError: if the inputs are whitened for another family than low rank.
        """
        family, moments = family or LowRank(), moments or {}
        if moments and not isinstance(family, LowRank):
            raise ValueError(
                "Calibration whitens the inputs, which only low rank keeps exact; leave `family` "
                "out."
            )
        targets, inverses, families, factors = [], {}, [], []
        for slot in slots:
            target = np.asarray(slot.matrix, np.float64).reshape(-1, *slot.shape)
            if slot.name in moments:
                covariance = _spread(slot, moments[slot.name])
                pairs = [root_pair(c, ridge) for c in covariance]
                target = target @ np.stack([root for root, _ in pairs])
                inverses[slot.name] = np.stack([inverse for _, inverse in pairs])
            targets.append(target)
            if isinstance(family, LowRank):
                factors.append(np.linalg.svd(target, full_matrices=False))
                found = Family((factors[-1][1] ** 2).sum(0), sum(slot.shape))
            else:
                parts = [family.family(matrix) for matrix in target]
                found = Family(np.sum([part.gains for part in parts], 0), parts[0].cost)
            families.append(Family(found.gains, found.cost * len(target), slot.size))
        return cls(slots, family, moments, targets, inverses, families, factors)

    def ranks(self, budget: int, allocation: Allocation, spare: float = 0.0) -> dict[str, int]:
        """The rank of every layer, 0 for those that are left dense.

        Raises:
            ValueError: if the budget is below rank one, or the allocation lacks moments.
        """
        _check_allocation(allocation)
        if allocation == "auto":
            allocation = "uniform" if self.moments else "error"
        if allocation == "output" and not all(slot.name in self.moments for slot in self.slots):
            raise ValueError('allocation="output" needs calibration of every layer.')
        families, names = list(self.families), [slot.name for slot in self.slots]
        if budget >= sum(slot.size for slot in self.slots):
            families = [dataclasses.replace(f, dense=None) for f in families]
        left = _left_dense(families, budget, spare)
        rest = [n for n in range(len(families)) if n not in left]
        budget -= sum(families[n].dense or 0 for n in left)
        chosen = [families[n] for n in rest]
        if allocation == "uniform":
            ranks = _uniform(chosen, budget)
        else:
            weights = self._weights(allocation)
            ranks = allocate(chosen, budget, weights=[weights[n] for n in rest])
        found = {names[n]: rank for n, rank in zip(rest, ranks, strict=True)}
        return {name: found.get(name, 0) for name in names}

    def networks(
        self, ranks: Mapping[str, int]
    ) -> tuple[dict[str, tuple[Layout, tuple[np.ndarray, ...]]], dict[str, np.ndarray]]:
        """Layout and cores by layer, and new biases; layers of rank 0 are left out."""
        networks, biases = {}, {}
        for number, slot in enumerate(self.slots):
            if not ranks[slot.name]:
                continue
            layout = self.family.layout(slot.shape, ranks[slot.name])
            parts = [self._cores(number, k, layout) for k in range(len(self.targets[number]))]
            stacked = [np.stack(cores) for cores in zip(*parts, strict=True)]
            if slot.name in self.inverses and slot.bias is not None:
                biases[slot.name] = self._bias(slot, layout, parts)
            shape = lambda core, slot=slot: core.reshape(*slot.stack, *core.shape[1:])
            networks[slot.name] = (
                layout,
                tuple(shape(core).astype(slot.matrix.dtype) for core in stacked),
            )
        return networks, biases

    def error(self, number: int, rank: int) -> float:
        """Relative error of a layer at a rank: of its outputs where it is whitened, else of its
        weight."""
        gains = self.families[number].gains
        total = float(gains.sum())
        if not rank or not total > 0:
            return 0.0
        return math.sqrt(max(float(gains[rank:].sum()), 0.0) / total)

    def _cores(self, number: int, k: int, layout: Layout) -> tuple[np.ndarray, ...]:
        """Of one matrix, of about equal norms, the whitening taken back."""
        slot, target = self.slots[number], self.targets[number][k]
        if isinstance(self.family, LowRank):
            u, s, v = (part[k] for part in self.factors[number])
            cores = self.family.from_factors((u, s, v), layout)
        else:
            cores = self.family.cores(target, layout)
        if slot.name in self.inverses:
            cores = (cores[0], self.inverses[slot.name][k] @ cores[1])
        norms = [float(np.linalg.norm(core)) for core in cores]
        if min(norms) <= 0:  # a weight of zeros: one core stays alive, so that it can be trained
            return cores
        balance = math.sqrt(norms[1] / norms[0])
        return (cores[0] * balance, cores[1] / balance)

    def _bias(self, slot: Slot, layout: Layout, parts: Sequence[Any]) -> np.ndarray:
        assert slot.bias is not None
        matrices = np.asarray(slot.matrix, np.float64).reshape(-1, *slot.shape)
        means = self.moments[slot.name].mean.reshape(len(matrices), -1)
        lost = [
            (matrix - rebuild(layout, cores)) @ mean
            for matrix, cores, mean in zip(matrices, parts, means, strict=True)
        ]
        return (slot.bias + np.reshape(lost, slot.bias.shape)).astype(slot.bias.dtype)

    def _weights(self, allocation: str) -> list[float]:
        if allocation == "relative":
            return [1 / max(float(np.sum(target**2)), 1e-300) for target in self.targets]
        if allocation == "output":
            return [self.moments[slot.name].sensitivity for slot in self.slots]
        return [1.0] * len(self.slots)


def _spread(slot: Slot, moments: Moments) -> np.ndarray:
    """The matrix [count, columns, columns] that errors are weighed by: the covariance, or the
    second moment where no bias can make up for the mean."""
    found = moments.second if slot.bias is None else moments.covariance
    return found.reshape(-1, *found.shape[-2:])


def _left_dense(families: Sequence[Family], budget: int, spare: float) -> set[int]:
    """The smallest layers that together hold at most a part `spare` of the weights, while what is
    left of the budget gives all others a rank; layers of equal size alike."""
    sizes = {n: f.dense for n, f in enumerate(families) if f.dense is not None}
    total, left = sum(sizes.values()), set()
    if not spare or len(sizes) < 2:
        return left
    for size in sorted(set(sizes.values())):
        more = left | {n for n, other in sizes.items() if other == size}
        held = sum(sizes[n] for n in more)
        others = sum(families[n].cost for n in sizes if n not in more)
        if held > spare * total or held > SPARED().share * budget or held + others > budget:
            break
        left = more
    return left


def _uniform(families: Sequence[Family], budget: int) -> list[int]:
    """The same rank everywhere, as large as the budget allows; 0 where the matrix is smaller."""
    size = lambda f, rank: f.dense if f.at_least_dense(rank) else f.cost * min(rank, len(f.gains))
    rank = 0
    while rank < max(len(f.gains) for f in families):
        if sum(size(f, rank + 1) or 0 for f in families) > budget:
            break
        rank += 1
    if not rank:
        return allocate(families, budget)  # raises, with the numbers
    return [0 if f.at_least_dense(rank) else min(rank, len(f.gains)) for f in families]


def _check_allocation(allocation: str) -> None:
    if allocation not in get_args(Allocation):
        raise ValueError(
            f'allocation={allocation!r}; expected "auto", "error", "relative", "output" or '
            '"uniform".'
        )
