"""Evolution of tree tensor networks in time."""

from ._evolve import Evolution as Evolution
from ._evolve import evolve as evolve
