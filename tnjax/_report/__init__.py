"""Reports."""

from .html import report as report
from .page import page_html as page_html
from .page import write_page as write_page
from .record import load_result as load_result
from .record import step_record as step_record
from .run import Run as Run
from .run import decomposition_run as decomposition_run
from .run import rebuild_report as rebuild_report
from .run import write_pages as write_pages
from .run import write_result as write_result
from .run import write_run as write_run
from .search import search_sections as search_sections
from .sections import Curves as Curves
from .sections import Drawn as Drawn
from .sections import HeatMaps as HeatMaps
from .sections import Pictures as Pictures
from .sections import Section as Section
from .sections import Table as Table
