"""Figure 5 of arXiv 2008.05437: a color image completed from a tenth of its entries, error on the
unseen ones against parameters, of the search, rings, trains, CP and Tucker.

    python experiments/figure5.py
    python experiments/figure5.py size=small
    python experiments/figure5.py arguments.methods=[search,ring] output=runs/two

The experiment itself is complete_image.py; this runs it as configs/figure5.yaml says.
"""

import complete_image
import hydra
from common import begin, command_line
from omegaconf import DictConfig


def run(config: DictConfig) -> None:
    """Leave table.csv, result.json, errors.png, images and the resolved config.yaml."""
    output = begin(config)
    complete_image.main([*command_line(config.arguments), "--out", str(output)])


@hydra.main(version_base=None, config_path="../configs", config_name="figure5")
def main(config: DictConfig) -> None:
    run(config)


if __name__ == "__main__":
    main()
