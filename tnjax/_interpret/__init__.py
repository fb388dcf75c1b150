"""Traced programs run by NumPy, operation by operation, so that nothing is compiled.

XLA takes a third of a second and more to compile what a search of a small tensor then runs for a
tenth. The time of such programs goes into matrix products, which NumPy does as fast, so on CPU
they may as well be interpreted: the same function, traced by JAX to a jaxpr as for a compilation,
in the same precision. What is not understood here, when a program is made or when it runs, is
compiled: jaxprs are nothing that JAX promises to keep.
"""

from ._guard import Interpreted, interpreted
from ._lower import lower
from ._program import Program
from ._unsupported import Unsupported

__all__ = ["Interpreted", "Program", "Unsupported", "interpreted", "lower"]
