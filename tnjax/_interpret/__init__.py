"""Traced programs run by NumPy, operation by operation, so that nothing is compiled.

XLA takes a third of a second and more to compile what a search of a small tensor then runs for a
tenth. The time of such programs goes into matrix products, which NumPy does as fast, so on CPU
they may as well be interpreted: the same function, traced by JAX to a jaxpr as for a compilation,
in the same precision. A program with an operation that is not known here is compiled.
"""

from ._lower import lower
from ._operations import Unsupported
from ._program import Program

__all__ = ["Program", "Unsupported", "lower"]
