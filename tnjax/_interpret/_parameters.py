"""The parameters of an equation, and which of them were looked at."""

from collections.abc import Iterator, Mapping
from typing import Any

from jax.extend.core import JaxprEqn

from ._unsupported import PASSED_ON, Unsupported

# Parameters that change how a compiler gets to the numbers, where they lie, or what derivatives
# see, but not the numbers; or that say of the result what its type says too.
_OF_NO_EFFECT = frozenset(
    {
        "accuracy",
        "dimensions",  # of squeeze and expand_dims: the result's shape says so
        "fill_value",  # of gathers out of bounds, which are refused
        "ft_out",  # of scan: groups of its results
        "index_dtype",
        "indices_are_sorted",
        "input_dtype",
        "new_sizes",
        "out_sharding",
        "precision",
        "preferred_element_type",
        "sharding",
        "shape",
        "unique_indices",
        "unroll",
        "update_consts",  # of scatter, which replaces
        "update_jaxpr",
        "weak_type",
    }
)


class Parameters(Mapping[str, Any]):
    """Those of one equation, as a context in which the equation is understood.

    Raises:
        Unsupported: at the end, if it was not: for any exception inside; and for a parameter that
            nobody looked at, unless it is None, False, or of no effect.
    """

    def __init__(self, name: str, params: Mapping[str, Any]):
        self._name, self._params = name, params
        self._read: set[str] = set()

    @classmethod
    def of(cls, eqn: JaxprEqn) -> "Parameters":
        return cls(eqn.primitive.name, eqn.params)

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return self._params[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    def __enter__(self) -> "Parameters":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if kind is not None:
            if issubclass(kind, Exception) and not issubclass(kind, (Unsupported, *PASSED_ON)):
                raise Unsupported(f"the operation {self._name} with {list(self)}") from error
            return
        for name in sorted(self._params.keys() - self._read - _OF_NO_EFFECT):
            if self._params[name] is not None and self._params[name] is not False:
                raise Unsupported(f"the operation {self._name} with {name}={self._params[name]!r}")
