"""What each observed entry does to the held-out error of a fitted completion."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float, Int

from .. import _compile
from .._network import TensorNetwork, scaled
from .._tuned import tuned
from ..problems import Completion
from ._als import ALS
from ._fit import fit


@dataclasses.dataclass(frozen=True)
class Influencing:
    """Linear systems of influence.

    Attributes:
        damping: added to the Gauss-Newton matrix, relative to the mean of its diagonal: gauges of
            the network leave it singular.
        cg_steps: iterations of conjugate gradients at most.
        cg_rtol: relative residual at which they end.
        probes: random vectors by which leverages are estimated.
    """

    damping: float = 1e-6
    cg_steps: int = 300
    cg_rtol: float = 1e-6
    probes: int = 32


INFLUENCING = tuned("influence", Influencing(), traced=True)


class Influence(NamedTuple):
    """What training entries do.

    Attributes:
        harm: by how much the held-out error would fall without an entry; negative where it helps.
        residual: of each entry, observed minus predicted, in the units of the data.
        indices: of the entries [entries, modes].

    Example:
        >>> import numpy as np
        >>> from tnjax.solve import Influence
        >>> found = Influence(np.array([0.1, 0.3]), np.ones(2), np.array([[0, 1], [2, 0]]))
        >>> found.most_harmful(1).tolist()
        [1]
    """

    harm: Float[np.ndarray, " entries"]
    residual: Float[np.ndarray, " entries"]
    indices: Int[np.ndarray, "entries modes"]

    def most_harmful(self, count: int) -> np.ndarray:
        """Numbers of the training entries whose absence would help most, those first."""
        return np.argsort(-self.harm, kind="stable")[:count]


def influence(problem: Completion, result: Any, *, sweeps: int = 20) -> Influence:
    r"""What each training entry does to the held-out error, without fitting anew.

    At the minimum of the loss $\sum_s w_s \ell_s + P$ the cores depend on the weights by the
    implicit function theorem. Taking entry s away moves them by
    $H^{-1} w_s \nabla \ell_s / (1 - h_s)$ for the Gauss-Newton matrix H and the leverage $h_s$ of
    the entry, and the held-out error by the product of that with its gradient. One linear system
    serves all entries; it is solved by conjugate gradients and never formed. Leverages are
    estimated by products of H with random vectors.

    Args:
        problem: with held-out entries.
        result: of `fit` or `search` on it, or a network.
        sweeps: by which the cores are first led to the minimum of the training loss, where the
            theorem holds: what a fit keeps is the best on held-out entries. 0 if they are there.

    Returns:
        The harm of every training entry, in units of the held-out error.

    Raises:
        ValueError: if nothing is held out, or the cores are complex or nonnegative.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> x = np.outer(np.arange(1.0, 9), np.arange(1.0, 8))
        >>> x[2, 3] += 9  # a wrong entry
        >>> train = tnjax.Structure.rank_one(x.shape)
        >>> held = [5, 20, 33, 47, 50]
        >>> problem = tnjax.Completion(np.argwhere(x > 0), x.ravel(), x.shape, validation=held)
        >>> found = tnjax.influence(problem, tnjax.fit(problem, train, key=jax.random.key(0)))
        >>> found.indices[found.most_harmful(1)].tolist()
        [[2, 3]]

    Reference:
        Koh and Liang, "Understanding Black-box Predictions via Influence Functions", ICML 2017.
    """
    network = result if isinstance(result, TensorNetwork) else result.network
    if problem.held_out is None:
        raise ValueError('influence: the problem holds nothing out; give it validation="auto".')
    if problem.nonnegative or jnp.issubdtype(problem.dtype, jnp.complexfloating):
        raise ValueError("influence: expected real cores that may have any sign.")
    network = network.astype(problem.dtype)
    if sweeps:
        network = fit(problem.without_held_out(), network, solver=ALS(), max_steps=sweeps).network
    inner = scaled(network, 1 / problem.scale)
    work = INFLUENCING().cg_steps * problem.work
    ran = _compile.run(_harms, (), (problem, inner), work=work, passes=INFLUENCING().cg_steps)
    harm, residual = jax.device_get(ran.value)
    count = problem.training.count
    indices = np.asarray(problem.training.indices)[:count]
    return Influence(harm[:count], residual[:count] * problem.scale, indices)


def _harms(problem: Completion, network: TensorNetwork) -> tuple[Array, Array]:
    """Harm and residual of all training entries."""
    x, unravel = ravel_pytree(network.cores)
    at = lambda x: TensorNetwork(network.structure, unravel(x))
    samples, loss = problem.training, problem.loss_function
    prediction, forward = jax.linearize(lambda x: problem.linearize(at(x)).training, x)
    backward = jax.linear_transpose(forward, x)
    curvature = samples.weights * loss.weight(prediction, samples.values)
    penalty = jax.grad(lambda x: problem.penalties(at(x)))

    def product(v: Array) -> Array:
        data = backward(curvature * forward(v))[0]
        return data + jax.jvp(penalty, (x,), (v,))[1]

    key = jax.random.key(0)
    signs = jax.random.rademacher(key, (INFLUENCING().probes, prediction.size), x.dtype)
    # tr(J' C J), each diagonal by random signs.
    pulled = jax.vmap(lambda z: backward(jnp.sqrt(curvature) * z)[0])(signs)
    mean = jnp.mean(jnp.sum(pulled**2, 1)) / x.size
    damped = lambda v: product(v) + INFLUENCING().damping * mean * v
    solve = lambda b: cg(damped, b, tol=INFLUENCING().cg_rtol, maxiter=INFLUENCING().cg_steps)[0]
    slope = jax.grad(lambda x: problem.error(at(x)))(x)
    direction = solve(slope)
    hat = lambda z: jnp.sqrt(curvature) * forward(solve(backward(jnp.sqrt(curvature) * z)[0]))
    leverage = jnp.mean(signs * jax.vmap(hat)(signs), 0)
    room = jnp.maximum(1 - jnp.clip(leverage, 0, 1), 0.05)
    gradient = samples.weights * loss.gradient(prediction, samples.values)
    return -gradient * forward(direction) / room, samples.values - prediction
