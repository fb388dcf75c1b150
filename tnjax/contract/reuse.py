"""One plan for a network and its neighbors: those that differ by a rank or by a bond."""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Inexact, Int, Real

from .._structure import Structure
from .._tracing import traced
from . import kernels
from ._mantissa import normalized
from .equation import Equation, inner_equation
from .logarithms import Network, as_equation, log_of_norm, log_scale
from .order import appended, log_flops
from .path import Path, Plan, find_path, plan_along
from .scaled import Scaled
from .schedule import SCHEDULES

# Labels that grow together, as a bond's in the two layers of a norm.
Together = tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Known:
    """A plan that was made, with room.

    Attributes:
        equation: with the sizes that its program is compiled for.
        path, recipe: along which it is contracted.
        sizes, fewest: what the path was searched for, and its multiplications there, base 2.
    """

    equation: Equation
    path: Path
    recipe: Plan
    sizes: dict[tuple[int, ...], float]
    fewest: float

    def bound(self, sizes: dict[tuple[int, ...], float]) -> float:
        """What any path needs for a neighbor, base 2."""
        return self.fewest + sum(
            min(0.0, sizes.get(users, 0.0) - size) for users, size in self.sizes.items()
        )


class Plans:
    """Plans of contractions that serve their neighbors.

    A network that differs from one before by a rank or a bond is contracted along the same path,
    and where only ranks grew by the same program with zeros in the place of what it lacks, if that
    costs at most `factor` times the multiplications that any path needs. That is known without a
    search: no path of the new network is cheaper than the best of the old one, but for bonds that
    became smaller or went, which save at most the ratio of their sizes. (So far as the old path was
    the best; searches for few operands are exact.) Else a path is searched for, and remembered.

    Results depend by rounding errors on what was planned before.

    Args:
        factor: of the multiplications, at least 1. When a program is compiled, it is given to ranks
            as room to grow. Compiling takes about a second, which is a thousand small contractions.
        remembered: so many plans, the newest.

    Attributes:
        searched: paths that were searched for.
        compiled: plans with shapes of their own.
        reused: networks that needed neither; one that comes again is not counted.

    Raises:
        ValueError: if the factor is less than 1, or nothing may be remembered.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import Plans
        >>> plans = Plans(factor=8.0)
        >>> ring = Structure.tensor_ring((4,) * 6, 3)
        >>> for structure in (ring, ring.with_rank((0, 1), 4), ring.with_rank((0, 3), 2)):
        ...     network = TensorNetwork.random(structure, key=jax.random.key(0))
        ...     value = plans.log_norm(network)
        >>> plans.searched, plans.compiled, plans.reused  # the new bond needs a program
        (1, 2, 1)
    """

    def __init__(self, factor: float = 16.0, remembered: int = 32):
        if not factor >= 1 or remembered < 1:
            raise ValueError(
                f"Plans: factor={factor!r}, remembered={remembered!r}; expected at least 1 each."
            )
        self.factor, self.searched, self.compiled, self.reused = float(factor), 0, 0, 0
        self._known: collections.deque[Known] = collections.deque(maxlen=remembered)
        self.plan = functools.lru_cache(maxsize=256)(self._plan)

    def contract(
        self,
        equation: str | tuple[Sequence[Sequence[int]], Sequence[int]],
        *operands: ArrayLike,
        log: bool = False,
        precision: lax.PrecisionLike = kernels.FULL,
    ) -> Inexact[Array, "..."] | Scaled:
        """As `tnjax.contract.contract`, by a known plan where one serves.

        Args:
            equation, operands: as there.
            log: give the mantissa and the logarithm of the scale.
            precision: of the products.

        Returns:
            The contracted array, or a `Scaled`.

        Raises:
            ValueError: as there.
        """
        planned, arrays = as_equation(equation, operands)
        known = self.plan(planned, tuple((label,) for label, _ in planned.sizes))
        mantissa, exponent = _evaluate(known, arrays, log, precision)
        return Scaled(mantissa, log_scale(mantissa, exponent)) if log else mantissa

    def log_norm(
        self, network: Network, *, precision: lax.PrecisionLike = kernels.FULL
    ) -> Real[Array, ""]:
        """As `tnjax.contract.log_norm`.

        Args:
            network: a `TensorNetwork`.
            precision: of the products.

        Returns:
            A real scalar.
        """
        known = self.plan_norm(network.structure)
        operands = [*(core.conj() for core in network.cores), *network.cores]
        return log_of_norm(*_evaluate(known, operands, True, precision))

    def plan_norm(self, structure: Structure) -> Known:
        """The plan of the inner product of a network with itself; its bonds get room."""
        shift, first = len(structure.edges), len(structure.dims)
        bonds = tuple((label, label + shift) for label in range(first, first + shift))
        return self.plan(inner_equation(structure), bonds)

    def _plan(self, equation: Equation, growing: Together) -> Known:
        """The cheapest known plan within the factor, or a new one.

        Args:
            equation: of one operand or more.
            growing: labels that may get room, those in the output apart.
        """
        sizes, count = _sizes(equation), len(equation.inputs)
        allowed = math.log2(self.factor) + 1e-9
        cost = lambda equation, path: log_flops(equation, appended(path, count))
        known = [known for known in self._known if len(known.equation.inputs) == count]
        served = [k for k in known if _holds(k.equation, equation)]
        full = lambda k: cost(k.equation, k.path) - k.bound(sizes)
        best = min(served, key=full, default=None)
        if best is not None and full(best) <= allowed:
            self.reused += 1
            return best
        self.compiled += 1
        excess = lambda k: cost(equation, k.path) - k.bound(sizes)
        best = min(known, key=excess, default=None)
        if best is None or excess(best) > allowed:
            self.searched += 1
            path = find_path(equation)
            recipe = plan_along(equation, path)
            best = Known(equation, path, recipe, sizes, cost(equation, path))
        path, most = best.path, best.bound(sizes) + allowed
        larger = _with_room(equation, growing, lambda e: cost(e, path) <= most)
        recipe = plan_along(larger, path)
        best = dataclasses.replace(best, equation=larger, recipe=recipe)
        self._known.append(best)
        return best


