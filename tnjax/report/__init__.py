"""Reports."""

from ._html import report as report
from ._page import page_html as page_html
from ._page import write_page as write_page
from ._record import load_result as load_result
from ._record import step_record as step_record
from ._run import Run as Run
from ._run import decomposition_run as decomposition_run
from ._run import rebuild_report as rebuild_report
from ._run import write_run as write_run
from ._search import search_sections as search_sections
from ._sections import Curves as Curves
from ._sections import HeatMaps as HeatMaps
from ._sections import Pictures as Pictures
from ._sections import Section as Section
from ._sections import Table as Table
