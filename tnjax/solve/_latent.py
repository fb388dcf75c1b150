"""How many features data have: the largest number that comes back from perturbed copies."""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .. import _compile
from .._init import host_cores
from .._keys import generator
from .._limits import positive
from .._network import TensorNetwork, scaled
from .._structure import Edge, Structure
from .._tracing import new_array, refuse_trace
from ..moves.cores import Cores, pad, unpad
from ..problems import Problem
from ._als import ALS
from ._matching import matched, similarities
from ._run import run
from .limits import SolverLike, as_solver, check_shape
from .solver import Solver


@dataclasses.dataclass(frozen=True)
class LatentFit:
    """Fits of one structure to perturbed copies of the data.

    Attributes:
        network: of these fits the one that is best on the data themselves.
        error: its error there.
        copy_errors: of each copy's best fit on that copy, shape [copies].
        silhouettes: for each bond that joins features, those of every feature in every copy, shape
            [copies, rank]: 1 if a feature is found again in all copies, 0 or less if it might as
            well be another one.

    Example:
        >>> import numpy as np, jax, tnjax
        >>> from tnjax.solve import LatentFit
        >>> train = tnjax.Structure.tensor_train((3, 4), 2)
        >>> network = tnjax.TensorNetwork.random(train, key=jax.random.key(0))
        >>> silhouettes = {(0, 1): np.array([[1.0, 0.4], [1.0, 0.6]])}
        >>> LatentFit(network, 0.1, np.ones(2), silhouettes).stability
        0.5
    """

    network: TensorNetwork
    error: float
    copy_errors: Float[np.ndarray, " copies"]
    silhouettes: dict[Edge, Float[np.ndarray, "copies rank"]]

    @property
    def structure(self) -> Structure:
        """That was fitted."""
        return self.network.structure

    @property
    def ranks(self) -> tuple[int, ...]:
        """How many features there are on each bond that joins features."""
        return tuple(values.shape[1] for values in self.silhouettes.values())

    @property
    def stability(self) -> float:
        """The mean silhouette of the least stable feature."""
        return float(min(values.mean(0).min() for values in self.silhouettes.values()))


@dataclasses.dataclass(frozen=True)
class LatentDimension:
    """What `latent_dimension` found.

    Attributes:
        fits: one for each structure, in the order in which they were given.
        chosen: the number of the chosen one among them; None if none is stable.

    Example:
        >>> from tnjax.solve import LatentDimension
        >>> print(LatentDimension((), None).table())
        ranks  error  stability
    """

    fits: tuple[LatentFit, ...]
    chosen: int | None

    @property
    def fit(self) -> LatentFit:
        """The fits of the chosen structure.

        Raises:
            ValueError: if none was chosen.
        """
        if self.chosen is None:
            raise ValueError(
                "latent_dimension: none of the structures is stable; `fits` tells how far each is."
            )
        return self.fits[self.chosen]

    @property
    def ranks(self) -> tuple[int, ...]:
        """Of the chosen structure: how many features there are on each bond that joins some."""
        return self.fit.ranks

    @property
    def structure(self) -> Structure:
        """The chosen one."""
        return self.fit.structure

    def table(self) -> str:
        """One line for each structure; the chosen one has a star."""
        lines = [("ranks", "error", "stability")]
        for number, found in enumerate(self.fits):
            star = " *" if number == self.chosen else ""
            ranks = ",".join(map(str, found.ranks))
            lines.append((ranks, f"{found.error:.4f}", f"{found.stability:.3f}{star}"))
        widths = [max(len(line[k]) for line in lines) for k in range(2)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in lines)


