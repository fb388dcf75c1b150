"""A model of any framework as named layers and named arrays."""

import abc
import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array

from ._layout import Layout
from ._linear import Forward

Network = tuple[Layout, Sequence[Any]]
Kind = Literal["linear", "conv", "embedding"]


@dataclasses.dataclass(frozen=True)
class Slot:
    """A layer that a network can replace.

    Attributes:
        name: path in the model, "blocks.0.expand"; "" where the layer is the model. A dot inside
            of a key is written as backslash and dot.
        kind: "linear", "conv" or "embedding".
        matrix: its dense weight [rows, columns]: outputs by inputs, out by in x prod(kernel), or
            entries by size; [*stack, rows, columns] of stacked layers.
        bias: its bias [*stack, rows], if it has one.
        layout: of the network that it is already, if it is one.
        shared: names of other layers that hold the same weight, and get the same cores.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax.nn import adapter_for
        >>> model = eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0))
        >>> slot = adapter_for(model).slots(model)["layers.0"]
        >>> slot.kind, slot.matrix.shape, slot.bias.shape
        ('linear', (8, 4), (8,))
    """

    name: str
    kind: Kind
    matrix: np.ndarray
    bias: np.ndarray | None
    layout: Layout | None = None
    shared: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Entries of the dense weight."""
        return self.matrix.size

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of one matrix."""
        return self.matrix.shape[-2], self.matrix.shape[-1]

    @property
    def stack(self) -> tuple[int, ...]:
        """Sizes of the axes that stack layers of one shape (`vmap`, `scan`); mostly none."""
        return self.matrix.shape[:-2]


@dataclasses.dataclass(frozen=True)
class Skipped:
    """What was asked for by a pattern and left as it is.

    Attributes:
        name: path in the model.
        reason: why.

    Example:
        >>> import equinox as eqx, jax, tnjax
        >>> first = eqx.nn.WeightNorm(eqx.nn.Linear(4, 4, key=jax.random.key(0)))
        >>> model = [first, eqx.nn.Linear(4, 4, key=jax.random.key(1))]
        >>> [skipped.name for skipped in tnjax.compress(model, layers="*", budget=8).skipped]
        ['0']
    """

    name: str
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class Build:
    """Builds a model from its floating arrays. Two builds are equal if they do the same, so that
    compiled programs are found again for another model of the same structure.

    Attributes:
        names: of all leaves.
        others: leaves that are not floating arrays.
        structure: what holds the leaves together, hashable.
        assemble: `assemble(names, leaves, structure)`, a module-level function.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax.nn import adapter_for
        >>> model = eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0))
        >>> arrays, build = adapter_for(model).arrays(model)
        >>> eqx.tree_equal(build(arrays), model).item()
        True
    """

    names: tuple[Any, ...]
    others: Mapping[str, Any]
    structure: Any
    assemble: Callable[..., Any]

    def __call__(self, arrays: Mapping[str, Array]) -> Any:
        return self.assemble(self.names, {**self.others, **arrays}, self.structure)

    def __hash__(self) -> int:
        return hash((self.names, self.structure))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Build)
            and (self.names, self.structure) == (other.names, other.structure)
            and all(_same(x, other.others.get(name)) for name, x in self.others.items())
        )


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, np.ndarray | Array):
        if not isinstance(y, np.ndarray | Array) or x.dtype != y.dtype or x.shape != y.shape:
            return False
        if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        return np.array_equal(np.asarray(x), np.asarray(y))
    return x is y or bool(x == y)


