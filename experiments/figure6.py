"""Figure 6 of arXiv 2008.05437: digits with a compressed layer, accuracy against parameters, of a
learned structure and of named formats.

    python experiments/figure6.py
    python experiments/figure6.py size=small
    python experiments/figure6.py arguments.seeds=[0,1,2] output=runs/three

The experiment itself is compress_mnist.py; this runs it as configs/figure6.yaml says.
"""

import compress_mnist
import hydra
from common import begin, command_line
from omegaconf import DictConfig


def run(config: DictConfig) -> list[dict]:
    """Leave results.json, figure6.png and the resolved config.yaml."""
    output = begin(config)
    paths = ["--out", str(output / "results.json"), "--plot", str(output / "figure6.png")]
    return compress_mnist.main([*command_line(config.arguments), *paths])


@hydra.main(version_base=None, config_path="../configs", config_name="figure6")
def main(config: DictConfig) -> None:
    run(config)


if __name__ == "__main__":
    main()
