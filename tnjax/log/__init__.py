"""Callables for `on_step=` of a search: each gets every accepted step at once."""

from ._json_lines import JSONLines as JSONLines
from ._live import Live as Live
from ._several import Several as Several
from ._tensorboard import TensorBoard as TensorBoard
