"""A model of any framework as named layers and named arrays."""

import abc
import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Array

from ._layout import Layout

Network = tuple[Layout, Sequence[Any]]
Kind = Literal["linear", "conv", "embedding"]


@dataclasses.dataclass(frozen=True)
class Slot:
    """A layer that a network can replace.

    Attributes:
        name: path in the model, "blocks.0.expand".
        kind: "linear", "conv" or "embedding".
        matrix: its dense weight [rows, columns]: outputs by inputs, out by in x prod(kernel), or
            entries by size.
        bias: its bias, if it has one.
        layout: of the network that it is already, if it is one.
    """

    name: str
    kind: Kind
    matrix: np.ndarray
    bias: np.ndarray | None
    layout: Layout | None = None

    @property
    def size(self) -> int:
        """Entries of the dense weight."""
        return self.matrix.size


class Adapter(abc.ABC):
    """What compression asks of a framework."""

    @abc.abstractmethod
    def slots(self, model: Any) -> dict[str, Slot]:
        """All layers that can be replaced, in the model's order."""

    def layouts(self, model: Any) -> dict[str, Layout]:
        """The layouts of the layers that are networks."""
        return {s.name: s.layout for s in self.slots(model).values() if s.layout is not None}

    @abc.abstractmethod
    def replaced(
        self,
        model: Any,
        networks: Mapping[str, Network],
        biases: Mapping[str, np.ndarray] | None = None,
        **options,
    ) -> Any:
        """A new model with networks in place of layers; other parts shared with the old one."""

    @abc.abstractmethod
    def arrays(self, model: Any) -> tuple[dict[str, Array], Callable[[dict[str, Array]], Any]]:
        """All floating arrays by path, and the pure function that builds the model of them."""


def adapter_for(model: Any) -> Adapter:
    """The adapter of a model's framework.

    Raises:
        ValueError: if it is neither an Equinox module (or pytree of them) nor a Flax nnx module.
    """
    from flax import nnx

    if isinstance(model, nnx.Module):
        from ._flax_model import FlaxAdapter

        return FlaxAdapter()
    from ._equinox_model import EquinoxAdapter

    adapter = EquinoxAdapter()
    if not isinstance(model, type) and adapter.slots(model):
        return adapter
    raise ValueError(
        f"compress: expected an Equinox model or a Flax nnx module with linear, convolution or "
        f"embedding layers, got {type(model).__name__}."
    )


def pick(slots: Mapping[str, Slot], patterns: str | Iterable[str]) -> list[Slot]:
    """The slots that the patterns name ("*" and "?" match as in a shell), in the model's order.

    Raises:
        ValueError: if a pattern names no layer; the message lists those that there are.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in slots):
            known = ", ".join(list(slots)[:20]) + (", ..." if len(slots) > 20 else "")
            raise ValueError(
                f"compress: no layer is named {pattern!r}. Layers that can be compressed: {known}."
            )
    chosen = lambda name: any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    return [slot for name, slot in slots.items() if chosen(name)]


def core_names(slot_name: str, layout: Layout) -> list[str]:
    """Paths of the cores of a replaced layer."""
    return [f"{slot_name}.cores.{k}" for k in range(len(layout.core_shapes))]
