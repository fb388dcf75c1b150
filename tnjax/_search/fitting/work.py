"""What the parts of a search cost, in flops by a forecast.

Never in seconds, so that decisions by it are the same every time.
"""

from ..._structure import Structure

# Flops that take as long as what a step of a small network costs besides its products, for each
# core: some hundred operations of a few microseconds.
_CORE_FLOPS = 4e5
# ... as handing a fit to its program and back, and as making the program of an attempt.
_FIT_FLOPS = 1e8
_ATTEMPT_FLOPS = 1e9


def fit_work(structure: Structure, sweep_flops: float, steps: int) -> float:
    """Flops of a fit."""
    return _FIT_FLOPS + steps * (sweep_flops + structure.num_nodes * _CORE_FLOPS)


def screen_work(sweep_flops: float, candidates: int) -> float:
    """Flops of the gains of candidates: a few sweeps over the cores at their ends."""
    return _FIT_FLOPS + candidates * sweep_flops


def attempt_work(structure: Structure, step_flops: float, steps: int) -> float:
    """Flops of an attempt; `steps` counts the steps of all its starts together."""
    return _ATTEMPT_FLOPS + steps * (step_flops + structure.num_nodes * _CORE_FLOPS)
