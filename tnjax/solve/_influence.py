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
        dense: parameters up to which the system is solved by a Cholesky factor, and leverages are
            exact ...
        dense_rows: ... if parameters times entries are not more.
        least_room: one minus a leverage counts as no less.
    """

    damping: float = 1e-6
    cg_steps: int = 300
    cg_rtol: float = 1e-6
    probes: int = 32
    dense: int = 1000
    dense_rows: int = 20_000_000
    least_room: float = 0.05


INFLUENCING = tuned("influence", Influencing(), traced=True)


class Influence(NamedTuple):
    """What training entries do.

    Attributes:
        harm: by how much the held-out error would fall without an entry; negative where it helps.
        distance: Cook's: how far an entry by itself moves the predictions of all entries, squared,
            in units of the loss. A wrong entry is far from what the others predict: it has a large
            distance, whichever way the others move the held-out error meanwhile.
        residual: of each entry, observed minus predicted, in the units of the data.
        indices: of the entries [entries, modes].

    Example:
        >>> import numpy as np
        >>> from tnjax.solve import Influence
        >>> harm, distance = np.array([0.1, 0.3]), np.array([2.0, 0.5])
        >>> found = Influence(harm, distance, np.ones(2), np.array([[0, 1], [2, 0]]))
        >>> found.most_harmful(1).tolist(), found.farthest(1).tolist()
        ([1], [0])
    """

    harm: Float[np.ndarray, " entries"]
    distance: Float[np.ndarray, " entries"]
    residual: Float[np.ndarray, " entries"]
    indices: Int[np.ndarray, "entries modes"]

    def most_harmful(self, count: int) -> np.ndarray:
        """Numbers of the training entries whose absence would help most, those first."""
        return np.argsort(-self.harm, kind="stable")[:count]

    def farthest(self, count: int) -> np.ndarray:
        """Numbers of the training entries of the largest distance, those first: where to look for
        wrong ones."""
        return np.argsort(-self.distance, kind="stable")[:count]


def influence(problem: Completion, result: Any, *, sweeps: int = 20) -> Influence:
    r"""What each training entry does to the held-out error, without fitting anew.

    At the minimum of the loss $\sum_s w_s \ell_s + P$ the cores depend on the weights by the
    implicit function theorem. Taking entry s away moves them by
    $H^{-1} w_s \nabla \ell_s / (1 - h_s)$ for the Gauss-Newton matrix H and the leverage $h_s$ of
    the entry, and the held-out error by the product of that with its gradient. One linear system
    serves all entries; it is solved by conjugate gradients and never formed. Leverages are
    exact for small networks, and estimated by products of H with random vectors for others.

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
        >>> found.indices[found.farthest(1)].tolist()
        [[2, 3]]

    Reference:
        Cook, Technometrics 19 (1977); Koh and Liang, "Understanding Black-box Predictions via
        Influence Functions", ICML 2017.
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
    harm, distance, residual = jax.device_get(ran.value)
    count = problem.training.count
    indices = np.asarray(problem.training.indices)[:count]
    residual = residual[:count] * problem.scale
    return Influence(harm[:count], distance[:count], residual, indices)


def _harms(problem: Completion, network: TensorNetwork) -> tuple[Array, Array, Array]:
    """Harm, distance and residual of all training entries."""
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

    slope = jax.grad(lambda x: problem.error(at(x)))(x)
    roots = jnp.sqrt(curvature)
    rows = INFLUENCING().dense_rows
    if x.size <= INFLUENCING().dense and x.size * prediction.size <= rows:
        direction, leverage = _dense(forward, product, roots, slope)
    else:
        direction, leverage = _estimated(forward, backward, product, roots, slope)
    room = jnp.maximum(1 - jnp.clip(leverage, 0, 1), INFLUENCING().least_room)
    gradient = samples.weights * loss.gradient(prediction, samples.values)
    harm = -gradient * forward(direction) / room
    safe = jnp.where(curvature > 0, curvature, 1)
    distance = gradient**2 / safe * jnp.maximum(leverage, 0) / room**2
    return harm, distance, samples.values - prediction


def _dense(forward, product, roots: Array, slope: Array) -> tuple[Array, Array]:
    """The solution of H v = slope, and the leverages, by a Cholesky factor."""
    eye = jnp.eye(slope.size, dtype=slope.dtype)
    matrix = jax.vmap(product)(eye)
    mean = jnp.trace(matrix) / slope.size
    factor = jnp.linalg.cholesky((matrix + matrix.T) / 2 + INFLUENCING().damping * mean * eye)
    rows = roots[None] * jax.vmap(forward)(eye)  # [parameters, entries]
    half = jax.scipy.linalg.solve_triangular(factor, rows, lower=True)
    direction = jax.scipy.linalg.cho_solve((factor, True), slope)
    return direction, jnp.sum(half**2, 0)


def _estimated(forward, backward, product, roots: Array, slope: Array) -> tuple[Array, Array]:
    """The same by conjugate gradients, and leverages by random signs."""
    shape = (INFLUENCING().probes, roots.size)
    signs = jax.random.rademacher(jax.random.key(0), shape, slope.dtype)
    pulled = jax.vmap(lambda z: backward(roots * z)[0])(signs)
    mean = jnp.mean(jnp.sum(pulled**2, 1)) / slope.size
    damped = lambda v: product(v) + INFLUENCING().damping * mean * v
    steps = INFLUENCING().cg_steps
    solve = lambda b: cg(damped, b, tol=INFLUENCING().cg_rtol, maxiter=steps)[0]
    hat = lambda z: roots * forward(solve(z))
    return solve(slope), jnp.mean(signs * jax.vmap(hat)(pulled), 0)
