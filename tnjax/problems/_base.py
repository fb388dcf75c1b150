"""What every problem offers to the solvers and to the search."""

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Real

from .. import _mesh
from .._network import TensorNetwork
from .._structure import Structure
from ..contract.cost import dense_fit_peak_bytes, dense_flops, dense_sweep_flops

Point = Any
AnyProblem = TypeVar("AnyProblem", bound="Problem")


class Problem(eqx.Module):
    """A loss of a tensor, seen through a network that represents it.

    The engine asks for three things: the loss of a network, a `Point` (whatever of the loss at a
    network is worth computing once), and the loss at that point when a second network is added.
    Growth by one rank adds a network (design of the candidates), so that `slope` and
    `curvature` along an added network are all that screening needs. Subclasses override what
    they can compute more cheaply than these derivatives by autodiff.

    Attributes of every problem: `shape` of the tensor, `dtype` of the cores that fit it, and
    `scale`: solvers see the problem with the tensor divided by this number.

    Example:
        >>> import jax, jax.numpy as jnp, tnjax
        >>> class Quartic(tnjax.Problem):
        ...     target: jax.Array
        ...     shape = property(lambda self: self.target.shape)
        ...     dtype = property(lambda self: self.target.dtype)
        ...     def linearize(self, network):
        ...         return network.to_dense() - self.target
        ...     def shifted(self, point, delta):
        ...         return point + delta.to_dense()
        ...     def perturbed_loss(self, point, delta):
        ...         return jnp.sum(self.shifted(point, delta) ** 4)
        ...     def loss(self, network):
        ...         return jnp.sum(self.linearize(network) ** 4)
        ...     def error(self, network):
        ...         return self.loss(network) ** 0.25
        >>> rank_one = tnjax.Structure.rank_one((3, 4))
        >>> tnjax.fit(Quartic(jnp.ones((3, 4))), rank_one, key=jax.random.key(0)).error < 0.1
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
        whole = Structure(self.shape, (tuple(range(len(self.shape))),), {})  # one core, the tensor
        loss = lambda tensor: self.perturbed_loss(point, TensorNetwork(whole, [tensor]))
        return jax.grad(loss)(jnp.zeros(self.shape, self.dtype)).conj()

    @abc.abstractmethod
    def linearize(self, network: TensorNetwork) -> Point:
        """What `perturbed_loss` needs to know of the network."""

    @abc.abstractmethod
    def perturbed_loss(self, point: Point, delta: TensorNetwork) -> Real[Array, ""]:
        """The loss at the sum of the linearized network and `delta`."""

    @abc.abstractmethod
    def shifted(self, point: Point, delta: TensorNetwork) -> Point:
        """The point of the sum of the linearized network and `delta`."""

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

    @abc.abstractmethod
    def normal_equations(
        self,
        network: TensorNetwork,
        node: int,
        point: Point = None,
        layers: Sequence[Array] | None = None,
    ) -> tuple[Array, Array]:
        """The least squares problem for one core, all others fixed.

        Args:
            network: supplies the other cores.
            node: whose core is sought.
            point: if given, the network is an addition to the one linearized there.
            layers: those of the network, if they are known.

        Returns:
            gram: [rows or 1, bonds, bonds]; rhs: [rows, bonds]. Each row x of the core, seen as
            a matrix of legs by bonds, solves gram @ x = rhs.
        """

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
