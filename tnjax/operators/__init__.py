"""Operators on many sites as sums of products of small matrices, and standard models of them."""

from ._blocks import Blocks as Blocks
from ._models import heisenberg as heisenberg
from ._models import j1j2 as j1j2
from ._models import lattice_edges as lattice_edges
from ._models import transverse_ising as transverse_ising
from ._sum import SumOfProducts as SumOfProducts
