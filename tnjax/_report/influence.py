"""The part of a report on what single entries of a completion do."""

from .._network import TensorNetwork
from ..problems import Completion
from ..solve import Influence, influence
from .run_complete import Observed
from .sections import Table


def influence_table(
    observed: Observed, problem: Completion, network: TensorNetwork, count: int
) -> Table:
    """The training entries that move the network most, by their labels where they have some.

    Args:
        observed: where the entries come from.
        problem: that was solved, with held-out entries.
        network: found by the search.
        count: of entries.
    """
    found = influence(problem, network)
    picked = found.farthest(count)
    named = observed.modes if observed.dims == observed.source_shape else None
    names = [f"mode {m}" for m in range(len(observed.dims))]
    if named is not None:
        names = [mode.name for mode in named]
    rows = []
    for entry in picked:
        places = [int(k) for k in found.indices[entry]]
        words = places if named is None else [m.labels[k] for m, k in zip(named, places)]
        rows.append((", ".join(map(str, words)), *_numbers(found, int(entry))))
    return Table(
        "Entries that move the network most",
        (", ".join(names), "residual", "distance", "harm"),
        rows,
        "Residual: observed minus predicted. Distance: how far an entry by itself moves all "
        "predictions (Cook); wrong entries are among the first. Harm: by how much the held-out "
        "error would fall without it, negative where it helps.",
    )


def _numbers(found: Influence, entry: int) -> tuple[float, float, float]:
    residual, distance, harm = (x[entry] for x in (found.residual, found.distance, found.harm))
    return float(residual), float(distance), float(harm)
