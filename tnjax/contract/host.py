"""Networks contracted on the host, slab by slab: no program, and no more memory than a slab.

Always pairwise along the planned path. (`numpy.einsum` with `optimize` holds intermediates to the
size of its largest operand; where that is too small, it loops over all labels at once.)
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import opt_einsum

from .._structure import Structure
from .equation import Equation, dense_equation
from .path import plan


def contract(equation: Equation, operands: Sequence[np.ndarray]) -> np.ndarray:
    """Evaluate an equation of one operand or more, in the dtype of the operands."""
    words = [item for pair in zip(operands, equation.inputs, strict=True) for item in pair]
    path = [step.positions for step in plan(equation).steps]
    return np.asarray(opt_einsum.contract(*words, equation.output, optimize=path))


def dense_slab(
    structure: Structure, cores: Sequence[np.ndarray], ranges: Mapping[int, slice]
) -> np.ndarray:
    """The dense tensor of a network at some indices of some modes.

    Args:
        structure: of the network.
        cores: its arrays.
        ranges: the indices, by mode; all of the other modes.

    Example:
        >>> import numpy as np
        >>> from tnjax import Structure
        >>> from tnjax.contract.host import dense_slab
        >>> cores = [np.arange(3.0), np.ones(2)]
        >>> dense_slab(Structure.rank_one((3, 2)), cores, {0: slice(1, 3)})
        array([[1., 1.],
               [2., 2.]])
    """
    cut, dims = [np.asarray(core) for core in cores], list(structure.dims)
    for node, legs in enumerate(structure.legs):
        for axis, mode in enumerate(legs):
            if mode in ranges:
                cut[node] = cut[node][(slice(None),) * axis + (ranges[mode],)]
                dims[mode] = cut[node].shape[axis]
    equation = dense_equation(dataclasses.replace(structure, dims=tuple(dims)))
    return contract(equation, cut)
