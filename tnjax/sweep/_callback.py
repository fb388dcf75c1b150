"""What Ray Tune tells of its trials. Imported only where Ray is installed."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from ray.tune import Callback


@runtime_checkable
class Listener(Protocol):
    """Who keeps up what is known of all trials, by the numbers of those that share a worker."""

    def begun(self, unit: int) -> None: ...
    def told(self, found: Sequence[dict[str, Any]]) -> None: ...
    def ended(self, unit: int) -> None: ...
    def died(self, unit: int, *, again: bool) -> None: ...


class Told(Callback):
    """Hands on what Tune tells.

    Tune writes its callbacks to disk with the state of the experiment. The listener, with whatever
    shows it on a terminal, stays out of that: the state is never read again.
    """

    def __init__(self, listener: Listener):
        self._listener = listener

    def __reduce__(self) -> tuple[Any, ...]:
        return Callback, ()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._listener.begun(trial.config["unit"])

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._listener.told(result["told"])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._listener.ended(trial.config["unit"])

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._listener.died(trial.config["unit"], again=True)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._listener.died(trial.config["unit"], again=False)
