"""What every problem offers to the solvers and to the search."""

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int, PRNGKeyArray, Real

from .. import _mesh
from .._network import TensorNetwork, balance
from .._structure import Structure
from ..contract import kernels
from ..contract.cost import dense_fit_peak_bytes, dense_flops, dense_sweep_flops
from ._rows import Rows
from .samples import Sampled

Point = Any
AnyProblem = TypeVar("AnyProblem", bound="Problem")


class Problem(eqx.Module):
    """A loss of a tensor, seen through a network that represents it.

    A problem of one's own gives `shape`, `dtype`, `loss` and `error`; all else has a default. It
    is a pytree (fields that are no arrays are marked `eqx.field(static=True)`), and its methods
    are pure functions that trace.

    The engine asks for three things: the loss of a network, a `Point` (whatever of the loss at a
    network is worth computing once), and the loss at that point when a second network is added.
    Growth by one rank adds a network (design of the candidates), so that `slope` and
    `curvature` along an added network are all that screening needs. The defaults make the dense
    tensor and differentiate by autodiff; they hold for a loss that depends on the tensor alone.
    Subclasses override what they can compute more cheaply.

    Attributes of every problem: `shape` of the tensor, `dtype` of the cores that fit it, and
    `scale`: solvers see the problem with the tensor divided by this number.

    **Capabilities.** Solvers and searches never ask of which class a problem is. They ask the
    following, whose defaults promise nothing; a problem that answers more is treated like ours.

    - `least_squares`: the normal equations of single cores, for `ALS`, `LevenbergMarquardt`,
      `SparseDiagonal`, and the exact screens. A subclass of `LeastSquares` has them.
    - `is_dense`, `dense_target`, `error_floor`: a tensor that networks are compared with, for all
      that reads singular values (`TreeSearch`, `FixedFormat`, `cut_bounds` and inferred graphs).
    - `projectable`: whether a search may use the HOSVD core of that tensor in its place.
    - `permutable`, `permuted`: the same data with the modes in another order, for strategies that
      propose orders.
    - `sampled`: entries that are learned from by least squares, for completion in groups of modes.
    - `num_samples`, `batch_loss`: samples that `Minibatch` draws from.
    - `nonnegative`, `feasible`, `prepared`, `named_start`: what cores may be, where they start.
    - `perturbed`, `resampled`: other data like these, to see what of a result comes back.
    - `restarts`: whether fits are repeated from other starts.
    - `likelihood_rows`, `judging_rows`: rows of categories, for `EM` and `LatentTree`.
    - `default_strategy`, `model`: what a search does by default, and what its result is good for.
    - `judges`, `judged`, `patience`, `sketch`: how added networks are compared.
    - `resolution`, `loss_of_error`, `counted_shape`: what the numbers mean that are reported.
    - `work`, `flops`, `loop_entries`, `sweep_flops`, `normal_operator_flops`, `fit_peak_bytes`:
      forecasts.
    - `mesh`, `placed`, `on_host`: devices.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> from tnjax import Structure, search
        >>> from tnjax.problems import Problem
        >>> class Logarithms(Problem):
        ...     data: jax.Array
        ...     shape = property(lambda self: self.data.shape)
        ...     dtype = property(lambda self: self.data.dtype)
        ...     def loss(self, network):
        ...         return jnp.mean((jnp.exp(network.to_dense()) - self.data) ** 2)
        ...     def error(self, network):
        ...         return jnp.sqrt(self.loss(network))
        >>> a, b = jnp.linspace(0, 1, 4), jnp.linspace(-1, 1, 5)
        >>> problem = Logarithms(jnp.exp(jnp.outer(a, b)))
        >>> result = search(problem, key=jax.random.key(0), target_error=1e-2)
        >>> result.error <= 1e-2
        True
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes of the tensor."""

    @property
    @abc.abstractmethod
    def dtype(self) -> jnp.dtype:
        """The dtype of cores that fit the problem."""

    @property
    def scale(self) -> Any:
        """A float, or an array [] where the data are traced."""
        return 1.0

    @property
    def nonnegative(self) -> bool:
        """Whether no core may have a negative entry."""
        return False

    # What else is known of the loss ----------------------------------------------------------

    @property
    def least_squares(self) -> "LeastSquares | None":
        """The problem as one that least squares, linear in each core, lead down; None if it is
        none. Its `normal_equations` get points that `linearize` of this problem made."""
        return None

    @property
    def is_dense(self) -> bool:
        r"""Whether the error is $\sqrt{\|X - T\|_F^2 + f^2}$ for X the `dense_target` and f the
        `error_floor`, of which $\|X\|_F^2 + f^2 = 1$."""
        return False

    @property
    def dense_target(self) -> np.ndarray:
        """The tensor that networks are compared with, in the units of the solvers, gathered from
        all devices: on the host, not in a trace. Only where `is_dense`.

        Raises:
            ValueError: where there is none.
        """
        raise ValueError(f"{type(self).__name__} has no dense target.")

    @property
    def error_floor(self) -> Any:
        """What no network can take away from the error: a float, or an array [] in a trace."""
        return 0.0

    @property
    def projectable(self) -> bool:
        """Whether the `dense_target` says all of the problem (the loss is the squared error, every
        network is allowed), so that its HOSVD core may stand for it in a search."""
        return False

    @property
    def permutable(self) -> bool:
        """Whether `permuted` gives the problem with its modes in another order."""
        return False

    def permuted(self: AnyProblem, orders: Sequence[Sequence[int]]) -> AnyProblem:
        """Problems of the same data with their modes in these orders (as `np.transpose` takes
        them; all lead to the same shape), stacked along a leading axis of every array. Only where
        `permutable`.

        Raises:
            ValueError: where it is not.
        """
        raise ValueError(f"{type(self).__name__} cannot change the order of its modes.")

    @property
    def sampled(self) -> Sampled | None:
        """The entries, where the loss is the mean of their squared differences (besides penalties
        on the cores); else None."""
        return None

    @property
    def num_samples(self) -> int:
        """Samples whose mean is the loss; 0 where it is none."""
        return 0

    def batch_loss(self, network: TensorNetwork, ids: Int[Array, " batch"]) -> Real[Array, ""]:
        """The loss over the samples of these numbers, below `num_samples`: an unbiased estimate
        where they are drawn from all with equal chances.

        Raises:
            ValueError: where the loss is no mean over samples.
        """
        raise ValueError(f"The loss of {type(self).__name__} is no mean over samples.")

    @property
    def likelihood_rows(self) -> Rows | None:
        """Rows of categories whose mean negative log-likelihood is the loss, for a distribution
        that is a network without negative entries over its sum: for `EM` and `LatentTree`."""
        return None

    @property
    def judging_rows(self) -> Rows | None:
        """The rows that `error` is about, where there are `likelihood_rows`."""
        return self.likelihood_rows

    @property
    def default_strategy(self) -> str | None:
        """The strategy that a search uses where none is asked for, by a name that `make_strategy`
        knows; `Greedy` if None."""
        return None

    def named_start(self, name: str | None) -> TensorNetwork | None:
        """A network to start a search from, known to the problem by a name, in its units; for None
        the default one. None if there is none: then a search starts at rank one."""
        return None

    @property
    def cites(self) -> tuple[str, ...]:
        """What `SearchResult.citation` names: keys of entries known to tnjax, or BibTeX entries."""
        return ()

    def model(self, network: TensorNetwork) -> Any:
        """What a network that was found is good for, in the words of the problem; None if that is
        the network itself. It becomes `SearchResult.model`."""
        return None

    def balanced(self, network: TensorNetwork) -> TensorNetwork:
        """The same tensor by cores of other scales, which solvers use between two steps: those at
        which the penalties of the cores are least, or equal norms."""
        return TensorNetwork(network.structure, balance(network.cores))

    @property
    def resolution(self) -> float:
        """One unit of rounding of `error`, by the dtype of the data; 0 where it is not known."""
        return 0.0

    @property
    def undecided(self) -> tuple[str, ...]:
        """Names of the strengths that held-out entries are to choose before a search."""
        return ()

    # Devices ---------------------------------------------------------------------------------

    @property
    def mesh(self) -> Mesh | None:
        """The devices that the data lie on and that networks are shared out over; None for one."""
        return None

    def on_host(self: AnyProblem) -> AnyProblem:
        """The same problem with its data as arrays of NumPy, gathered from all devices."""
        return jax.tree.map(_mesh.on_host, self)

    def placed(self: AnyProblem, mesh: Mesh | None) -> AnyProblem:
        """The same problem on the devices of a mesh, or (None) on one.

        Raises:
            ValueError: if the problem cannot be placed, or the mesh has other axes than
                `tnjax.make_mesh` gives it.
        """
        if mesh == self.mesh:
            return self
        raise ValueError(f"{type(self).__name__} cannot be placed on a mesh of devices.")

    def _with(self: AnyProblem, **fields: Any) -> AnyProblem:
        """The same problem with other values of some fields, static ones too."""
        other = object.__new__(type(self))
        for field in dataclasses.fields(self):
            value = fields[field.name] if field.name in fields else getattr(self, field.name)
            object.__setattr__(other, field.name, value)
        return other

    def feasible(self, network: TensorNetwork) -> TensorNetwork:
        """The network without what the problem does not allow."""
        if not self.nonnegative:
            return network
        return TensorNetwork(network.structure, [jnp.maximum(core, 0) for core in network.cores])

    def prepared(self, network: TensorNetwork) -> TensorNetwork:
        """A random network as a start for this problem."""
        return network

    def perturbed(self: AnyProblem, noise: Any, *, key: PRNGKeyArray) -> AnyProblem:
        """The problem of data with multiplicative noise: each number times one that is uniform
        between `1 - noise` and `1 + noise`.

        Raises:
            ValueError: where nothing is known of the data.
        """
        raise ValueError(f"{type(self).__name__} cannot perturb its data.")

    def resampled(self: AnyProblem, network: TensorNetwork, *, key: PRNGKeyArray) -> AnyProblem:
        """The problem of data as their source might have given them another time.

        Args:
            network: fitted to the problem, in the units of the solvers: what is taken for true.
            key: from `jax.random.key`.

        Returns:
            for a dense tensor the network plus its residuals in another order; for samples, as many
            of them drawn anew (a bootstrap, by their weights).

        Raises:
            ValueError: where nothing is known of the data.
        """
        raise ValueError(f"{type(self).__name__} cannot resample its data.")

    @property
    def restarts(self) -> bool:
        """Whether a fit from other starts may well be better, where held-out samples judge: the
        search tries some before a bond grows. Not where `named_start` is good and what is left is
        mostly noise."""
        return True

    # Forecasts: what the compiler's tier, capacities and memory limits are chosen by ---------

    @property
    def work(self) -> int:
        """Entries that one evaluation of the loss touches."""
        return math.prod(self.shape)

    def loop_entries(self, structure: Structure) -> int:
        """Entries that elementwise loops touch for one core, the unit of the compiler's tiers."""
        return self.work

    def flops(self, structure: Structure) -> int:
        """Flops of one evaluation of the network where the loss looks at it."""
        return dense_flops(structure)

    def sweep_flops(self, structure: Structure) -> int:
        """Flops of one sweep over the cores; they decide how much room for more ranks a program
        gets."""
        return dense_sweep_flops(structure)

    def normal_operator_flops(self, structure: Structure) -> int:
        """Of one product with the matrix of all cores' least squares (see
        `LeastSquares.normal_operator`)."""
        return 4 * (self.flops(structure) + self.work)

    def fit_peak_bytes(self, structure: Structure) -> int:
        """Bytes that a sweep over the cores has alive at its worst moment, the data included."""
        return dense_fit_peak_bytes(structure, self.dtype)

    # The loss -------------------------------------------------------------------------------

    @property
    def patience(self) -> int:
        """Steps without a lower error that a fit bears beyond its solver's own patience. An error
        that is not what the steps lower (held-out entries) may rise before it falls."""
        return 0

    @abc.abstractmethod
    def loss(self, network: TensorNetwork) -> Real[Array, ""]:
        """The number that solvers make small."""

    @abc.abstractmethod
    def error(self, network: TensorNetwork) -> Real[Array, ""]:
        """The number that is compared with `target_error` and reported."""

    def loss_of_error(self, error: float) -> float:
        """The loss at which `error` has a given value."""
        return error

    @property
    def counted_shape(self) -> tuple[int, ...]:
        """Mode sizes that parameters are counted with: the shape, unless the problem stands for
        a larger one."""
        return self.shape

    def num_params(self, structure: Structure) -> int:
        """Parameters that a structure counts in a search: the core entries that it has at
        `counted_shape`."""
        dims = tuple(self.counted_shape)
        if dims != structure.dims:
            structure = dataclasses.replace(structure, dims=dims)
        return structure.num_params

    def functional_gradient(self, network: TensorNetwork) -> Array:
        """dL/dT, a dense tensor of the problem's shape (steepest ascent, also for complex T)."""
        point = self.linearize(network)
        loss = lambda tensor: self.perturbed_loss(point, self._as_network(tensor))
        return jax.grad(loss)(jnp.zeros(self.shape, self.dtype)).conj()

    def linearize(self, network: TensorNetwork) -> Point:
        """What `perturbed_loss` needs to know of the network: its dense tensor by default."""
        return kernels.dense(network.structure, network.cores)

    def perturbed_loss(self, point: Point, delta: TensorNetwork) -> Real[Array, ""]:
        """The loss at the sum of the linearized network and `delta`. (The default hands `loss` a
        network of a single core, the dense sum.)"""
        return self.loss(self._as_network(self.shifted(point, delta)))

    def shifted(self, point: Point, delta: TensorNetwork) -> Point:
        """The point of the sum of the linearized network and `delta`."""
        return point + kernels.dense(delta.structure, delta.cores)

    def slope(self, point: Point, delta: TensorNetwork) -> Real[Array, ""]:
        """First derivative of the loss along `delta`."""
        return self._along(point, delta, 1)

    def curvature(self, point: Point, delta: TensorNetwork) -> Real[Array, ""]:
        """Second derivative of the loss along `delta`."""
        return self._along(point, delta, 2)

    def sketch(self, num_params: int) -> "Problem":
        """A problem of the same units and shapes to screen candidates on, for networks of about
        `num_params` parameters: less of the same data, where that is enough to tell candidates
        apart."""
        return self

    @property
    def judges(self) -> bool:
        """Whether `judged` knows better than the solver what an added network is worth."""
        return False

    def judged(self, point: Point, delta: TensorNetwork) -> Real[Array, ""]:
        """By how much `delta` lowers the loss that candidates are compared by."""
        return self.perturbed_loss(point, delta * 0) - self.perturbed_loss(point, delta)

    def _as_network(self, tensor: Array) -> TensorNetwork:
        """One core, the tensor."""
        whole = Structure(self.shape, (tuple(range(len(self.shape))),), {})
        return TensorNetwork(whole, [tensor])

    def _along(self, point: Point, delta: TensorNetwork, order: int) -> Array:
        function = lambda t: self.perturbed_loss(point, delta * t)
        for _ in range(order):
            function = _derivative(function)
        return function(jnp.zeros((), jnp.finfo(self.dtype).dtype))


