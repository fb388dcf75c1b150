"""Sweeps: many searches with other options and seeds, on Ray (extra `ray`).

from tnjax.sweep import expand, run_sweep

trials = expand({...}, grid={"power": [0.0, 0.5]}, seeds=range(5))
outcomes = run_sweep(trials, task, "runs/powers")
"""

from .._together import Meetings as Meetings
from .._together import together as together
from ._page import sweep_page as sweep_page
from ._page import write_sweep_page as write_sweep_page
from ._sweep import EarlyStopping as EarlyStopping
from ._sweep import Progress as Progress
from ._sweep import run_sweep as run_sweep
from ._tables import mean_and_error as mean_and_error
from ._tables import pareto as pareto
from ._tables import path_rows as path_rows
from ._tables import summary_rows as summary_rows
from ._tables import trial_rows as trial_rows
from ._tables import write_tables as write_tables
from ._trials import Trial as Trial
from ._trials import expand as expand
from ._watch import Task as Task
from ._watch import Watch as Watch
from .records import Outcome as Outcome
from .session import Cluster as Cluster
from .session import Resources as Resources