def latent_dimension(
    problem: Problem,
    structures: Sequence[int | Structure],
    *,
    key: PRNGKeyArray,
    copies: int = 10,
    starts: int = 10,
    noise: float = 0.03,
    stable: float = 0.75,
    solver: SolverLike = None,
) -> LatentDimension:
    r"""How many features data have, by what comes back from perturbed copies of them.

    Every structure is fitted to copies of the data whose numbers are multiplied by noise, each from
    random starts of which the best counts. A feature is an index of a bond that a node with no
    other bond carries: a term of CP, a column of a Tucker factor, a group of a RESCAL model. The
    features of all copies are matched by the Hungarian method, by the product of the cosines of
    their columns (signs and scales do not matter), and their silhouettes say how much nearer a
    feature is to itself in other copies than to the next one: about 1 where a feature is in the
    data, 0 or less where it follows noise or stands for a part of something.

    **The rule**: the chosen structure has the most features among those whose least stable
    feature has a mean silhouette of `stable` or more; of equals, the one with the lower error. A
    single feature always counts as stable. Below the true number fits are often stable too, since
    the same features win each time; above it a feature is left over, which differs from copy to
    copy. The errors are told beside it: at the true number they stop to fall. `Completion` chooses
    by held-out entries where features are not of interest.

    Args:
        problem: which can be `perturbed`: a `Decomposition`, a `Completion`, or `Tied` of one (for
            RESCAL), nonnegative or not.
        structures: what to compare: ranks of CP, or structures that differ in their ranks only. All
            are fitted in the largest ranks, filled with zeros, by one program.
        key: `jax.random.key(seed)`; each structure sees the same copies.
        copies: of the data, at least two.
        starts: of each copy.
        noise: numbers are multiplied by others between 1 - noise and 1 + noise.
        stable: the least silhouette of a stable feature.
        solver: for the fits, as of `fit`; by default `ALS` with up to 200 sweeps, of which two in a
            row gain less than 0.1 % at the end.

    Returns:
        Errors and silhouettes of every structure, and which one is chosen.

    Raises:
        ValueError: where features mean nothing: without nonnegative cores, a bond of two nodes can
            be turned without changing the tensor; for structures that do not fit the problem or
            differ in more than ranks, or have no bond that joins features; for fewer than two
            copies, and for a problem that cannot be perturbed.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> rng = np.random.default_rng(0)
        >>> factors = [rng.standard_normal((n, 2)) for n in (8, 9, 7)]
        >>> tensor = np.einsum("ia,ja,ka->ijk", *factors)
        >>> tensor += 0.05 * tensor.std() * rng.standard_normal(tensor.shape)
        >>> found = tnjax.latent_dimension(
        ...     tnjax.Decomposition(tensor), (1, 2, 3), key=jax.random.key(0), copies=6
        ... )
        >>> found.ranks
        (2,)

    Reference:
        Alexandrov et al., Nature 500 (2013), and Vangara et al., IEEE Access 9 (2021), for
        matrices; Nebgen et al., Mach. Learn. Sci. Technol. 2 (2021), for nonnegative tensors;
        Bhattarai et al., arXiv 2205.06446 (RESCALk), for relations.
    """
    refuse_trace("latent_dimension", "call it outside", (problem, key, new_array()))
    for value, name in ((copies, "copies"), (starts, "starts"), (noise, "noise")):
        positive(value, f"latent_dimension: {name}")
    if copies < 2:
        raise ValueError(f"latent_dimension: expected two or more copies, got {copies}.")
    given = [_structure(problem, each) for each in structures]
    capacity = _capacity(given)
    bonds = _feature_bonds(problem, capacity)
    chosen_solver = as_solver(_ALS if solver is None else solver, problem)
    lanes = np.asarray(noise, jnp.finfo(problem.dtype).dtype), jax.random.split(key, copies)
    ran = _compile.run(_perturbed, (), (problem, *lanes), work=problem.work * copies)
    plan = _Plan(problem, ran.value, chosen_solver, capacity, bonds, (copies, starts))
    fits = tuple(_fitted(plan, one, key) for one in given)
    return LatentDimension(fits, _choice(fits, stable))


_ALS = ALS(max_steps=200, rtol=1e-3, patience=2)


@dataclasses.dataclass(frozen=True, eq=False)
class _Plan:
    """What all structures have in common.

    Attributes:
        problem: of the data.
        copies: the same of perturbed data, along a leading axis of every array.
        solver: for the fits.
        capacity: the ranks that all are fitted in.
        bonds: that number features, with the nodes that describe these.
        lanes: copies, and starts of each.
    """

    problem: Problem
    copies: Problem
    solver: Solver
    capacity: Structure
    bonds: dict[Edge, tuple[int, ...]]
    lanes: tuple[int, int]


def _structure(problem: Problem, given: int | Structure) -> Structure:
    if isinstance(given, Structure):
        structure = given
    else:
        positive(given, "latent_dimension: a rank")
        structure = Structure.cp(problem.shape, int(given))
    check_shape(problem, structure)
    return structure


