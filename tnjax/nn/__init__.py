"""Neural networks with tensor-network layers, and their compression.

The layers are in `tnjax.nn.equinox` and `tnjax.nn.flax`; a `Layout` says how a weight is a network.
"""

from ._allocate import Blocks as Blocks
from ._allocate import Family as Family
from ._allocate import LowRank as LowRank
from ._allocate import allocate as allocate
from ._compress import compress as compress
from ._files import load_model as load_model
from ._files import read_weights as read_weights
from ._files import save_model as save_model
from ._formats import block_tensor_train as block_tensor_train
from ._formats import factor as factor
from ._formats import low_rank as low_rank
from ._formats import monarch as monarch
from ._formats import paired as paired
from ._formats import tr_matrix as tr_matrix
from ._formats import tt_matrix as tt_matrix
from ._formats import tucker_matrix as tucker_matrix
from ._growth.grow import Grow as Grow
from ._growth.grow import GrowStep as GrowStep
from ._growth.screening import Candidate as Candidate
from ._growth.screening import GradientScreen as GradientScreen
from ._growth.screening import LayerScreen as LayerScreen
from ._growth.screening import TrialScreen as TrialScreen
from ._layout import Forecast as Forecast
from ._layout import Layout as Layout
from ._linear import Forward as Forward
from ._linear import core_fans as core_fans
from ._linear import init_cores as init_cores
from ._linear import learning_rate_scales as learning_rate_scales
from ._project import Projection as Projection
from ._project import project as project
from ._result import Comparison as Comparison
from ._result import CompressedLayer as CompressedLayer
from ._result import CompressResult as CompressResult
from ._spectra import Spectra as Spectra
from ._spectra import approximate as approximate
from ._tap import dense_layout as dense_layout
from ._task import Calibration as Calibration
from ._task import Task as Task
from ._task import validate as validate
from ._timing import LayerCost as LayerCost
from ._timing import layer_cost as layer_cost
from ._torch_file import read_torch as read_torch
from ._training import Trained as Trained
from ._training import Training as Training
from ._training import train as train
from .adapters import adapter_for as adapter_for
from .layer_types import LayerAdapter as LayerAdapter
from .layer_types import register_layer as register_layer
from .model import Adapter as Adapter
from .model import Skipped as Skipped
from .model import Slot as Slot
