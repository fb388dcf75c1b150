"""Learn networks for an image of scikit-image at several errors, against the truncated SVD.

    python experiments/decompose_image.py image=camera errors=[0.15,0.143] output=demo

Each error gets a run folder as `tnjax decompose` leaves it (open its report.html); the table,
also written to table.csv and result.json, compares parameters at equal error.
"""

import csv
import json
import tempfile
from pathlib import Path

import hydra
import numpy as np
import skimage.color
import skimage.data
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from tnjax import cli

# Parameters and errors that the released code of arXiv 2008.05437 reached on camera as 4^8.
PAPER_CODE = {"params": 808, "error": 0.195}


def grey_image(name: str, stride: int) -> np.ndarray:
    image = getattr(skimage.data, name)()
    if image.ndim == 3:
        image = np.rint(255 * skimage.color.rgb2gray(image)).astype(np.uint8)
    return image[::stride, ::stride]


def svd_params(image: np.ndarray, error: float) -> int:
    """Parameters of the truncated SVD with that relative error: rank x (rows + columns)."""
    values = np.linalg.svd(image.astype(np.float64), compute_uv=False)
    tail = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1] / np.linalg.norm(values)
    rank = int(np.searchsorted(-np.append(tail, 0.0), -error))
    return rank * sum(image.shape)


@hydra.main(version_base=None, config_path="../configs", config_name="decompose_image")
def main(config: DictConfig) -> None:
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    image = grey_image(config.image, config.stride)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{config.image}.png"
        Image.fromarray(image).save(file)
        for error in config.errors:
            run = output / f"error-{error}"
            status = cli.main(
                [
                    *("decompose", str(file), "--out", str(run)),
                    *("--reshape", ",".join(map(str, config.reshape)), "--digits", config.digits),
                    *("--target-error", str(error), "--seed", str(config.seed)),
                    *("--dtype", config.dtype, "--cache", "none", "--effort", config.effort),
                ]
            )
            if status:
                raise SystemExit(status)
            found = json.loads((run / "result.json").read_text(encoding="utf-8"))
            rows.append(
                {
                    "image": config.image,
                    "target_error": error,
                    "error": found["error"],
                    "params": found["num_params"],
                    "svd_params": svd_params(image, error),
                    "seconds": found["seconds"],
                    "compile_seconds": found["compile_seconds"],
                    "programs": found["programs"],
                }
            )
    with open(output / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    record = {"config": OmegaConf.to_container(config), "rows": rows}
    (output / "result.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"\n{'image':<10}{'error':>8}{'params':>8}{'truncated SVD':>15}{'seconds':>9}")
    for row in rows:
        print(
            f"{row['image']:<10}{row['error']:>8.4f}{row['params']:>8}"
            f"{row['svd_params']:>15}{row['seconds']:>9.1f}"
        )
    if config.image == "camera":
        print(f"The paper's released code: error {PAPER_CODE['error']} at {PAPER_CODE['params']}.")
    print(f"Open {output}/error-{config.errors[0]}/report.html")


if __name__ == "__main__":
    main()
