"""Images compressed to equal errors by the search and by named formats: parameters and seconds.

    python experiments/image_table.py
    python experiments/image_table.py images=[camera] errors=[0.2] methods=[greedy,tt]

Every method works on the same reshaped image and gets the same target error; ranks of formats are
chosen for it (`FixedFormat`). "matrix" is the truncated SVD of the image as it is. Writes
results.csv, results.json, image_table.png and the resolved config.yaml.
"""

import hydra
import jax
import numpy as np
import skimage.color
import skimage.data
from common import begin, group, make_strategy, write_results
from decompose_image import svd_params
from omegaconf import DictConfig

import tnjax
from tnjax.io import plan_reshape


def square(name: str, pixels: int) -> np.ndarray:
    """The middle of an image of scikit-image, grey, thinned out if it is twice as large."""
    image = getattr(skimage.data, name)()
    if image.ndim == 3:
        image = np.rint(255 * skimage.color.rgb2gray(image))
    stride = max(1, min(image.shape) // pixels)
    image = image[::stride, ::stride]
    top, left = ((n - pixels) // 2 for n in image.shape)
    return image[top : top + pixels, left : left + pixels].astype(np.float64)


def run(config: DictConfig) -> list[dict]:
    """One row for each image, error and method."""
    output = begin(config)
    rows = []
    for name in config.images:
        image = square(name, config.pixels)
        plan = plan_reshape(image.shape, tuple(config.reshape), digits=config.digits)
        problem = tnjax.Decomposition(plan.apply(image).astype(config.dtype))
        for target in config.errors:
            head = {"image": name, "target_error": target}
            matrix = {"params": svd_params(image, target), "error": target, "seconds": 0.0}
            rows.append({**head, "method": "matrix", **matrix, "status": "target_reached"})
            for method in config.methods:
                result = tnjax.search(
                    problem,
                    key=jax.random.key(config.seed),
                    strategy=make_strategy(group("search", method)),
                    target_error=target,
                    max_seconds=config.max_seconds,
                )
                found = {"params": result.num_params, "error": result.error}
                found["seconds"] = round(result.seconds, 2)
                rows.append({**head, "method": method, **found, "status": result.status.value})
                print(
                    f"{name:<12}{target:<7}{method:<10}{result.num_params:>8}"
                    f"{result.error:>9.4f}{result.seconds:>8.1f} s",
                    flush=True,
                )
    write_results(output, rows, config)
    picture(rows, config, output / "image_table.png")
    return rows


def picture(rows: list[dict], config: DictConfig, path) -> None:
    """Bars of parameters, one group for each image and error; open where the error was missed."""
    from matplotlib.figure import Figure

    from tnjax.plot.chart import PALETTE

    methods = ["matrix", *config.methods]
    groups = [(name, target) for name in config.images for target in config.errors]
    figure = Figure(figsize=(1.6 + 1.3 * len(groups), 3.6), layout="constrained")
    ax = figure.subplots()
    for number, method in enumerate(methods):
        own = {(r["image"], r["target_error"]): r for r in rows if r["method"] == method}
        met = [own[g]["error"] <= g[1] * (1 + 1e-9) for g in groups]
        color = "#9AA0A6" if method == "matrix" else PALETTE[(number - 1) % len(PALETTE)]
        ax.bar(
            np.arange(len(groups)) + (number - (len(methods) - 1) / 2) * 0.8 / len(methods),
            [own[g]["params"] for g in groups],
            0.8 / len(methods),
            color=[color if ok else "none" for ok in met],
            edgecolor=color,
            label=method,
        )
    ax.set_xticks(range(len(groups)), [f"{name}\nerror {target}" for name, target in groups])
    ax.set(yscale="log", ylabel="parameters")
    ax.grid(axis="y", alpha=0.25)
    ax.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path, dpi=110)


@hydra.main(version_base=None, config_path="../configs", config_name="image_table")
def main(config: DictConfig) -> None:
    run(config)


if __name__ == "__main__":
    main()
