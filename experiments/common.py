"""What the experiments share: pieces made from their configuration, and their results as files."""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from omegaconf import DictConfig, OmegaConf
from records import about, keep

import tnjax

CONFIGS = Path(__file__).parent.parent / "configs"


def group(name: str, option: str) -> DictConfig:
    """One option of a group of `configs/`, for experiments that go through several."""
    file = CONFIGS / name / f"{option}.yaml"
    if not file.exists():
        known = sorted(path.stem for path in file.parent.glob("*.yaml"))
        raise ValueError(f"no {name} named {option!r}; choose one of {', '.join(known)}.")
    return OmegaConf.load(file)


def make_structure(config: Mapping[str, Any]) -> tnjax.Structure:
    """A structure from `dims` and `edges` such as {0-1: 2}."""
    edges = {tuple(map(int, str(e).split("-"))): rank for e, rank in config["edges"].items()}
    return tnjax.Structure.from_edges(tuple(config["dims"]), edges)


def make_solver(config: Mapping[str, Any]) -> Any:
    """A solver from `name` and `options`."""
    options = dict(config["options"])
    match config["name"]:
        case "als":
            return tnjax.ALS(**options)
        case "gauss-newton":
            return tnjax.GaussNewton(**options)
        case "optax":
            transformation = getattr(optax, options.pop("transformation"))
            return tnjax.Optax(transformation(options.pop("learning_rate")), **options)
        case name:
            raise ValueError(f"unknown solver {name!r}; choose als, gauss-newton or optax.")


def make_strategy(config: Mapping[str, Any], solver: Any = None) -> tnjax.Strategy:
    """A strategy from `strategy` and `options`."""
    return tnjax.make_strategy(config["strategy"], **config["options"], solver=solver)


def planted_tensor(
    structure: tnjax.Structure, *, cores: str = "normal", noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """The tensor of a structure with random cores; noise is relative to it."""
    rng = np.random.default_rng([seed, 2008, 5437])
    draw = {"normal": rng.standard_normal, "uniform": rng.random}[cores]
    shapes = [structure.core_shape(node) for node in range(structure.num_nodes)]
    with jax.enable_x64(True):
        network = tnjax.TensorNetwork(structure, [draw(shape) for shape in shapes])
        tensor = np.asarray(network.to_dense())
    wild = rng.standard_normal(tensor.shape)
    return tensor + noise * np.linalg.norm(tensor) / np.linalg.norm(wild) * wild


def begin(config: DictConfig) -> Path:
    """Precision as asked for, and the output folder with the resolved configuration in it."""
    jax.config.update("jax_enable_x64", config.dtype == "float64")
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")
    return output


def write_results(output: Path, rows: Sequence[Mapping[str, Any]], config: DictConfig) -> None:
    """`results.csv`, and `results.json` with the command, the versions and the machine."""
    with open(output / "results.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    script = sys.argv[0]
    record = {
        **about(script),
        "command": " ".join(["python", f"experiments/{Path(script).name}", *sys.argv[1:]]),
        "config": OmegaConf.to_container(config, resolve=True),
        "rows": list(rows),
    }
    keep(output / "results.json", record)


def command_line(options: Mapping[str, Any]) -> list[str]:
    """Options as arguments of a script, those that are None left out: {"final_steps": 2, "small":
    True} becomes --final-steps 2 --small."""
    out = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            out.append(flag)
        elif value is False:
            out.append(f"--no-{flag[2:]}")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            out += [flag, *map(str, value)]
        elif value is not None:
            out += [flag, str(value)]
    return out


def front(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The pairs (parameters, error) that no other one beats, by ascending parameters."""
    best, out = float("inf"), []
    for params, error in sorted(points):
        if error < best:
            best = error
            out.append((params, error))
    return out
