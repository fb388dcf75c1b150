"""Hydra's multirun through `tnjax.sweep.run_sweep`.

    python experiments/search.py -m search=greedy,tree 'seed=range(0,3)' output=runs/compared

Every job is a trial: it has a folder of its own in `output`/trials, is run again from its
checkpoint if its worker dies, and is not run again if it has finished.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker does with a trial: the experiment's function, with the composed configuration.

    Attributes:
        function: decorated by `hydra.main`.
        configs: of all trials, by their names.
    """

    function: TaskFunction
    configs: dict[str, dict[str, Any]]

    def __call__(self, trial: Any, folder: Path, resume: bool, watch: Any) -> None:
        del resume, watch  # an experiment finds its checkpoints by itself
        config = {**self.configs[trial.name], "output": str(folder)}
        if "checkpoints" in config:
            config["checkpoints"] = True
        self.function(OmegaConf.create(config))


class RayLauncher(Launcher):
    """Jobs as trials of a sweep. The arguments are those of `configs/hydra/launcher/ray.yaml`."""

    def __init__(
        self, address: str | None, workers: int | None, cpus: float, gpus: float, retries: int
    ):
        self.options = {"address": address, "workers": workers, "retries": retries}
        self.needs = {"cpus": cpus, "gpus": gpus}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from tnjax.sweep import Cluster, Resources, Trial, run_sweep, write_sweep_page, write_tables

        trials, configs = [], {}
        for overrides in job_overrides:
            composed = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            plain = OmegaConf.to_container(_without_hydra(composed), resolve=True)
            settings = dict(word.split("=", 1) for word in filter_overrides(overrides))
            settings = {
                k.lstrip("+"): v for k, v in settings.items() if k not in ("seed", "output")
            }
            trial = Trial(settings, int(plain.get("seed", 0)))
            trials.append(trial)
            configs[trial.name] = plain
        folder = Path(self.config.output)
        outcomes = run_sweep(
            trials,
            Job(self.function, configs),
            folder,
            resources=Resources(**self.needs),
            cluster=Cluster(**self.options),
        )
        write_tables(folder, outcomes)
        write_sweep_page(folder / "report.html", self.config.hydra.job.name, outcomes)
        done = sum(outcome.state == "finished" for outcome in outcomes)
        print(f"{len(trials)} trials, {done} finished; see {folder / 'report.html'}")
        return [
            _returned(overrides, outcome)
            for overrides, outcome in zip(job_overrides, outcomes, strict=True)
        ]


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])


def _returned(overrides: Sequence[str], outcome: Any) -> JobReturn:
    good = outcome.state == "finished"
    found = JobReturn(overrides, status=JobStatus.COMPLETED if good else JobStatus.FAILED)
    found.return_value = outcome.error if good else RuntimeError(outcome.message)
    return found
