"""Pictures: with matplotlib, and as SVG without it."""

from ._curves import plot_pareto as plot_pareto
from ._curves import plot_path as plot_path
from ._display import result_html as result_html
from ._draw import draw as draw
from .chart import Series as Series
from .chart import cells_svg as cells_svg
from .chart import columns_svg as columns_svg
from .chart import curve_svg as curve_svg
from .svg import structure_svg as structure_svg
