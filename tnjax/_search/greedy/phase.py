"""What a phase of a greedy search is."""

import abc
import dataclasses
from typing import Any, ClassVar

from ...problems import Problem
from ..strategy import Budget, Info
from .effort import affords, spent
from .fits import Step
from .options import Options
from .state import GreedyState, Outcome


class Phase(abc.ABC):
    """One kind of step. Phases know options and states, never each other: how a step ended they
    say by an `Outcome`."""

    name: ClassVar[str]

    def enabled(self, options: Options, problem: Problem, state: GreedyState) -> bool:
        """Whether there is anything to do here."""
        return True

    def entered(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget
    ) -> GreedyState:
        """The state as the phase begins."""
        return dataclasses.replace(state, phase=self.name)

    @abc.abstractmethod
    def step(self, options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
        """One move, or one failed try of a move."""


class Queued(Phase):
    """A phase with a list of candidates, which it tries one after the other."""

    def entered(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget
    ) -> GreedyState:
        state, queue = self.candidates(options, problem, state, budget)
        return dataclasses.replace(state, phase=self.name, queue=queue)

    def step(self, options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
        if state.queue and not spent(options.effort, state):
            item, state = state.queue[0], dataclasses.replace(state, queue=state.queue[1:])
            if not affords(options.effort, state, self.work(problem, item)):
                return state, Info(), Outcome.STAY
            return self.attempt(options, problem, state, budget, item)
        return dataclasses.replace(state, queue=()), Info(), Outcome.ENDED

    def work(self, problem: Problem, item: Any) -> float:
        """A forecast in flops, for candidates that may cost more than is left."""
        return 0.0

    @abc.abstractmethod
    def candidates(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget
    ) -> tuple[GreedyState, tuple[Any, ...]]:
        """What may be tried, the largest saving first; and the state."""

    @abc.abstractmethod
    def attempt(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget, item: Any
    ) -> Step:
        """Try one of them."""