class Adapter(abc.ABC):
    """What compression asks of a framework. `adapter_for` gives the one of a model.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax.nn import adapter_for, init_cores, low_rank
        >>> model = eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0))
        >>> layout = low_rank(8, 4, 2)
        >>> cores = init_cores(layout, key=jax.random.key(1), variance=0.1)
        >>> adapter = adapter_for(model)
        >>> smaller = adapter.replaced(model, {"layers.0": (layout, cores)})
        >>> adapter.layouts(smaller) == {"layers.0": layout}
        True
    """

    @abc.abstractmethod
    def slots(self, model: Any) -> dict[str, Slot]:
        """All layers that can be replaced, in the model's order."""

    def layouts(self, model: Any) -> dict[str, Layout]:
        """The layouts of the layers that are networks."""
        return {s.name: s.layout for s in self.slots(model).values() if s.layout is not None}

    def refused(self, model: Any) -> dict[str, str]:
        """Layers and matrices that no network can replace, with the reasons."""
        return {}

    def dense_weights(self, model: Any) -> dict[str, tuple[str, np.ndarray]]:
        """Of every network: the name of its weight in the dense layer, and the weight rebuilt with
        the axes that it has there."""
        raise NotImplementedError

    def materialized(self, model: Any) -> Any:
        """The model with zeros in place of shapes, where it was made by `eval_shape`."""
        return model

    @abc.abstractmethod
    def replaced(
        self,
        model: Any,
        networks: Mapping[str, Network],
        biases: Mapping[str, np.ndarray] | None = None,
        *,
        forward: Forward | None = None,
    ) -> Any:
        """A new model with networks in place of layers; other parts shared with the old one.

        Args:
            model: not changed.
            networks: layout and cores of every layer to replace, by its name.
            biases: in place of the layers' own.
            forward: how the new layers compute; `Forward()` by default.
        """

    @abc.abstractmethod
    def arrays(self, model: Any) -> tuple[dict[str, Array], Build]:
        """All floating arrays by path, and the pure function that builds the model of them."""


def pick(
    slots: Mapping[str, Slot],
    patterns: str | Iterable[str],
    refused: Mapping[str, str] | None = None,
) -> list[Slot]:
    """The slots that the patterns name ("*" and "?" match as in a shell), in the model's order.

    Args:
        slots: by name.
        patterns: one or several.
        refused: what cannot be compressed, by name, with the reason: told where a pattern names
            nothing else.

    Returns:
        Those whose name one of the patterns matches.

    Raises:
        ValueError: if there is no pattern, or one names no layer; the message lists those that
            there are.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax.nn import adapter_for
        >>> from tnjax.nn.model import pick
        >>> model = eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0))
        >>> [slot.name for slot in pick(adapter_for(model).slots(model), "layers.*")]
        ['layers.0', 'layers.1']
    """
    patterns = as_patterns(patterns)
    if not patterns:
        raise ValueError(f"compress: `layers` names nothing. {_known(slots)}")
    for pattern in patterns:
        if any(named(name, [pattern]) for name in slots):
            continue
        for name, reason in (refused or {}).items():
            if named(name, [pattern]):
                raise ValueError(
                    f"compress: {name or 'the model'!r} cannot be compressed: {reason}"
                )
        raise ValueError(f"compress: no layer is named {pattern!r}. {_known(slots)}")
    return [slot for name, slot in slots.items() if named(name, patterns)]


def as_patterns(patterns: str | Iterable[str]) -> list[str]:
    """Patterns as a list, where one was given as well."""
    return [patterns] if isinstance(patterns, str) else list(patterns)


def named(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns matches a name."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _known(slots: Mapping[str, Slot]) -> str:
    names = [name or "the model itself (layers='*')" for name in list(slots)[:20]]
    more = ", ..." if len(slots) > 20 else ""
    return f"Layers that can be compressed: {', '.join(names)}{more}."


def joined(*parts: Any) -> str:
    """A path of parts; dots inside of a part are escaped, so that different paths differ.

    Example:
        >>> from tnjax.nn.model import joined
        >>> joined("blocks", 0, "a.b")
        'blocks.0.a\\\\.b'
    """
    return ".".join(str(part).replace(".", "\\.") for part in parts)


def below(name: str, part: str) -> str:
    """The path of a part of a layer; of the model itself where the name is empty.

    Args:
        name: of the layer.
        part: path inside of it.

    Returns:
        The path in the model.

    Example:
        >>> from tnjax.nn.model import below
        >>> below("fc", "bias"), below("", "bias")
        ('fc.bias', 'bias')
    """
    return f"{name}.{part}" if name else part


def core_names(slot_name: str, layout: Layout) -> list[str]:
    """Paths of the cores of a replaced layer.

    Args:
        slot_name: of the layer.
        layout: in its place.

    Returns:
        A path in `Adapter.arrays` for each of `layout.nodes`.

    Example:
        >>> from tnjax.nn import low_rank
        >>> from tnjax.nn.model import core_names
        >>> core_names("fc", low_rank(3, 4, 2))
        ['fc.cores.0', 'fc.cores.1']
    """
    return [below(slot_name, f"cores.{k}") for k in range(len(layout.core_shapes))]
