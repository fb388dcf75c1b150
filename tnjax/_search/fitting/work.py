"""What the parts of a search cost, in flops by a forecast.

Never in seconds, so that decisions by it are the same every time.
"""

import dataclasses

from ..._structure import Structure
from ..._tuned import tuned


@dataclasses.dataclass(frozen=True)
class Costs:
    """What the parts of a search cost, in flops that take as long.

    Attributes:
        core: of a step of a small network besides its products, for each core: some hundred
            operations of a few microseconds.
        fit: of handing a fit to its program and back.
        program: of making a program.
    """

    core: float = 4e5
    fit: float = 1e8
    program: float = 1e9


COSTS = tuned("costs", Costs())


def fit_work(structure: Structure, sweep_flops: float, steps: int) -> float:
    """Flops of a fit."""
    return COSTS().fit + steps * (sweep_flops + structure.num_nodes * COSTS().core)


def screen_work(sweep_flops: float, candidates: int) -> float:
    """Flops of the gains of candidates: a few sweeps over the cores at their ends."""
    return COSTS().fit + candidates * sweep_flops


def attempt_work(structure: Structure, step_flops: float, steps: int) -> float:
    """Flops of an attempt; `steps` counts the steps of all its starts together."""
    return COSTS().program + steps * (step_flops + structure.num_nodes * COSTS().core)
