"""Every structure that a search fitted, and which of them no other one beats."""

import dataclasses
from collections.abc import Iterable, Iterator

from .._network import TensorNetwork, scaled
from .._storable import storable
from .._structure import Structure
from ..problems import Problem
from .strategy import Fit

COSTS = ("num_params", "flops", "peak_bytes")


@storable
@dataclasses.dataclass(frozen=True)
class Record:
    """One fitted structure.

    Attributes:
        structure: which one.
        error: of its fit; a fit that was given up early only bounds what the structure can do.
        num_params: core entries, as the problem counts them.
        flops: of one evaluation of the network, as the problem forecasts them.
        peak_bytes: forecast of what a fit has alive at its worst moment.
        network: the fitted network, kept while no other record beats this one.

    Example:
        >>> from tnjax import Record, Structure
        >>> rank_one = Structure.rank_one((3, 4))
        >>> Record(rank_one, error=0.1, num_params=7, flops=24, peak_bytes=96).error
        0.1
    """

    structure: Structure
    error: float
    num_params: int
    flops: int
    peak_bytes: int
    network: TensorNetwork | None = None


@storable
@dataclasses.dataclass(frozen=True)
class Archive:
    """All structures that a search fitted, accepted or not, in the order of their fits.

    A record keeps its network as long as no other one is at least as good in error, parameters,
    flops and bytes together, so that a choice by any of them finds a network.

    Attributes:
        records: one for each fitted structure.

    Example:
        >>> import jax, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> archive = tnjax.search(problem, key=jax.random.key(0), target_error=0.1).archive
        >>> len(archive), archive.choose("flops", target_error=0.1).num_params
        (1, 7)
    """

    records: tuple[Record, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        kept = sum(record.network is not None for record in self.records)
        return f"Archive({len(self)} structures, {kept} with networks)"

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def add(self, problem: Problem, fits: Iterable[Fit]) -> "Archive":
        """The archive with more fits; their cores are in units of the problem."""
        records = list(self.records)
        for fit in fits:
            structure = fit.structure
            record = Record(
                structure,
                float(fit.error),
                problem.num_params(structure),
                problem.flops(structure),
                problem.fit_peak_bytes(structure),
            )
            kept = [n for n, old in enumerate(records) if old.network is not None]
            if any(_beats(records[n], record) for n in kept):
                records.append(record)
                continue
            for n in kept:
                if _beats(record, records[n]):
                    records[n] = dataclasses.replace(records[n], network=None)
            network = TensorNetwork(structure, fit.cores)
            records.append(dataclasses.replace(record, network=network))
        return Archive(tuple(records))

    def scaled(self, factor: float) -> "Archive":
        """The same archive with all networks times a factor."""
        grown = lambda network: None if network is None else scaled(network, factor)
        return Archive(
            tuple(dataclasses.replace(r, network=grown(r.network)) for r in self.records)
        )

    def pareto(self, cost: str = "num_params") -> tuple[Record, ...]:
        """The records that no other one beats in error and a cost, the cheapest first.

        Args:
            cost: "num_params", "flops" or "peak_bytes".

        Raises:
            ValueError: for another cost.
        """
        check_cost(cost)
        best, front = float("inf"), []
        for record in sorted(self.records, key=lambda r: (getattr(r, cost), r.error)):
            if record.error < best and record.network is not None:
                best = record.error
                front.append(record)
        return tuple(front)

    def choose(
        self,
        by: str = "num_params",
        *,
        target_error: float | None = None,
        max_params: int | None = None,
        max_flops: int | None = None,
        max_peak_bytes: int | None = None,
    ) -> Record:
        """The best record within limits.

        Args:
            by: what should be small: "num_params", "flops", "peak_bytes" or "error".
            target_error, max_params, max_flops, max_peak_bytes: what it must not exceed.

        Raises:
            ValueError: if no fitted structure is within the limits, or `by` is none of these.
        """
        if by != "error":
            check_cost(by)
        limits = {
            "error": target_error,
            "num_params": max_params,
            "flops": max_flops,
            "peak_bytes": max_peak_bytes,
        }
        allowed = [
            record
            for record in self.records
            if record.network is not None
            and all(v is None or getattr(record, name) <= v for name, v in limits.items())
        ]
        if not allowed:
            asked = ", ".join(f"{name} <= {v:g}" for name, v in limits.items() if v is not None)
            raise ValueError(
                f"None of the {len(self)} fitted structures has {asked}. The lowest error is "
                f"{min(r.error for r in self.records):.4g}; search longer, or ask for less."
            )
        rank = lambda r: (getattr(r, by), r.error, r.num_params, r.flops, r.peak_bytes)
        return min(allowed, key=rank)


def check_cost(cost: str) -> None:
    """Raise `ValueError` unless it names a cost."""
    if cost not in COSTS:
        raise ValueError(f"unknown cost {cost!r}; choose one of {', '.join(COSTS)}.")


def _beats(a: Record, b: Record) -> bool:
    """Whether `a` is at least as good in everything."""
    return a.error <= b.error and all(getattr(a, cost) <= getattr(b, cost) for cost in COSTS)
