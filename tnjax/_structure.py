"""The graph and the ranks of a tensor network, without any array."""

import dataclasses
import functools
import itertools
import json
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import _display
from ._canonical import canonical
from ._formats import Formats, all_pairs

Edge = tuple[int, ...]

_JSON_FORMAT = "tnjax.structure"
_JSON_VERSION = 1


def as_edge(nodes: Iterable[int]) -> Edge:
    """The canonical name of a bond: the sorted tuple of the nodes that carry it.

    Raises:
        ValueError: if fewer than two different nodes are named, or one twice.
    """
    edge = tuple(sorted(_ints(nodes, "nodes of a bond")))
    if len(edge) < 2 or len(set(edge)) != len(edge):
        raise ValueError(
            f"A bond needs two or more different nodes; got {tuple(edge)}. "
            "Name each node once, e.g. (0, 1), or (0, 1, 2) for a hyperedge."
        )
    return edge


class Ranks(dict):
    """The ranks of bonds: a dict that cannot be changed. (`dataclasses.asdict` and `copy.deepcopy`
    know a dict; of another mapping they make no copy.)"""

    def _fixed(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "The bonds of a structure cannot be changed; make another structure, e.g. by "
            "with_rank, grow or shrink."
        )

    __setitem__ = __delitem__ = __ior__ = _fixed  # type: ignore
    clear = pop = popitem = setdefault = update = _fixed  # type: ignore

    def __reduce__(self) -> tuple:
        return type(self), (dict(self),)