def _holds(capacity: Equation, equation: Equation) -> bool:
    if (capacity.inputs, capacity.output) != (equation.inputs, equation.output):
        return False
    room = capacity.size_dict
    return all(
        room[x] == size if x in equation.output else room[x] >= size for x, size in equation.sizes
    )


def _with_room(
    equation: Equation, growing: Together, cheap: Callable[[Equation], bool]
) -> Equation:
    """Labels one larger in turn, the smallest first, while it is cheap; up to twice their size."""
    most = {label: 2 * size for label, size in equation.sizes}
    waiting = [labels for labels in growing if not set(labels) & set(equation.output)]
    waiting.sort(key=lambda labels: most[labels[0]])
    while waiting:
        left = []
        for labels in waiting:
            sizes = tuple((x, size + (x in labels)) for x, size in equation.sizes)
            larger = Equation(equation.inputs, equation.output, sizes)
            if all(larger.size_dict[x] <= most[x] for x in labels) and cheap(larger):
                equation = larger
                left.append(labels)
        waiting = left
    return equation


def _evaluate(
    known: Known, operands: Sequence[Array], log: bool, precision: Any
) -> tuple[Array, Int[Array, ""]]:
    size = known.equation.size_dict
    filled, exponent = [], 0
    for labels, x in zip(known.equation.inputs, operands, strict=True):
        more = [(0, size[label] - n) for label, n in zip(labels, x.shape, strict=True)]
        # Known arrays are filled up on the host: each new shape would be a program.
        x: Any = (
            np.pad(x, more) if not traced(x) else jnp.pad(x, more) if any(map(any, more)) else x
        )
        if log:
            x, power = normalized(x) if traced(x) else _normalized_on_host(x)
            exponent = exponent + power
        filled.append(x)
    exponent = jnp.asarray(exponent, jnp.int32)
    if not log:
        plain = _contract_jit(known.equation, filled, recipe=known.recipe, precision=precision)
        return plain, exponent
    out, power = _along(known.recipe, filled, precision)
    return out, exponent + power


def _normalized_on_host(x: Any) -> tuple[np.ndarray, int]:
    parts = (x.real, x.imag) if np.iscomplexobj(x) else (x,)
    _, power = np.frexp(max(np.abs(part).max(initial=0) for part in parts))
    half = int(power) // 2  # the power itself may be out of range where the result is not
    scales = (np.ldexp(parts[0].dtype.type(1), -n) for n in (half, int(power) - half))
    for scale in scales:
        x = x * scale
    return x, int(power)


_contract_jit = jax.jit(kernels.contract, static_argnums=0, static_argnames=("recipe", "precision"))


@functools.partial(jax.jit, static_argnums=(0, 2))
def _along(recipe: Plan, operands: Sequence[Array], precision: Any):
    """As `kernels.contract`, with products brought back to mantissas before they overflow."""
    work, exponent = list(operands), jnp.zeros((), jnp.int32)
    bits = [0.0] * len(work)  # mantissas are less than 1, and so a product is at most its terms
    for step in recipe.steps:
        right, left = (work.pop(position) for position in reversed(step.positions))
        size = sum(bits.pop(position) for position in reversed(step.positions))
        if step.swapped:
            left, right = right, left
        for operand, axes in ((left, step.sum_left), (right, step.sum_right)):
            size += math.log2(math.prod(operand.shape[axis] for axis in axes))
        left = left.sum(step.sum_left) if step.sum_left else left
        right = right.sum(step.sum_right) if step.sum_right else right
        dimensions = (step.contract, step.batch)
        out = lax.dot_general(left, right, dimensions, precision=precision)
        size += math.log2(math.prod(left.shape[axis] for axis in step.contract[0]))
        if size > SCHEDULES().bits:
            out, power = normalized(out)
            exponent, size = exponent + power, 0.0
        work.append(out)
        bits.append(size)
    (out,) = work
    out = out.sum(recipe.final_sum) if recipe.final_sum else out
    out, power = normalized(lax.transpose(out, recipe.final_permutation))
    return out, exponent + power


def _sizes(equation: Equation) -> dict[tuple[int, ...], float]:
    """For the operands (and the output, -1) that share labels the logarithm of the labels' size."""
    users = {label: [] for label, _ in equation.sizes}
    for n, labels in enumerate(equation.inputs):
        for label in labels:
            users[label].append(n)
    for label in equation.output:
        users[label].append(-1)
    out: dict[tuple[int, ...], float] = collections.defaultdict(float)
    for label, size in equation.sizes:
        out[tuple(users[label])] += math.log2(size)
    return dict(out)
