"""A matrix as a tensor network: which modes are rows, which columns, and what a product costs."""

import dataclasses
import functools
import math
from typing import Any, Literal

import numpy as np

from .._structure import Structure
from .._tuned import cached, tuned
from ..contract.equation import Equation, Labels, batch_label, node_labels
from ..contract.equation import sizes as label_sizes
from ..contract.path import plan


@dataclasses.dataclass(frozen=True)
class LayoutCosts:
    """Forecasts of a layer's forward pass.

    Attributes:
        flops_per_entry: flops that cost as much as moving one entry: products of small matrices are
            bound by memory, large ones are not. Only ratios of forecasts are compared, so that a
            rough value does.
    """

    flops_per_entry: int = 16


LAYOUT_COSTS = tuned("layer_layout", LayoutCosts(), traced=True)


@dataclasses.dataclass(frozen=True)
class Layout:
    r"""How a weight $W$ [rows, columns] is a tensor network.

    The modes of `structure` are the digits of the row index, then those of the column index, most
    significant first (row-major, as NumPy reshapes). Sizes that do not factor are padded: the
    network represents a matrix of `padded_rows` by `padded_columns`, of which W is the upper left
    part.

    A node in `copies` holds the identity: its mode lies on all nodes of its one bond, as in
    block-diagonal factors. It has no core of its own and no parameters, and the contraction uses
    the mode in place of the bond.

    Args:
        structure: graph, dims and ranks.
        num_row_modes: number of modes that are rows (outputs of a layer); the rest are columns.
        rows, columns: sizes of the matrix; the products of the dims by default.
        copies: nodes that hold the identity.

    Raises:
        ValueError: if the sizes do not fit, or a copy is not one leg and one bond of its size.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.nn import Layout
        >>> train = Structure.from_edges((4, 4, 4, 4), {(0, 1): 2}, legs=((0, 2), (1, 3)))
        >>> layout = Layout(train, 2, rows=15)
        >>> layout
        Layout(15x16, rows=4x4, columns=4x4, edges={0-1: 2}, params=64, compression=3.75x)
    """

    structure: Structure
    num_row_modes: int
    rows: int = 0
    columns: int = 0
    copies: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        structure, count = self.structure, self.num_row_modes
        if not 0 < count < len(structure.dims):
            raise ValueError(
                f"Layout: num_row_modes={count}, but {structure} has {len(structure.dims)} modes; "
                "rows and columns need one or more each."
            )
        for name, padded in (("rows", self.padded_rows), ("columns", self.padded_columns)):
            size = getattr(self, name) or padded
            if not 0 < size <= padded:
                raise ValueError(
                    f"Layout: {name}={size} do not fit into the dims of {structure}, which hold "
                    f"{padded}. Give larger dims; a smaller matrix is padded."
                )
            object.__setattr__(self, name, int(size))
        object.__setattr__(self, "copies", tuple(sorted(self.copies)))
        for node in self.copies:
            if not 0 <= node < structure.num_nodes:
                raise ValueError(f"Layout: copies name node {node}, which {structure} lacks.")
            shape = structure.core_shape(node)
            if len(structure.legs[node]) != 1 or len(shape) != 2 or shape[0] != shape[1]:
                raise ValueError(
                    f"Layout: node {node} cannot be a copy: it needs one leg and one bond of the "
                    f"leg's size, but its core has the shape {shape}."
                )
            (edge,) = structure.core_edges(node)
            if set(edge) & set(self.copies) != {node}:
                raise ValueError(f"Layout: the copies {edge} share a bond.")

    # Sizes ----------------------------------------------------------------------------

    @property
    def padded_rows(self) -> int:
        """Product of the row digits, `rows` or more."""
        return math.prod(self.structure.dims[: self.num_row_modes])

    @property
    def padded_columns(self) -> int:
        """Product of the column digits, `columns` or more."""
        return math.prod(self.structure.dims[self.num_row_modes :])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return self.rows, self.columns

    @functools.cached_property
    def nodes(self) -> tuple[int, ...]:
        """The nodes that have a core: all but the copies."""
        return tuple(k for k in range(self.structure.num_nodes) if k not in self.copies)

    @property
    def core_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of the core of each of `nodes`."""
        return tuple(self.structure.core_shape(node) for node in self.nodes)

    @property
    def num_params(self) -> int:
        """Entries of all cores; copies have none."""
        return sum(math.prod(shape) for shape in self.core_shapes)

    def __repr__(self) -> str:
        dims, count = self.structure.dims, self.num_row_modes
        word = lambda sizes: "x".join(map(str, sizes))
        edges = ", ".join(
            f"{'-'.join(map(str, edge))}: {rank}" for edge, rank in self.structure.edges.items()
        )
        copies = f", copies={self.copies}" if self.copies else ""
        return (
            f"Layout({self.rows}x{self.columns}, rows={word(dims[:count])}, "
            f"columns={word(dims[count:])}, edges={{{edges}}}{copies}, params={self.num_params}, "
            f"compression={self.rows * self.columns / self.num_params:.3g}x)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold; `from_dict` reads them back."""
        return {
            "structure": self.structure.to_json(),
            "num_row_modes": self.num_row_modes,
            "rows": self.rows,
            "columns": self.columns,
            "copies": list(self.copies),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Layout":
        """Raises `ValueError` for anything but what `to_dict` gave."""
        try:
            return cls(
                Structure.from_json(data["structure"]),
                int(data["num_row_modes"]),
                int(data["rows"]),
                int(data["columns"]),
                tuple(int(node) for node in data["copies"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"Layout: damaged description ({error!r}).") from error

    # Equations ------------------------------------------------------------------------

    @functools.cached_property
    def _labels(self) -> tuple[tuple[Labels, ...], dict[int, int]]:
        """Labels of the cores, a copy's mode in place of its bond; size of every label."""
        swap = {}
        for node in self.copies:
            mode, bond = node_labels(self.structure, node)
            swap[bond] = mode
        cores = [
            tuple(swap.get(label, label) for label in node_labels(self.structure, node))
            for node in self.nodes
        ]
        return tuple(cores), label_sizes(self.structure)

    def core_labels(self, node: int) -> Labels:
        """Labels of a core's axes: mode numbers, then bonds."""
        return self._labels[0][self.nodes.index(node)]

    def weight_equation(self) -> Equation:
        """All cores -> the tensor of rows and columns."""
        cores, sizes = self._labels
        return Equation.create(cores, tuple(range(len(self.structure.dims))), sizes)

    def apply_equation(self, batch: int, *, transpose: bool = False) -> Equation:
        """A batch of vectors and all cores -> the batch of products with W (or W^T)."""
        cores, sizes = self._labels
        modes = tuple(range(len(self.structure.dims)))
        rows, columns = modes[: self.num_row_modes], modes[self.num_row_modes :]
        source, target = (rows, columns) if transpose else (columns, rows)
        label = batch_label(self.structure)
        inputs = [(label, *source), *cores]
        return Equation.create(inputs, (label, *target), {**sizes, label: batch})

    def rows_equation(self, count: int) -> Equation:
        """Rows of the cores, gathered at `count` row indices -> those rows of W."""
        cores, sizes = self._labels
        label = batch_label(self.structure)
        inputs = []
        for core in cores:
            rest = tuple(x for x in core if x >= self.num_row_modes)
            inputs.append(((label,) if len(rest) < len(core) else ()) + rest)
        columns = tuple(range(self.num_row_modes, len(self.structure.dims)))
        return Equation.create(inputs, (label, *columns), {**sizes, label: count})

    # Forecasts ------------------------------------------------------------------------

    def forecast(self, batch: int, dtype: Any = np.float32) -> "Forecast":
        """What a forward pass of `batch` vectors costs in either way."""
        return _forecast(self, int(batch), np.dtype(dtype).itemsize)


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Flops and bytes of a forward pass: contracting the cores into the input, or rebuilding the
    weight and multiplying, and what the dense layer would cost.

    Attributes:
        input_flops, input_bytes: with the cores contracted into the input.
        weight_flops, weight_bytes: with the weight rebuilt.
        dense_flops, dense_bytes: of the dense layer.
        input_score, weight_score: flops plus a charge for entries moved, as compared by `best`.

    Example:
        >>> from tnjax.nn import low_rank
        >>> forecast = low_rank(64, 64, 4).forecast(batch=1)
        >>> forecast.input_flops, forecast.dense_flops, forecast.best
        (1024, 8192, 'input')
    """

    input_flops: int
    input_bytes: int
    weight_flops: int
    weight_bytes: int
    dense_flops: int
    dense_bytes: int
    input_score: float
    weight_score: float

    @property
    def best(self) -> Literal["input", "weight"]:
        """ "input" or "weight": the lower score, flops plus a charge for entries moved."""
        return "input" if self.input_score <= self.weight_score else "weight"


@cached(maxsize=4096)
def _forecast(layout: Layout, batch: int, itemsize: int) -> Forecast:
    into = plan(layout.apply_equation(batch))
    build = plan(layout.weight_equation())
    padded = layout.padded_rows * layout.padded_columns
    vectors = batch * (layout.padded_rows + layout.padded_columns)
    product = 2 * batch * padded
    weight_peak = max(build.peak_size, layout.num_params + padded + vectors)
    return Forecast(
        input_flops=into.flops,
        input_bytes=into.peak_size * itemsize,
        weight_flops=build.flops + product,
        weight_bytes=weight_peak * itemsize,
        dense_flops=2 * batch * layout.rows * layout.columns,
        dense_bytes=(layout.rows * layout.columns + batch * (layout.rows + layout.columns))
        * itemsize,
        input_score=into.flops + LAYOUT_COSTS().flops_per_entry * into.moved,
        weight_score=build.flops
        + product
        + LAYOUT_COSTS().flops_per_entry * (build.moved + padded + vectors),
    )
