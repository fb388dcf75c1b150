"""`nnx.LinearGeneral` and `nnx.Einsum` as matrices: what is added to the output are rows, what is
taken from the input are columns."""

import dataclasses
import math

import numpy as np
from flax import nnx

_DOTS = "..."


@dataclasses.dataclass(frozen=True)
class EinsumPlan:
    """An equation "input,kernel->output" of a layer, by its letters.

    Attributes:
        inputs, kernel, output: the three terms; a dot stands for an ellipsis.
        rows: letters of the kernel that are in the output.
        columns: letters that kernel and input share and that are summed.
    """

    inputs: str
    kernel: str
    output: str
    rows: str
    columns: str

    def places(self, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """For an input of `ndim` axes: those that are summed, in the order of `columns`; and the
        permutation that takes (the other axes of the input, rows) to the output."""
        extra = ndim - len(self.inputs.replace(".", ""))
        spread = lambda term: [
            name for x in term for name in ([f".{k}" for k in range(extra)] if x == "." else [x])
        ]
        inputs = spread(self.inputs)
        if len(inputs) != ndim:
            raise ValueError(f"An input of {ndim} axes does not fit {self.inputs!r}.")
        left = [name for name in inputs if name not in self.columns] + list(self.rows)
        order = tuple(left.index(name) for name in spread(self.output))
        return tuple(inputs.index(letter) for letter in self.columns), order


def of_einsum(equation: str) -> EinsumPlan:
    """The plan of an equation that `einsum_refusal` accepts."""
    terms, output = equation.replace(" ", "").replace(_DOTS, ".").split("->")
    inputs, kernel = terms.split(",")
    rows = "".join(x for x in kernel if x in output)
    return EinsumPlan(inputs, kernel, output, rows, "".join(x for x in kernel if x in inputs))


def einsum_refusal(layer: nnx.Einsum) -> str | None:
    """Why the kernel of an Einsum is not a matrix from inputs to outputs."""
    if layer.einsum_str is None:
        return "its equation is given with every call."
    plan = of_einsum(layer.einsum_str)
    letters = [plan.inputs, plan.kernel, plan.output]
    batch = set(plan.inputs) & set(plan.kernel) & set(plan.output)
    alone = set(plan.kernel) - set(plan.rows) - set(plan.columns)
    lost = set(plan.inputs) - set(plan.output) - set(plan.columns)
    twice = any(len(set(term)) < len(term) for term in letters)
    if batch or alone or lost or twice or "." in plan.kernel or not (plan.rows and plan.columns):
        return f"its equation {layer.einsum_str!r} is not a product with a matrix."
    return None


def einsum_matrix(layer: nnx.Einsum) -> np.ndarray:
    """The kernel [*stack, rows, columns]."""
    plan, kernel = of_einsum(layer.einsum_str or ""), np.asarray(layer.kernel.get_value())
    stack = kernel.ndim - len(plan.kernel)
    order = [stack + plan.kernel.index(letter) for letter in plan.rows + plan.columns]
    kernel = kernel.transpose(*range(stack), *order)
    rows, _ = einsum_sizes(layer)
    return _as_matrix(kernel, stack, len(rows))


def einsum_sizes(layer: nnx.Einsum) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes of the axes that are rows, and of those that are columns."""
    plan = of_einsum(layer.einsum_str or "")
    size = dict(zip(plan.kernel, layer.kernel_shape, strict=True))
    return tuple(size[x] for x in plan.rows), tuple(size[x] for x in plan.columns)


def general_matrix(layer: nnx.LinearGeneral) -> np.ndarray:
    """The kernel [*stack, rows, columns]."""
    kernel = np.asarray(layer.kernel.get_value())
    inputs, outputs = len(layer.in_features), len(layer.out_features)
    stack = kernel.ndim - inputs - outputs
    order = [*range(stack + inputs, kernel.ndim), *range(stack, stack + inputs)]
    return _as_matrix(kernel.transpose(*range(stack), *order), stack, outputs)


def _as_matrix(kernel: np.ndarray, stack: int, rows: int) -> np.ndarray:
    shape = kernel.shape
    return kernel.reshape(*shape[:stack], math.prod(shape[stack : stack + rows]), -1)
