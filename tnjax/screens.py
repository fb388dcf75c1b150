"""Screens: which bond would pay, all candidates looked at together with the old cores frozen.

A screen of one's own is a `Screen` module; pass it as `Greedy(screen=...)`.
"""

from ._search.screening.screens import Screen as Screen
from ._search.screening.screens import Screened as Screened
from ._search.screening.screens import Spectral as Spectral
from ._search.screening.screens import Trial as Trial
