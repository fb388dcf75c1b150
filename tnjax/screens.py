"""Screens: which bond would pay, all candidates looked at together with the old cores frozen.

A screen of one's own is a `Screen` with `improve`; pass it as `Greedy(screen=...)`. The networks
that candidates add are `candidate_networks`, `over_candidates` looks at them together, and
`slices_only` takes the new slices out of them.
"""

from ._search.screening.candidates import candidate_networks as candidate_networks
from ._search.screening.screens import Screen as Screen
from ._search.screening.screens import Screened as Screened
from ._search.screening.screens import Spectral as Spectral
from ._search.screening.screens import Trial as Trial
from ._search.screening.screens import over_candidates as over_candidates
from ._search.screening.screens import slices_only as slices_only
