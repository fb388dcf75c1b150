"""One search, composed of the groups of configs/: data, structure, search, solver.

    python experiments/search.py structure=ring search=greedy solver=gauss-newton
    python experiments/search.py experiment=camera search=tree target_error=0.1 output=runs/tree
    python experiments/search.py --cfg job          # print the composed configuration
    python experiments/search.py -m search=greedy,tree 'seed=range(0,3)' output=runs/compared

Leaves a run folder as `tnjax decompose` does: open its report.html. With -m every combination is a
trial of a sweep on Ray (extra `ray`), which leaves a table and a report of all.
"""

import hydra
import jax
import numpy as np
from common import begin, make_solver, make_strategy, make_structure, planted_tensor
from omegaconf import DictConfig, OmegaConf

import tnjax
from tnjax._report import decomposition_run, write_run
from tnjax.io import TensorData, plan_reshape


def make_data(config: DictConfig) -> tuple[str, TensorData, tuple[int, ...], str]:
    """Name, tensor, the sizes to reshape it to, and the order of digits."""
    match config.data.kind:
        case "planted":
            structure = make_structure(config.structure)
            keys = ("cores", "noise", "seed")
            tensor = planted_tensor(structure, **{key: config.data[key] for key in keys})
            return f"planted {structure!r}", TensorData(tensor), tensor.shape, "row-major"
        case "image":
            from decompose_image import grey_image

            image = grey_image(config.data.name, config.data.stride)
            data = TensorData(image, is_image=True, white=255.0)
            return config.data.name, data, tuple(config.data.reshape), config.data.digits
        case kind:
            raise ValueError(f"unknown data {kind!r}; choose planted or image.")


def target_of(config: DictConfig) -> float | None:
    """The target error; "auto" does not lie below the noise, which no network should fit."""
    if config.target_error != "auto":
        return config.target_error
    return max(1e-3, 1.02 * config.data.get("noise", 0.0))


def run(config: DictConfig) -> tnjax.SearchResult:
    """Search, write the run folder, print one line."""
    output = begin(config)
    name, data, dims, digits = make_data(config)
    plan = plan_reshape(data.array.shape, dims, digits=digits)
    saved = output / "checkpoints" if config.checkpoints else None
    result = tnjax.search(
        tnjax.Decomposition(plan.apply(data.array).astype(config.dtype)),
        key=jax.random.key(config.seed),
        strategy=make_strategy(config.search, make_solver(config.solver)),
        target_error=target_of(config),
        max_params=config.max_params,
        max_steps=config.max_steps,
        max_seconds=config.max_seconds,
        setup=tnjax.Setup(checkpoints=saved, resume=saved is not None and saved.is_dir()),
    )
    restored = plan.undo(np.asarray(result.network.to_dense()))
    original = plan.cut(data.array).astype(config.dtype)
    error = float(tnjax.relative_error(restored, original))
    settings = OmegaConf.to_container(config, resolve=True)
    settings["target_error"] = target_of(config)  # the report marks it
    write_run(output, decomposition_run(name, data, plan, result, restored, error, settings))
    print(
        f"error {result.error:.4g}, {result.num_params} parameters, {result.seconds:.1f} s, "
        f"{result.status.message}; see {output / 'report.html'}"
    )
    return result


@hydra.main(version_base=None, config_path="../configs", config_name="search")
def main(config: DictConfig) -> None:
    run(config)


if __name__ == "__main__":
    main()
