"""One search over many devices and many processes, and a forecast of what it costs."""

from .._contract.step import StepCost as StepCost
from .._contract.step import dense_screen as dense_screen
from .._contract.step import dense_sweep as dense_sweep
from .._contract.step import sample_sweep as sample_sweep
from ._devices import make_mesh as make_mesh
from ._processes import initialize as initialize