@dataclasses.dataclass(frozen=True, repr=False)
class Structure(Formats):
    r"""A tensor network without its numbers: nodes, open legs, bonds and ranks.

    Node $k$ carries the open legs `legs[k]` (mode numbers of the represented tensor;
    none for an internal node) and one axis for every bond that touches it. A bond on
    three or more nodes is a hyperedge: one index shared by all of them, so that a CP
    decomposition is a structure like any other. A bond of rank 1 carries nothing and is
    the same as no bond; it is dropped on construction. Two structures are equal if they
    have the same dims, legs and bonds: bonds have no names of their own.

    The core of node $k$ has its legs first, in mode order, then its bonds in sorted order of
    their node tuples: see `core_shape` and `core_edges`.

    Args:
        dims: sizes of the modes of the represented tensor.
        legs: for each node, the modes that it carries; every mode on exactly one node.
        edges: rank of each bond, keyed by the nodes that carry it, `{(i, j): rank}`.

    Raises:
        ValueError: if a mode is missing or carried twice, a size or rank is not a positive
            integer, a bond names an unknown node, or two bonds join the same nodes.

    Example:
        >>> from tnjax import Structure
        >>> ring = Structure.from_edges((4, 5, 6), {(0, 1): 2, (1, 2): 3, (0, 2): 2})
        >>> ring
        Structure(dims=4x5x6, edges={0-1: 2, 0-2: 2, 1-2: 3}, params=82, compression=1.46x)
        >>> ring.core_shape(1)
        (5, 2, 3)
        >>> ring.grow((0, 1)).edges[0, 1]
        3

    Reference:
        Hashemizadeh, Liu, Miller, Rabusseau, arXiv 2008.05437, section 2.
    """

    dims: tuple[int, ...]
    legs: tuple[tuple[int, ...], ...]
    edges: Mapping[Edge, int]

    def __post_init__(self) -> None:
        dims = _positive_ints(self.dims, "dims")
        if not dims:
            raise ValueError("A structure needs one or more modes; dims is empty.")
        legs = tuple(tuple(sorted(_ints(node, "legs"))) for node in self.legs)
        carried = sorted(itertools.chain.from_iterable(legs))
        if carried != list(range(len(dims))):
            raise ValueError(
                f"Every mode 0..{len(dims) - 1} must be on exactly one node; "
                f"legs={legs} carry the modes {carried}."
            )
        edges: dict[Edge, int] = {}
        for nodes, rank in dict(self.edges).items():
            edge = as_edge(nodes)
            if edge[0] < 0 or edge[-1] >= len(legs):
                raise ValueError(
                    f"Bond {edge} names a node outside 0..{len(legs) - 1}. "
                    "Nodes are numbered from 0; give `num_nodes` or `legs` to add internal nodes."
                )
            if edge in edges:
                raise ValueError(
                    f"Two bonds join the nodes {edge}. Merge them into one bond whose rank is "
                    "the product of the ranks."
                )
            edges[edge] = _positive_ints((rank,), f"rank of bond {edge}")[0]
        edges = {edge: edges[edge] for edge in sorted(edges) if edges[edge] > 1}
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "legs", legs)
        object.__setattr__(self, "edges", Ranks(edges))

    # Constructors ---------------------------------------------------------------------

    @classmethod
    def from_edges(
        cls,
        dims: Sequence[int],
        edges: Mapping[Edge, int],
        *,
        legs: Sequence[Sequence[int]] | None = None,
        num_nodes: int | None = None,
    ) -> "Structure":
        """A structure from its bonds.

        Without `legs`, node k carries mode k, and nodes past `len(dims)` are internal. There
        are as many nodes as `dims`, the highest node named by a bond, or `num_nodes` ask for
        (give `legs` or `num_nodes`, not both).

        Example:
            >>> from tnjax import Structure
            >>> Structure.from_edges((4, 5), {(0, 2): 2, (1, 2): 2}).num_nodes
            3
        """
        dims = tuple(dims)
        if legs is not None and num_nodes is not None:
            raise ValueError("Give `legs` or `num_nodes`, not both: legs name every node.")
        if legs is None:
            named = [max(as_edge(edge)) + 1 for edge in edges]
            count = max([len(dims), num_nodes or 0, *named])
            legs = [(node,) if node < len(dims) else () for node in range(count)]
        return cls(dims, tuple(tuple(node) for node in legs), edges)

    # Reading --------------------------------------------------------------------------

    @property
    def ranks(self) -> tuple[int, ...]:
        """Ranks of the bonds, in the order of `edges`."""
        return tuple(self.edges.values())

    @property
    def num_nodes(self) -> int:
        """Number of nodes, internal ones included."""
        return len(self.legs)

    @property
    def num_params(self) -> int:
        """Number of core entries (the gauge freedom is not subtracted)."""
        return sum(math.prod(self.core_shape(node)) for node in range(self.num_nodes))

    @property
    def compression_ratio(self) -> float:
        """Entries of the dense tensor divided by `num_params`."""
        try:
            return math.prod(self.dims) / self.num_params
        except OverflowError:
            return math.inf

    @functools.cached_property
    def _core_edges(self) -> tuple[tuple[Edge, ...], ...]:
        found: list[list[Edge]] = [[] for _ in self.legs]
        for edge in self.edges:
            for node in edge:
                found[node].append(edge)
        return tuple(map(tuple, found))

    def core_edges(self, node: int) -> tuple[Edge, ...]:
        """The bonds of a core, in the order of its bond axes."""
        return self._core_edges[node]

    def core_shape(self, node: int) -> tuple[int, ...]:
        """Sizes of a core: its open legs, then its bonds."""
        return tuple(self.dims[mode] for mode in self.legs[node]) + tuple(
            self.edges[edge] for edge in self.core_edges(node)
        )

    def axis(self, node: int, edge: Edge) -> int:
        """Axis of the core of `node` that is its bond `edge`."""
        return len(self.legs[node]) + self.core_edges(node).index(as_edge(edge))

    def rank(self, edge: Iterable[int]) -> int:
        """Rank of a bond; 1 where there is none."""
        edge = as_edge(edge)
        if edge[0] < 0 or edge[-1] >= self.num_nodes:
            raise ValueError(f"Bond {edge} names a node outside 0..{self.num_nodes - 1}.")
        return self.edges.get(edge, 1)

    def degree(self, node: int) -> int:
        """Number of bonds of a node."""
        return len(self.core_edges(node))

    # Changing -------------------------------------------------------------------------

    def with_rank(self, edge: Iterable[int], rank: int) -> "Structure":
        """The same structure with `edge` at `rank`; rank 1 removes the bond."""
        edge = as_edge(edge)
        self.rank(edge)
        return self._with_ranks({**self.edges, edge: _positive_ints((rank,), "rank")[0]})

    def _with_ranks(self, ranks: Mapping[Edge, int]) -> "Structure":
        """Other ranks of bonds among these nodes, known to be sound: searches make thousands."""
        other = object.__new__(Structure)
        edges = {edge: ranks[edge] for edge in sorted(ranks) if ranks[edge] > 1}
        vars(other).update(dims=self.dims, legs=self.legs, edges=Ranks(edges))
        return other

    def grow(self, edge: Iterable[int], by: int = 1) -> "Structure":
        """`by` ranks more on `edge`; a bond that is not there has rank 1.

        Raises:
            ValueError: if `by` is not a positive integer or the edge names an unknown node.
        """
        by = _positive_ints((by,), "by")[0]
        return self.with_rank(edge, self.rank(edge) + by)

    def shrink(self, edge: Iterable[int], by: int = 1) -> "Structure":
        """`by` ranks less on `edge`; at rank 1 the bond is gone.

        Raises:
            ValueError: if the rank would fall below 1.
        """
        edge = as_edge(edge)
        by = _positive_ints((by,), "by")[0]
        if self.rank(edge) - by < 1:
            raise ValueError(
                f"Cannot take {by} from the rank {self.rank(edge)} of bond {edge}: "
                "the smallest rank is 1."
            )
        return self.with_rank(edge, self.rank(edge) - by)

    def relabel(self, nodes: Sequence[int], modes: Sequence[int] | None = None) -> "Structure":
        """Rename nodes and modes: new node `a` is old node `nodes[a]`, likewise for modes.

        Example:
            >>> from tnjax import Structure
            >>> Structure.tensor_train((2, 3, 4), 2).relabel([1, 0, 2]).edges
            {(0, 1): 2, (0, 2): 2}
        """
        modes = range(len(self.dims)) if modes is None else modes
        _check_permutation(nodes, self.num_nodes, "nodes")
        _check_permutation(modes, len(self.dims), "modes")
        new_node = {old: new for new, old in enumerate(nodes)}
        new_mode = {old: new for new, old in enumerate(modes)}
        return Structure(
            tuple(self.dims[mode] for mode in modes),
            tuple(tuple(sorted(new_mode[mode] for mode in self.legs[node])) for node in nodes),
            {tuple(new_node[node] for node in edge): rank for edge, rank in self.edges.items()},
        )

    def canonical(self) -> "Structure":
        """One representative of all structures that differ only in the order of nodes and modes.

        Example:
            >>> from tnjax import Structure
            >>> a = Structure.tensor_train((4, 5, 6), (2, 3))
            >>> b = Structure.tensor_train((6, 5, 4), (3, 2))
            >>> a == b, a.canonical() == b.canonical()
            (False, True)
        """
        return canonical(self)

    # Dunder and files -----------------------------------------------------------------

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        return hash((self.dims, self.legs, tuple(self.edges.items())))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Structure):
            return NotImplemented
        return self is other or (
            self.dims == other.dims and self.legs == other.legs and self.edges == other.edges
        )

    def __repr__(self) -> str:
        dims = "x".join(map(str, self.dims))
        edges = ", ".join(f"{'-'.join(map(str, e))}: {r}" for e, r in self.edges.items())
        natural = all(
            legs == ((node,) if node < len(self.dims) else ())
            for node, legs in enumerate(self.legs)
        )
        where = "" if natural else f", legs={self.legs}"
        if natural and self.num_nodes > len(self.dims):
            where = f", internal={self.num_nodes - len(self.dims)}"
        return (
            f"Structure(dims={dims}{where}, edges={{{edges}}}, params={self.num_params}, "
            f"compression={self.compression_ratio:.3g}x)"
        )

    def _repr_html_(self) -> str | None:
        return _display.as_html(self)

    def __getstate__(self) -> dict[str, Any]:
        return json.loads(self.to_json())

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(Structure.from_json(json.dumps(state)).__dict__)

    def to_json(self) -> str:
        """Versioned JSON text; `from_json` reads it back.

        Example:
            >>> from tnjax import Structure
            >>> cp = Structure.cp((3, 4, 5), 2)
            >>> Structure.from_json(cp.to_json()) == cp
            True
        """
        return json.dumps(
            {
                "format": _JSON_FORMAT,
                "version": _JSON_VERSION,
                "dims": self.dims,
                "legs": self.legs,
                "edges": [{"nodes": edge, "rank": rank} for edge, rank in self.edges.items()],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Structure":
        """A structure from the text that `to_json` gave.

        Raises:
            ValueError: if the text is not a structure of a known version.
        """
        try:
            data = json.loads(text)
            if data["format"] != _JSON_FORMAT:
                raise ValueError(f"not a {_JSON_FORMAT}")
            if data["version"] != _JSON_VERSION:
                raise ValueError(
                    f"format version {data['version']!r} is not known to this tnjax (it reads "
                    f"version {_JSON_VERSION}); a newer release may read it"
                )
            legs = tuple(tuple(node) for node in data["legs"])
            edges = {tuple(item["nodes"]): item["rank"] for item in data["edges"]}
            if len(edges) != len(data["edges"]):
                raise ValueError("two bonds join the same nodes")
            return cls(tuple(data["dims"]), legs, edges)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"Not a structure in JSON: {error!r}.") from error
        except ValueError as error:
            raise ValueError(f"Not a structure in JSON: {error}") from error


def all_edges(structure: Structure) -> tuple[Edge, ...]:
    """All pairs of nodes, and the hyperedges that are there."""
    more = (edge for edge in structure.edges if len(edge) > 2)
    return (*all_pairs(structure.num_nodes), *more)


def _ints(values: Iterable, what: str) -> list[int]:
    try:
        return [operator.index(value) for value in values]
    except TypeError:
        raise ValueError(f"{what}: expected integers, got {values!r}.") from None


def _positive_ints(values: Iterable, what: str) -> tuple[int, ...]:
    out = []
    for value in values:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            number = 0
        if isinstance(value, bool) or number != value or number < 1:
            raise ValueError(f"{what}: expected positive integers, got {value!r}.")
        out.append(number)
    return tuple(out)


def _check_permutation(values: Sequence[int], count: int, what: str) -> None:
    if sorted(values) != list(range(count)):
        raise ValueError(f"{what}: expected a permutation of 0..{count - 1}, got {list(values)}.")
