"""Pictures."""

from ._draw import draw as draw
from ._draw import plot_path as plot_path
