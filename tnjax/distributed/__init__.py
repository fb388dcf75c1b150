"""One search over many devices and many processes."""

from ._devices import make_mesh as make_mesh
from ._processes import initialize as initialize
