"""Compression by spectra: all layers approximated at once, ranks shared out by what they buy."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from ._allocate import Blocks, LowRank, allocate, root_pair
from ._layers import FORWARD
from ._layout import Layout
from ._linear import Forward
from ._project import rebuild
from ._tap import Moments
from .model import Slot

Allocation = Literal["auto", "error", "relative", "output", "uniform"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spectra:
    """Compression at once: all weights are approximated, ranks shared out by their spectra.

    Args:
        family: of the layouts, `LowRank()` by default, or `Blocks(...)`.
        allocation: what ranks are shared out by, as in `approximate`.
        ridge: how far the calibration is trusted, as in `approximate`.
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
    forward: Forward = FORWARD

    def __post_init__(self) -> None:
        _check_allocation(self.allocation)
        if not self.ridge >= 0:
            raise ValueError(f"Spectra: ridge={self.ridge!r}; expected 0 or more.")


def approximate(
    slots: Sequence[Slot],
    budget: int,
    *,
    family: LowRank | Blocks | None = None,
    moments: Mapping[str, Moments] | None = None,
    allocation: Allocation = "auto",
    ridge: float = 0.01,
) -> tuple[dict[str, tuple[Layout, tuple[np.ndarray, ...]]], dict[str, np.ndarray]]:
    r"""Networks for all layers, and biases that make up for the mean of what was left out.

    Without moments, $\|W - \hat W\|_F$ is minimized. With them it is the output error
    $E\|(W - \hat W)(x - \mu)\|^2$, by the SVD of $W C^{1/2}$ with $C$ the covariance of the
    inputs, and $\hat b = b + (W - \hat W)\mu$.

    Args:
        slots: the layers.
        budget: parameters of all networks.
        family: of the layouts; low rank by default.
        moments: from calibration; None weighs all inputs alike. Embeddings never have any.
        allocation: what ranks are shared out by. "error": squared errors as they are; "relative":
            as fractions of each layer; "output": output errors times the sensitivity of the
            model's outputs to the layer's (needs moments); "uniform": the same rank everywhere.
            "auto": "uniform" with moments, "error" without, as measured best on two networks.
        ridge: added to C, relative to its mean variance: how far the calibration is trusted.

    Returns:
        Layout and cores by layer, and new biases [rows] of the layers that have moments and a
        bias.

    Raises:
        ValueError: if the budget is below rank one, or an option does not fit.

    Example:
        >>> import numpy as np
        >>> from tnjax.nn import Slot, approximate
        >>> slot = Slot("fc", "linear", np.diag([3.0, 2.0, 1.0]), None)
        >>> networks, _ = approximate([slot], budget=12)
        >>> networks["fc"][0].num_params
        12
    """
    family = family or LowRank()
    moments = moments or {}
    _check_allocation(allocation)
    if allocation == "auto":
        allocation = "uniform" if moments else "error"
    if moments and not isinstance(family, LowRank):
        raise ValueError(
            "Calibration whitens the inputs, which only low rank keeps exact; leave `family` out."
        )
    if allocation == "output" and not all(slot.name in moments for slot in slots):
        raise ValueError('allocation="output" needs calibration of every layer.')
    roots, targets = {}, []
    for slot in slots:
        target = np.asarray(slot.matrix, np.float64)
        if slot.name in moments:
            covariance = moments[slot.name].covariance
            if slot.bias is None:  # nothing can make up for the mean: it counts as error
                covariance = covariance + np.outer(*[moments[slot.name].mean] * 2)
            roots[slot.name] = root_pair(covariance, ridge)
            target = target @ roots[slot.name][0]
        targets.append(target)
    families = [family.family(target) for target in targets]
    if allocation == "uniform":
        rank = budget // sum(f.cost for f in families)
        if rank < 1:
            allocate(families, budget)  # raises, with the numbers
        ranks = [min(rank, len(f.gains)) for f in families]
    else:
        ranks = allocate(families, budget, weights=_weights(allocation, slots, targets, moments))
    networks, biases = {}, {}
    for slot, target, rank in zip(slots, targets, ranks, strict=True):
        layout = family.layout(slot.matrix.shape, rank)
        cores = family.cores(target, layout)
        if slot.name in roots:
            unwhitened = roots[slot.name][1] @ cores[1]
            cores = (cores[0], unwhitened)
            if slot.bias is not None:
                lost = (slot.matrix - rebuild(layout, cores)) @ moments[slot.name].mean
                biases[slot.name] = (slot.bias + lost).astype(slot.bias.dtype)
        balance = math.sqrt(np.linalg.norm(cores[1]) / max(np.linalg.norm(cores[0]), 1e-300))
        cores = (cores[0] * balance, cores[1] / max(balance, 1e-300))
        networks[slot.name] = (layout, tuple(c.astype(slot.matrix.dtype) for c in cores))
    return networks, biases


def _check_allocation(allocation: str) -> None:
    if allocation not in get_args(Allocation):
        raise ValueError(
            f'allocation={allocation!r}; expected "auto", "error", "relative", "output" or '
            '"uniform".'
        )


def _weights(allocation, slots, targets, moments) -> list[float]:
    if allocation == "relative":
        return [1 / max(float(np.sum(target**2)), 1e-300) for target in targets]
    if allocation == "output":
        return [float(moments[slot.name].slope.mean()) for slot in slots]
    return [1.0] * len(slots)
