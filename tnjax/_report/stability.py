"""The part of a report on bonds that come back."""

from .._search.stability import Stability
from .sections import Table


def stability_table(found: Stability) -> Table:
    """How often searches on resampled data joined each two nodes."""
    note = (
        f"{len(found.structures)} more searches, each on the network plus its residuals in another "
        "order. Frequency: the share of them that joined these nodes; bonds near 1 are in the "
        "data, others may follow noise. Mean rank: where they did."
    )
    if found.elsewhere:
        note += f" {found.elsewhere:.3g} bonds a search led to nodes that this network lacks."
    rows = [(f"{a}-{b}", rank, share, mean) for a, b, rank, share, mean in found.rows]
    return Table("Bonds that come back", ("nodes", "rank", "frequency", "mean rank"), rows, note)
