"""One search over many devices and many processes, and a forecast of what it costs."""

from ._cost import StepCost as StepCost
from ._cost import dense_screen as dense_screen
from ._cost import dense_sweep as dense_sweep
from ._cost import sample_sweep as sample_sweep
from ._devices import make_mesh as make_mesh
from .processes import initialize as initialize
