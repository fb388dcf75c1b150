"""Lattices whose every site holds one tensor: partition functions by coarse graining."""

from ._coarse import CoarseGrained as CoarseGrained
from ._coarse import coarse_grain as coarse_grain
from ._coarse import scaling_dimensions as scaling_dimensions
from ._cubic import CubicGrained as CubicGrained
from ._cubic import coarse_grain_cubic as coarse_grain_cubic
from ._models import ising as ising
from ._models import log_partition as log_partition
from ._models import potts as potts
