"""Logarithms of probabilities that a network gives to rows of categories."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Int, Real

from .._network import TensorNetwork
from ..contract import log_rows
from ..contract.log_rows import LogScaled

Kind = Literal["born", "nonnegative"]


def amplitudes(network: TensorNetwork, values: Int[Array, "rows variables"]) -> LogScaled:
    """Entries of the network; -1 sums a variable out."""
    return log_rows.entries(network.structure, network.cores, values)


def squares(
    left: TensorNetwork, right: TensorNetwork, values: Int[Array, "rows variables"]
) -> LogScaled:
    """Real parts of conj(left) * right at the values that are there, summed over those that are
    missing; two networks of one structure."""
    network = log_rows.doubled(left.structure, left.cores, right.cores)
    return log_rows.entries(*network, values).real()


def overlap(left: TensorNetwork, right: TensorNetwork) -> LogScaled:
    """The real part of the inner product of two networks."""
    args = left.structure, left.cores, right.structure, right.cores
    return log_rows.overlap(*args).real()


def mass(network: TensorNetwork) -> LogScaled:
    """The sum of all entries."""
    values = jnp.full((1, len(network.dims)), -1, jnp.int32)
    found = amplitudes(network, values)
    return LogScaled(found.mantissa[0], found.log[0])


def normalization(kind: Kind, network: TensorNetwork) -> LogScaled:
    """What probabilities are divided by."""
    return overlap(network, network) if kind == "born" else mass(network)


def unnormalized(
    kind: Kind, network: TensorNetwork, values: Int[Array, "rows variables"], complete: bool
) -> Real[Array, " rows"]:
    """Logarithms of the probabilities of rows, up to the normalization.

    Args:
        kind: of the density.
        network: with its cores.
        values: of the variables, -1 where they are missing, shape [rows, variables].
        complete: whether no value is missing, which makes it cheaper for "born".
    """
    if kind == "nonnegative":
        return amplitudes(network, values).log_abs()
    if complete:
        return 2 * amplitudes(network, values).log_abs()
    return squares(network, network, values).log_abs()