def check_mesh(mesh: Mesh) -> Mesh:
    """The mesh, if it has the axes that problems know."""
    if set(mesh.axis_names) != {_mesh.CANDIDATES, _mesh.DATA}:
        raise ValueError(
            f"mesh: expected the axes {_mesh.CANDIDATES} and {_mesh.DATA}, got "
            f"{', '.join(map(str, mesh.axis_names))}; make it by tnjax.make_mesh."
        )
    return mesh


def _derivative(function):
    return lambda t: jax.jvp(function, (t,), (jnp.ones_like(t),))[1]


class LeastSquares(Problem):
    """A problem that `ALS` can solve: least squares, linear in each core, lower its loss.

    Where it is not `quadratic`, the normal equations are those of a parabola that touches the
    loss at the network.

    Example:
        >>> import jax, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> rank_one = tnjax.Structure.rank_one((3, 4))
        >>> start = tnjax.TensorNetwork.random(rank_one, key=jax.random.key(0))
        >>> gram, rhs = problem.normal_equations(start, 0)
        >>> isinstance(problem, tnjax.LeastSquares), gram.shape, rhs.shape
        (True, (1, 1, 1), (3, 1))
    """

    @property
    def least_squares(self) -> "LeastSquares | None":
        return self

    @property
    def quadratic(self) -> bool:
        """Whether the loss is the sum of the squares of `residual`."""
        return True

    @abc.abstractmethod
    def residual(self, network: TensorNetwork) -> Array:
        """Data minus prediction, scaled so that the loss is the sum of its squared moduli."""

    def tangent(self, network: TensorNetwork, at: TensorNetwork) -> Array:
        """A vector whose Jacobian J makes 2 JᵀJ the curvature of the parabola at `at`."""
        return self.residual(network)

    def layers(self, network: TensorNetwork) -> list[Array] | None:
        """What the normal equations of all nodes share: for each node something that depends on
        its core alone. None where it does not pay."""
        return None

    def layer(self, structure: Structure, node: int, core: Array) -> Array:
        """What `layers` gives for one node, where it gives anything."""
        raise NotImplementedError

    def partial(
        self,
        network: TensorNetwork,
        nodes: tuple[int, ...],
        layers: Sequence[Array] | None = None,
        partial: Any = None,
    ) -> Any:
        """What the normal equations of `nodes` share: the part that the cores of all others make.

        Args:
            network: supplies those cores.
            nodes: at least one.
            layers: those of the network, if they are known.
            partial: what this gave for more nodes, `nodes` among them, if it is known.

        Returns:
            a value for `normal_equations` and for fewer nodes, which stays right while the cores
            of `nodes` change; or None, where a problem has nothing to share.
        """
        return None

    @abc.abstractmethod
    def normal_equations(
        self,
        network: TensorNetwork,
        node: int,
        point: Point = None,
        layers: Sequence[Array] | None = None,
        partial: Any = None,
    ) -> tuple[Array, Array]:
        """The least squares problem for one core, all others fixed.

        Args:
            network: supplies the other cores.
            node: whose core is sought.
            point: if given, the network is an addition to the one linearized there.
            layers: those of the network, if they are known.
            partial: what `partial` gave for nodes of which this is one, if it is known; not with a
                `point`.

        Returns:
            gram: [rows or 1, bonds, bonds]; rhs: [rows, bonds]. Each row x of the core, seen as
            a matrix of legs by bonds, solves gram @ x = rhs.
        """

    @property
    def exact_rows(self) -> bool:
        """Whether the loss is a quadratic function of each core, which `coupled_equations` give."""
        return self.quadratic

    def exact_core(self, node: int) -> bool:
        """`exact_rows` of the core of one node."""
        return self.exact_rows

    def coupled_equations(
        self,
        network: TensorNetwork,
        node: int,
        layers: Sequence[Array] | None = None,
        partial: Any = None,
    ) -> tuple[Array, Array, Callable[[Array], Array] | None]:
        """The normal equations of a core whose rows may be tied to each other.

        Returns:
            gram, rhs: as `normal_equations` gives them, of each row by itself; and what the other
            rows add, a linear function from rows [rows, bonds] to rows (None for nothing): the rows
            x solve gram @ x + tied(x) = rhs.
        """
        gram, rhs = self.normal_equations(network, node, layers=layers, partial=partial)
        return gram, rhs, None

    def normal_operator(
        self, network: TensorNetwork
    ) -> tuple[list[Array], Callable[[TensorNetwork], TensorNetwork]]:
        r"""$J^H J$ for J the derivative of the prediction by all cores at a network.

        Returns:
            grams: its blocks that belong to one core each, as `normal_equations` gives them.
            product: $v \mapsto J^H J v$; v and the result have one array for each core.
        """
        _, forward = jax.linearize(self.residual, network)
        backward = jax.linear_transpose(forward, network)
        conjugate = lambda tree: jax.tree.map(jnp.conj, tree)
        return self._blocks(network), lambda v: conjugate(backward(jnp.conj(forward(v)))[0])

    def _blocks(self, network: TensorNetwork) -> list[Array]:
        nodes, layers = range(network.structure.num_nodes), self.layers(network)
        return [self.normal_equations(network, node, layers=layers)[0] for node in nodes]
