"""What a layer costs when it runs: measured seconds, and the compiler's account of memory."""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ._layout import Layout
from ._linear import Mode, apply
from ._task import jit


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One layer at one batch size.

    Attributes:
        batch: vectors.
        forward, backward: median seconds of W x, and of the gradients of a loss of it with respect
            to cores and x (its forward pass included).
        forward_bytes, backward_bytes: arguments, results and temporaries, as the compiler plans
            them.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax.nn import dense_layout, layer_cost
        >>> cost = layer_cost(dense_layout(8, 8), [jnp.ones((8, 8))], 4, repeats=1)
        >>> cost.batch, cost.forward > 0
        (4, True)
    """

    batch: int
    forward: float
    backward: float
    forward_bytes: int
    backward_bytes: int


def layer_cost(
    layout: Layout,
    cores: Sequence[Any],
    batch: int,
    *,
    mode: Mode = "auto",
    checkpoint: bool = False,
    repeats: int = 10,
) -> LayerCost:
    """Measure a layer on the default device.

    Args:
        layout, cores: of the layer; `dense_layout` gives the dense layer to compare with.
        batch: vectors at once.
        mode, checkpoint: of the forward pass.
        repeats: timed runs, after two that are not.

    Returns:
        Seconds and bytes of the forward and the backward pass.

    Raises:
        ValueError: if the mode is unknown.

    Example:
        >>> import jax
        >>> from tnjax.nn import init_cores, layer_cost, low_rank
        >>> layout = low_rank(8, 8, 2)
        >>> cores = init_cores(layout, key=jax.random.key(0), variance=1.0)
        >>> layer_cost(layout, cores, 4, repeats=1).forward > 0
        True
    """
    cores = tuple(jnp.asarray(core) for core in cores)
    x = jnp.ones((batch, layout.columns), cores[0].dtype)
    forward = lambda cores, x: apply(layout, cores, x, mode=mode, checkpoint=checkpoint)
    backward = jax.grad(lambda cores, x: jnp.sum(forward(cores, x) ** 2), argnums=(0, 1))
    found = []
    for function in (forward, backward):
        program = jit(function).lower(cores, x).compile()
        memory = program.memory_analysis()
        size = 0
        if memory is not None:
            size = memory.temp_size_in_bytes + memory.argument_size_in_bytes
            size += memory.output_size_in_bytes
        times = []
        for _ in range(repeats + 2):
            begin = time.perf_counter()
            jax.block_until_ready(program(cores, x))
            times.append(time.perf_counter() - begin)
        found.append((statistics.median(times[2:]), size))
    (forward_s, forward_b), (backward_s, backward_b) = found
    return LayerCost(batch, forward_s, backward_s, forward_b, backward_b)
