"""Problems: what a network should represent, as a loss with its derivatives."""

from ._base import LeastSquares as LeastSquares
from ._base import Problem as Problem
from ._completion import Completion as Completion
from ._custom import NetworkSum as NetworkSum
from ._custom import Objective as Objective
from ._decomposition import Decomposition as Decomposition
from ._losses import Bernoulli as Bernoulli
from ._losses import Huber as Huber
from ._losses import Loss as Loss
from ._losses import Poisson as Poisson
from ._losses import Squared as Squared
from ._sparse import SparseDecomposition as SparseDecomposition
from ._streamed_completion import SampleSource as SampleSource
from ._streamed_completion import StreamedCompletion as StreamedCompletion
from ._streamed_completion import completion_bytes as completion_bytes
from .coordinates import split_entries as split_entries
from .held_out import HeldOut as HeldOut
from .held_out import held_out_like as held_out_like
from .samples import Sampled as Sampled
from .samples import Samples as Samples
from .scales import Scales as Scales
from .scales import standardized as standardized
from .scales import standardized_entries as standardized_entries
from .streamed import Slabs as Slabs
from .streamed import StreamedDecomposition as StreamedDecomposition
from .streamed import memory_of_machine as memory_of_machine
