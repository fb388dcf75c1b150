"""Which bond of which layer should grow: by the task's functional gradient, or by trials."""

import abc
import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from ..._formats import all_pairs
from ..._keys import generator, host_seed
from ..._network import TensorNetwork
from ..._search.screening.candidates import draw_slices, slice_position
from ..._structure import Edge, Structure
from ...contract import kernels
from ...solve.gradients import promoting
from .._layout import Layout
from .._measure import functional_gradients
from .._project import rebuild
from .._tap import dense_layout
from .._task import Task, jit, mean_value
from ..model import Adapter, core_names
from .leading import Target


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One bond of one layer, and what growing it promises.

    Attributes:
        layer: its name.
        edge: the bond.
        gain: predicted decrease of the loss, old cores frozen.
        cost: parameters that it adds.
        slices: for each new rank, one array for each node of the bond, of the core's shape
            without the bond's axis.

    Example:
        >>> import numpy as np
        >>> from tnjax.nn import Candidate
        >>> Candidate("layers.0", (0, 1), 0.5, 24, ((np.ones(16), np.ones(8)),)).gain
        0.5
    """

    layer: str
    edge: Edge
    gain: float
    cost: int
    slices: tuple[tuple[np.ndarray, ...], ...]


class LayerScreen(abc.ABC):
    """How candidates of all layers are evaluated. A screen of your own is a subclass.

    Example:
        >>> import dataclasses
        >>> from tnjax.nn import GradientScreen, Grow, LayerScreen
        >>> class Cheapest(LayerScreen):
        ...     def __call__(self, *given, increment, key):
        ...         found = GradientScreen()(*given, increment=increment, key=key)
        ...         return [dataclasses.replace(c, gain=1 / c.cost) for c in found]
        >>> isinstance(Grow(screen=Cheapest()).layer_screen, Cheapest)
        True
    """

    @abc.abstractmethod
    def __call__(
        self,
        adapter: Adapter,
        model: Any,
        networks: Mapping[str, tuple[Layout, Sequence[Any]]],
        task: Task,
        batches: Sequence[Any],
        *,
        increment: int,
        key: PRNGKeyArray,
    ) -> list[Candidate]:
        """The bonds of all networks with what growing each of them promises.

        Args:
            adapter: of the model's framework.
            model: with the networks in it.
            networks: paired layouts without copies, and their cores, by layer.
            task: loss, batches and validation batches.
            batches: training batches to look at.
            increment: ranks that a bond may grow by.
            key: for all random numbers.

        Returns:
            A candidate for each bond; one whose cores can tell no more ranks apart may be left
            out.
        """


@dataclasses.dataclass(frozen=True)
class GradientScreen(LayerScreen):
    r"""All bonds of all layers by one backward pass per batch.

    With G the gradient of the loss with respect to a dense weight, a term D added to it changes
    the loss by $\langle G, D\rangle + \frac s2 \|D A^{1/2}\|^2$: the layer's curvature by its
    Kronecker factors, A the second moment of its inputs and s the mean square of its outputs'
    gradients. The best slices on every bond are found for that (A taken as a product over the
    digits of the columns, see `Target`), and gain is in units of the loss, so that layers compare.
    The curvature is a rough number, so that the slices are then tried at a few lengths by forward
    passes, and the largest fall of the loss is the gain.

    Args:
        sweeps: of least squares for the slices of a bond.
        lengths: factors of the slices that are tried; none takes the predicted gains as they are.

    Example:
        >>> from tnjax.nn import GradientScreen, Grow
        >>> Grow(screen=GradientScreen(sweeps=1)).layer_screen.sweeps
        1

    Reference:
        Evci et al., arXiv 2201.05125; Martens and Grosse, arXiv 1503.05671.
    """

    sweeps: int = 3
    lengths: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

    def __call__(
        self,
        adapter: Adapter,
        model: Any,
        networks: Mapping[str, tuple[Layout, Sequence[Any]]],
        task: Task,
        batches: Sequence[Any],
        *,
        increment: int,
        key: PRNGKeyArray,
    ) -> list[Candidate]:
        known = adapter.slots(model)
        slots = [known[name] for name in networks]
        gradients, moments = functional_gradients(adapter, model, slots, task, batches)
        out = []
        for slot in slots:
            layout, cores = networks[slot.name]
            gradient, found = gradients[slot.name], moments[slot.name]
            second, slope = found.second, found.curvature(len(batches))
            target = Target.of(layout, cores, -gradient, second)
            rng = generator(key)
            for edge in all_pairs(layout.structure.num_nodes):
                terms = target.slices(edge, increment, self.sweeps, rng)
                if not terms:
                    continue
                cost = _cost(layout.structure, edge, len(terms))
                candidate = Candidate(slot.name, edge, 0.0, cost, tuple(terms))
                change = _change(layout, cores, candidate)
                fall = -float(np.sum(gradient * change))
                curvature = slope * float(np.sum((change @ second) * change))
                if fall > 0 and curvature > 0:
                    gain = fall**2 / (2 * curvature)
                    candidate = _scaled(dataclasses.replace(candidate, gain=gain), fall / curvature)
                out.append(candidate)
        return self._tried(adapter, model, slots, networks, task, batches, out)

    def _tried(self, adapter, model, slots, networks, task, batches, candidates):
        """The candidates at their best lengths, with the fall of the loss as gain."""
        if not self.lengths:
            return candidates
        matrices = {s.name: (dense_layout(*s.matrix.shape), (s.matrix,)) for s in slots}
        arrays, build = adapter.arrays(adapter.replaced(model, matrices))
        loss = mean_value(task.loss, build, batches, "fast")
        before = loss(arrays)
        out = []
        for candidate in candidates:
            layout, cores = networks[candidate.layer]
            (path,) = core_names(candidate.layer, matrices[candidate.layer][0])
            change = jnp.asarray(_change(layout, cores, candidate), arrays[path].dtype)
            after = [
                loss({**arrays, path: arrays[path] + factor * change}) for factor in self.lengths
            ]
            best = int(np.argmin(np.where(np.isfinite(after), after, np.inf)))
            candidate = dataclasses.replace(candidate, gain=before - after[best])
            out.append(_scaled(candidate, self.lengths[best]))
        return out


def _change(layout: Layout, cores: Sequence[Any], candidate: Candidate) -> np.ndarray:
    """The dense matrix that the candidate adds: its terms are a bond of their own."""
    edge, count = candidate.edge, len(candidate.slices)
    terms = layout.structure.with_rank(edge, count)
    parts = [np.asarray(core) for core in cores]
    for position, node in enumerate(edge):
        found = [term[position] for term in candidate.slices]
        parts[node] = np.stack(found, terms.axis(node, edge)) if count > 1 else found[0]
    return rebuild(dataclasses.replace(layout, structure=terms), parts)


@dataclasses.dataclass(frozen=True)
class TrialScreen(LayerScreen):
    """The paper's evaluation: train only the new slices of each bond for a few steps, all else
    frozen, and compare the task's metric on validation data. Grows one rank at a time.

    Args:
        steps: of optax for each candidate.
        transformation: `optax.adam(1e-2)` by default.
        std: of the new slices at the start.

    Example:
        >>> from tnjax.nn import Grow, TrialScreen
        >>> Grow(screen=TrialScreen(steps=20)).layer_screen.steps
        20

    Reference:
        arXiv 2008.05437, algorithm 1.
    """

    steps: int = 10
    transformation: Any = None
    std: float = 0.01

    def __call__(
        self,
        adapter: Adapter,
        model: Any,
        networks: Mapping[str, tuple[Layout, Sequence[Any]]],
        task: Task,
        batches: Sequence[Any],
        *,
        increment: int,
        key: PRNGKeyArray,
    ) -> list[Candidate]:
        transformation = self.transformation or optax.adam(1e-2)
        known = adapter.slots(model)
        slots = [known[name] for name in networks]
        dense = {s.name: (dense_layout(*s.matrix.shape), (s.matrix,)) for s in slots}
        arrays, build = adapter.arrays(adapter.replaced(model, dense))
        metric = mean_value(task.metric or task.loss, build, list(task.held_out()))
        before, seed = metric(arrays), (host_seed(key),)
        out = []
        for slot in slots:
            layout, cores = networks[slot.name]
            structure, edges = layout.structure, all_pairs(layout.structure.num_nodes)
            (path,) = core_names(slot.name, dense[slot.name][0])
            starts = draw_slices(
                structure, structure, edges, np.dtype(slot.matrix.dtype), seed, increment=1
            )
            old = TensorNetwork(structure, [jnp.asarray(core) for core in cores])

            step, weight = self._programs(layout, path, build, task, transformation)
            for c, edge in enumerate(edges):
                drawn = tuple(self.std * math.sqrt(part[0, c].size) * part[0, c] for part in starts)
                support = tuple(jnp.asarray((s != 0).astype(s.dtype)) for s in drawn)
                frozen = tuple(
                    jnp.zeros_like(core) if k in edge else core for k, core in enumerate(old.cores)
                )
                slices = tuple(map(jnp.asarray, drawn))
                with promoting():
                    state = transformation.init(slices)
                for batch in itertools.islice(itertools.cycle(batches), self.steps):
                    slices, state = step(slices, support, frozen, arrays, state, batch)
                after = metric({**arrays, path: weight(slices, frozen, arrays[path])})
                gain = before - after
                term = _cut_out(structure, edge, slices)
                cost = _cost(structure, edge, 1)
                out.append(Candidate(slot.name, edge, float(gain), cost, (term,)))
        return out

    @staticmethod
    def _programs(layout: Layout, path: str, build, task: Task, transformation):
        """One update of the slices, and the weight with them; shared by all bonds of a layer."""

        def weight(slices, frozen, base):
            new = tuple(s + f for s, f in zip(slices, frozen, strict=True))
            delta = kernels.dense(layout.structure, new)
            full = delta.reshape(layout.padded_rows, layout.padded_columns)
            return base + full[: layout.rows, : layout.columns]

        def step(slices, support, frozen, arrays, state, batch):
            def loss(slices):
                new = weight(slices, frozen, arrays[path])
                return task.loss(build({**arrays, path: new}), batch)

            gradient = jax.tree.map(jnp.multiply, jax.grad(loss)(slices), support)
            with promoting():
                change, state = transformation.update(gradient, state, slices)
            return jax.tree.map(jnp.add, slices, change), state

        return jit(step), jit(weight)


def _cost(structure: Structure, edge: Edge, ranks: int) -> int:
    return structure.grow(edge, ranks).num_params - structure.num_params


def _scaled(candidate: Candidate, factor: float) -> Candidate:
    """All terms times a positive factor."""
    root = factor ** (1 / len(candidate.edge))
    terms = tuple(tuple(root * part for part in term) for term in candidate.slices)
    return dataclasses.replace(candidate, slices=terms)


def _cut_out(structure: Structure, edge: Edge, slices: Sequence[Any]) -> tuple[np.ndarray, ...]:
    """The slices of a bond without the axis of the bond that they are embedded in."""
    return tuple(
        np.asarray(slices[node])[slice_position(structure, structure, node, edge)] for node in edge
    )
