r"""Gradients through a fit: what `run` does so that JAX can differentiate what it finds.

- None, the default: a fit is a `while_loop`. It stops as soon as it can and keeps no steps.
  Forward mode (`jax.jvp`) works; reverse mode (`jax.grad`) is refused with a hint.
- `Checkpointed`: the derivative of what was computed, step by step, whether the fit came to its
  end or not; the start counts too. It costs about three forward fits of `max_steps` steps, and
  memory for about $2 \sqrt{\mathrm{max\_steps}}$ networks. Every step must be differentiable in
  reverse mode; the steps of `ALS` and of optax transformations without a line search are.
- `Implicit`: the derivative of the optimum, whatever way led there: of any solver, in memory
  that does not grow with the steps. It needs a fit that has converged (and gives NaN for one that
  has not), and one linear system with the Hessian of the loss.

Take `Implicit` where fits converge and networks are small, and `Checkpointed` for few steps,
for cores that must not be negative, and where the start or an early stop matters.
"""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .._network import TensorNetwork
from .._status import Status
from ..problems import Problem
from ._forward import forward_only
from ._implicit import at_optimum
from .solver import FitState, Limits, Solver, advanced, drive, ended, start


class Adjoint(eqx.Module):
    """How a fit is made to be differentiated.

    Example:
        >>> from tnjax.solve import Adjoint, Checkpointed, Implicit
        >>> isinstance(Checkpointed(every=4), Adjoint), isinstance(Implicit(), Adjoint)
        (True, True)
    """

    @abc.abstractmethod
    def fitted(
        self,
        solver: Solver,
        problem: Problem,
        network: TensorNetwork,
        limits: Limits,
        length: int,
    ) -> FitState:
        """The state at the end of a fit from `network`; its history has the given length."""


class ForwardOnly(Adjoint):
    """No reverse mode: what `adjoint=None` means."""

    def fitted(
        self,
        solver: Solver,
        problem: Problem,
        network: TensorNetwork,
        limits: Limits,
        length: int,
    ) -> FitState:
        state = drive(solver, problem, begun(solver, problem, network, length), limits)
        return jax.tree.map(lambda x: forward_only(x) if eqx.is_inexact_array(x) else x, state)


