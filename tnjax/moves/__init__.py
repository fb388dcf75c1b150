"""Moves of structures as values: apply, inverse and cost."""

from ._base import Composite as Composite
from ._base import Move as Move
from ._bonds import Grow as Grow
from ._bonds import Rerank as Rerank
from ._bonds import Shrink as Shrink
from ._bonds import Swap as Swap
from ._gauge import gauged as gauged
from ._modes import MergeModes as MergeModes
from ._modes import SplitMode as SplitMode
from ._nodes import Merge as Merge
from ._nodes import Split as Split
from ._nodes import insert_node as insert_node
from ._nodes import reattach as reattach
