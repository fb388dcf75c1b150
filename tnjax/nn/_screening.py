"""Which bond of which layer should grow: by the task's functional gradient, or by trials."""

import abc
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import _compile
from .._contract import kernels
from .._network import TensorNetwork, scaled
from .._structure import Edge
from ..objectives import Decomposition
from ..search import Spectral
from ..search._candidates import draw_slices
from ._formats import complete_edges
from ._layout import Layout
from ._measure import functional_gradients
from ._model import Adapter, Slot, core_names
from ._project import padded_tensor, rebuild
from ._tap import dense_layout
from ._task import Task, jit, mean_value


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One bond of one layer, and what growing it promises.

    Attributes:
        layer: its name.
        edge: the bond.
        gain: predicted decrease of the loss, old cores frozen.
        cost: parameters that it adds.
        slices: for each new rank, one array for each node of the bond.
    """

    layer: str
    edge: Edge
    gain: float
    cost: int
    slices: tuple[tuple[np.ndarray, ...], ...]


class LayerScreen(abc.ABC):
    """How candidates of all layers are evaluated."""

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
        seed: int,
    ) -> list[Candidate]:
        """All bonds of all `networks` (paired layouts without copies), each with its gain."""


@dataclasses.dataclass(frozen=True)
class GradientScreen(LayerScreen):
    r"""All bonds of all layers by one backward pass per batch.

    With G the gradient of the loss with respect to a dense weight, a term added to it changes the
    loss by $\langle G, \Delta W\rangle + \frac h2 \|\Delta W\|^2$: the best slices on every bond
    are those of the spectral screen for the residual $-G/h$, and gain is in units of the loss, so
    that layers compare. The curvature h is that of the layer in the direction of G by its
    Kronecker factors: mean squared output gradients times the variance of the inputs along G.
    That is a rough number, so that the slices are then tried at a few lengths by forward passes,
    and the largest fall of the loss is the gain.

    Args:
        sweeps: of the spectral screen.
        lengths: factors of the slices that are tried; none takes the predicted gains as they are.

    Reference:
        Evci et al., arXiv 2201.05125; Martens and Grosse, arXiv 1503.05671.
    """

    sweeps: int = 3
    lengths: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)

    def __call__(self, adapter, model, networks, task, batches, *, increment, seed):
        slots = [_slot(adapter, model, name) for name in networks]
        gradients, moments = functional_gradients(adapter, model, slots, task, batches)
        out = []
        for slot in slots:
            layout, cores = networks[slot.name]
            gradient = gradients[slot.name]
            found = moments[slot.name]
            second = found.covariance + np.outer(found.mean, found.mean)
            square = max(float(np.sum(gradient**2)), 1e-300)
            along = float(np.sum((gradient @ second) * gradient)) / square
            # Empirical Fisher: a vector's gradient in the mean loss is 1 / n of its own.
            n = found.count / len(batches)
            curvature = max(along * float(found.slope.mean()) * n**2, 1e-300)
            out += _spectral(
                slot.name,
                layout,
                cores,
                -gradient / curvature,
                curvature,
                sweeps=self.sweeps,
                increment=increment,
                seed=seed,
            )
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
            root = self.lengths[best] ** (1 / len(candidate.edge))
            out.append(
                dataclasses.replace(
                    candidate,
                    gain=before - after[best],
                    slices=tuple(tuple(root * p for p in term) for term in candidate.slices),
                )
            )
        return out


def _change(layout: Layout, cores: Sequence[Any], candidate: Candidate) -> np.ndarray:
    """The dense matrix that the candidate adds."""
    structure, total = layout.structure, 0.0
    single = structure.with_rank(candidate.edge, 1)
    for term in candidate.slices:
        parts = [np.asarray(core) for core in cores]
        for node, part in zip(candidate.edge, term, strict=True):
            parts[node] = part
        total = total + rebuild(dataclasses.replace(layout, structure=single), parts)
    return np.asarray(total)


@dataclasses.dataclass(frozen=True)
class TrialScreen(LayerScreen):
    """The paper's evaluation: train only the new slices of each bond for a few steps, all else
    frozen, and compare the task's metric on validation data. Grows one rank at a time.

    Args:
        steps: of optax for each candidate.
        transformation: `optax.adam(1e-2)` by default.
        std: of the new slices at the start.

    Reference:
        arXiv 2008.05437, algorithm 1.
    """

    steps: int = 10
    transformation: Any = None
    std: float = 0.01

    def __call__(self, adapter, model, networks, task, batches, *, increment, seed):
        transformation = self.transformation or optax.adam(1e-2)
        slots = [_slot(adapter, model, name) for name in networks]
        dense = {s.name: (dense_layout(*s.matrix.shape), (s.matrix,)) for s in slots}
        arrays, build = adapter.arrays(adapter.replaced(model, dense))
        metric = mean_value(task.metric or task.loss, build, list(task.held_out()))
        before = metric(arrays)
        out = []
        for slot in slots:
            layout, cores = networks[slot.name]
            structure, edges = layout.structure, complete_edges(layout.structure.num_nodes)
            (path,) = core_names(slot.name, dense[slot.name][0])
            starts = draw_slices(
                structure, structure, edges, np.dtype(slot.matrix.dtype), (seed,), increment=1
            )
            old = TensorNetwork(structure, [jnp.asarray(core) for core in cores])

            step, weight = self._programs(layout, path, build, task, transformation)
            for c, edge in enumerate(edges):
                drawn = tuple(self.std * np.sqrt(part[0, c].size) * part[0, c] for part in starts)
                support = tuple(jnp.asarray((s != 0).astype(s.dtype)) for s in drawn)
                frozen = tuple(core * (k not in edge) for k, core in enumerate(old.cores))
                slices = tuple(map(jnp.asarray, drawn))
                state = transformation.init(slices)
                for batch in itertools.islice(itertools.cycle(batches), self.steps):
                    slices, state = step(slices, support, frozen, arrays, state, batch)
                after = metric({**arrays, path: weight(slices, frozen, arrays[path])})
                gain = before - after
                out.append(_candidate(slot.name, layout, edge, gain, [slices], increment=1))
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
            change, state = transformation.update(gradient, state, slices)
            return jax.tree.map(jnp.add, slices, change), state

        return jit(step), jit(weight)


def _slot(adapter: Adapter, model: Any, name: str) -> Slot:
    return adapter.slots(model)[name]


def _spectral(name, layout, cores, residual, curvature, *, sweeps, increment, seed):
    """Candidates of one layer for the residual that its weight should take up."""
    structure, edges = layout.structure, complete_edges(layout.structure.num_nodes)
    dtype = np.asarray(cores[0]).dtype
    old = TensorNetwork(structure, [jnp.asarray(core) for core in cores])
    dense = np.asarray(kernels.dense_jit(structure, old.cores), np.float64)
    problem = Decomposition((dense + padded_tensor(layout, residual)).astype(dtype))
    starts = draw_slices(structure, structure, edges, dtype, (seed,), increment=increment)
    network = scaled(old, 1 / problem.scale)
    args = (problem, network, starts)
    # Matrix products, which the fast tier runs as fast; a program serves one structure.
    program = _compile.compiled(_screen, (Spectral(sweeps), edges), args, tier="fast")
    found = program.call(*args)
    unit = curvature / 2 * problem.scale**2
    root = problem.scale ** (1 / structure.num_nodes)
    return [
        _candidate(
            name,
            layout,
            edge,
            unit * float(found.gain[c]),
            [[np.asarray(part[c]) for part in s] for s in found.slices],
            increment=increment,
            root=root,
        )
        for c, edge in enumerate(edges)
    ]


def _screen(screen, edges, problem, network, starts):
    return screen(problem, network, edges, starts)


def _candidate(name, layout, edge, gain, terms, *, increment, root=1.0) -> Candidate:
    """Cut the slices out of their embedding; `root` undoes the scale of each core."""
    structure = layout.structure
    cost = structure.grow(edge, increment).num_params - structure.num_params
    slices = []
    for term in terms:
        parts = []
        for node in edge:
            where: list[Any] = [slice(None)] * len(structure.legs[node])
            for other in structure.core_edges(node):
                where.append(0 if other == edge else slice(None))
            parts.append(np.asarray(term[node])[tuple(where)] * root)
        slices.append(tuple(parts))
    return Candidate(name, edge, float(gain), cost, tuple(slices))