def _capacity(structures: Sequence[Structure]) -> Structure:
    """The largest ranks of all."""
    if not structures or len({structure.legs for structure in structures}) > 1:
        raise ValueError(
            "latent_dimension: expected one or more structures that differ in their ranks only, "
            f"got {list(structures)}."
        )
    ranks: dict[Edge, int] = {}
    for structure in structures:
        for edge, rank in structure.edges.items():
            ranks[edge] = max(rank, ranks.get(edge, 1))
    first = structures[0]
    return Structure(first.dims, first.legs, ranks)


def _feature_bonds(problem: Problem, capacity: Structure) -> dict[Edge, tuple[int, ...]]:
    """Bonds by which features are numbered, and the nodes that describe these."""
    found: dict[Edge, tuple[int, ...]] = {}
    for edge in capacity.edges:
        factors = [k for k in edge if capacity.legs[k] and capacity.degree(k) == 1]
        if factors:
            found[edge] = tuple(factors)
            if len(edge) == 2 and not problem.nonnegative:
                raise ValueError(
                    f"latent_dimension: the features on bond {edge} are not determined: the two "
                    "cores can be turned against each other. Ask for nonnegative cores, e.g. "
                    "Decomposition(x, nonnegative=True), or compare ranks of CP."
                )
    if not found:
        raise ValueError(
            f"latent_dimension: {capacity} has no features: no node with a mode has a single bond."
        )
    return found


def _fitted(plan: _Plan, structure: Structure, key: PRNGKeyArray) -> LatentFit:
    problem, capacity, steps = plan.problem, plan.capacity, plan.solver.max_steps
    rng = generator(key)
    draw = lambda: pad(structure, host_cores(structure, rng, problem.dtype), capacity)
    drawn = [draw() for _ in range(math.prod(plan.lanes))]
    stacked = [np.stack(cores).reshape(*plan.lanes, *cores[0].shape) for cores in zip(*drawn)]
    ran = _compile.run(
        _fits,
        (steps,),
        (plan.solver, problem, plan.copies, TensorNetwork.unchecked(capacity, stacked)),
        work=problem.work * len(drawn) * plan.solver.expected_passes,
        passes=steps,
    )
    cores, copy_errors, errors = jax.device_get(ran.value)
    of_copy = lambda n: unpad(structure, tuple(core[n] for core in cores), capacity)
    found = [of_copy(n) for n in range(plan.lanes[0])]
    best, first = int(np.argmin(errors)), int(np.argmin(copy_errors))
    silhouettes: dict[Edge, np.ndarray] = {}
    for edge, factors in plan.bonds.items():
        columns = [_columns(structure, edge, factors, cores) for cores in found]
        silhouettes[edge] = matched(similarities(columns), first)
    network = TensorNetwork(structure, found[best])
    return LatentFit(network, float(errors[best]), copy_errors, silhouettes)


def _columns(
    structure: Structure, edge: Edge, factors: tuple[int, ...], cores: Cores
) -> list[np.ndarray]:
    """The factors of a bond, each [entries, rank]."""
    return [np.asarray(cores[k]).reshape(-1, structure.rank(edge)) for k in factors]


def _perturbed(problem: Problem, noise: Array, keys: Array) -> Problem:
    """Copies, along a leading axis of every array."""
    return jax.vmap(lambda key: problem.perturbed(noise, key=key))(keys)


def _fits(
    max_steps: int, solver: Solver, problem: Problem, copies: Problem, starts: TensorNetwork
) -> tuple[Cores, Array, Array]:
    """Of every copy: the cores of its best fit, their error on it, and on the problem itself."""

    def copy_fit(copy: Problem, starts: TensorNetwork) -> tuple[Cores, Array, Array]:
        def fit_from(start: TensorNetwork) -> tuple[TensorNetwork, Array]:
            start = scaled(copy.prepared(start), copy.scale)
            found = run(copy, start, solver=solver, max_steps=max_steps)
            return found.network, found.error

        networks, errors = jax.vmap(fit_from)(starts)
        network = jax.tree.map(lambda core: core[jnp.argmin(errors)], networks)
        error = problem.error(scaled(network, 1 / jnp.asarray(problem.scale)))
        return network.cores, jnp.min(errors), error

    return jax.vmap(copy_fit)(copies, starts)


def _choice(fits: Sequence[LatentFit], stable: float) -> int | None:
    good = [number for number, found in enumerate(fits) if found.stability >= stable]
    rank = lambda number: (sum(fits[number].ranks), -fits[number].error)
    return max(good, key=rank, default=None)