class Checkpointed(Adjoint):
    r"""Differentiate the steps that were made; most of them are computed again on the way back.

    The loop runs in blocks of `every` steps. The forward pass keeps the state before each block;
    the backward pass makes a block again and keeps the state before each of its steps, and makes
    each step again for its derivative. So `max_steps / every + every` states are alive at once,
    and what one step needs.

    Args:
        every: steps in a block, $\lceil \sqrt{\mathrm{max\_steps}} \rceil$ by default.

    Raises:
        ValueError: if `every` is not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from tnjax import ALS, Decomposition, Structure
        >>> from tnjax.solve import Checkpointed, random_start, run
        >>> tensor = jax.random.normal(jax.random.key(0), (4, 5, 6))
        >>> train = Structure.tensor_train((4, 5, 6), 2)
        >>> def error(tensor):
        ...     problem = Decomposition(tensor)
        ...     start = random_start(problem, train, key=jax.random.key(1))
        ...     return run(problem, start, max_steps=5, adjoint=Checkpointed()).error
        >>> jax.grad(error)(tensor).shape
        (4, 5, 6)

    Reference:
        Griewank and Walther, Evaluating Derivatives, chapter 12.
    """

    every: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise ValueError(f"Checkpointed: every={self.every!r}; expected a positive number.")

    def fitted(
        self,
        solver: Solver,
        problem: Problem,
        network: TensorNetwork,
        limits: Limits,
        length: int,
    ) -> FitState:
        every = math.isqrt(length - 1) + 1 if self.every is None else min(self.every, length)

        def one(state: FitState, _) -> tuple[FitState, Array]:
            running = ended(state, limits) == Status.RUNNING.code
            nothing = jnp.full_like(state.best_error, jnp.nan)

            return lax.cond(
                running,
                lambda state: advanced(solver, problem, state, limits),
                lambda state: (state, nothing),
                state,
            )

        def block(state: FitState, _):
            return lax.scan(jax.checkpoint(one, prevent_cse=False), state, length=every)

        state = begun(solver, problem, network, 0)
        blocks = -(-length // every)
        state, history = lax.scan(jax.checkpoint(block, prevent_cse=False), state, length=blocks)
        code = ended(state, limits).astype(state.status.dtype)
        history = history.ravel()[:length]
        return eqx.tree_at(lambda s: (s.status, s.history), state, (code, history))


class Implicit(Adjoint):
    r"""Differentiate the optimum by the implicit function theorem.

    At an optimum x of the loss L(x, data) the gradient g is zero and stays so, whence

    $$\frac{dx}{d\,\mathrm{data}} = -H^{+} \frac{\partial g}{\partial\,\mathrm{data}}$$

    for the Hessian H. A network has many cores for one tensor (its gauge), along which H is zero;
    the pseudo-inverse $H^{+}$ moves the cores without any motion along them. Whatever depends on
    the tensor alone (its entries, its norm, an error) has one derivative, whatever the gauge; the
    derivatives of the cores themselves are those of this choice. The derivative of the error
    is its partial derivative at the optimum, the envelope theorem.

    A loss has to be twice differentiable, and the fit has to have converged: the derivatives are
    NaN where a Newton step would change the loss by more than `tol` of itself. Solvers stop early
    by default, so ask for more, e.g. `ALS(rtol=1e-12, patience=3, max_steps=2000)` or
    `LevenbergMarquardt(rtol=1e-12, max_steps=200)`. A fit keeps the network of the lowest error,
    so where the error is not what the steps make small (held-out entries, a ridge, smoothness)
    that is not the optimum either. The start has no influence.

    Args:
        dense: parameters up to which the Hessian is made and decomposed (its memory grows with
            their square, time with their cube); for larger networks conjugate gradients need only
            products with it.
        rcond: eigenvalues below this share of the largest one count as zero; by default the
            square root of the precision (1.5e-8 in double).
        cg_steps: conjugate gradient iterations at the most, where they are used; NaN is the
            answer where they do not converge, as for ranks higher than the data need.
        tol: see above, and (times `rcond`) how far conjugate gradients go.

    Raises:
        ValueError: by `run`, where the problem asks for nonnegative cores.

    Example:
        >>> import jax
        >>> from tnjax import ALS, Decomposition, Structure
        >>> from tnjax.solve import Implicit, random_start, run
        >>> tensor = jax.random.normal(jax.random.key(0), (3, 4))
        >>> solver = ALS(rtol=1e-7, max_steps=500)
        >>> def corner(tensor):
        ...     problem = Decomposition(tensor)
        ...     start = random_start(problem, Structure.rank_one((3, 4)), key=jax.random.key(1))
        ...     found = run(problem, start, solver=solver, adjoint=Implicit())
        ...     return found.network.to_dense()[0, 0]
        >>> jax.grad(corner)(tensor).shape
        (3, 4)

    Reference:
        Krantz and Parks, The Implicit Function Theorem; Blondel et al., "Efficient and Modular
        Implicit Differentiation", NeurIPS 2022.
    """

    dense: int = eqx.field(static=True, default=1000)
    rcond: float | None = eqx.field(static=True, default=None)
    cg_steps: int = eqx.field(static=True, default=1000)
    tol: float = eqx.field(static=True, default=1e-3)

    def fitted(
        self,
        solver: Solver,
        problem: Problem,
        network: TensorNetwork,
        limits: Limits,
        length: int,
    ) -> FitState:
        if problem.nonnegative:
            raise ValueError(
                "Implicit: an optimum on the border of nonnegative cores is not a zero of the "
                "gradient; use adjoint=Checkpointed()."
            )
        fixed, begin = jax.tree.map(
            lambda x: lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, (problem, network)
        )
        state = drive(solver, fixed, begun(solver, fixed, begin, length), limits)
        rcond = float(jnp.finfo(problem.dtype).eps ** 0.5) if self.rcond is None else self.rcond
        best = at_optimum(
            problem,
            lax.stop_gradient(state.best),
            dense=self.dense,
            rcond=rcond,
            cg_steps=self.cg_steps,
            tol=self.tol,
        )
        error = problem.error(best)
        error = jnp.where(jnp.isfinite(state.best_error), error, state.best_error)
        return eqx.tree_at(lambda s: (s.best, s.best_error), state, (best, error))


def begun(solver: Solver, problem: Problem, network: TensorNetwork, length: int) -> FitState:
    """`start`; under `shard_map` all of the state differs from device to device if the problem or
    the start does, as it will after the first step."""
    state = start(solver, problem, network, length)
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return state
    firsts = [leaf.ravel()[0] for leaf in jax.tree.leaves((problem, network)) if jnp.size(leaf)]
    never = jnp.zeros((), bool)
    for first in firsts:
        never = never & (first != first)
    return jax.tree.map(lambda leaf: jnp.where(never, leaf, leaf), state)
