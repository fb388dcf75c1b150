"""Draw the pictures of the site, as SVG:

    python docs/tools/pictures.py [FOLDER]

The searches are those that `docs/tutorial.md` and `docs/how.md` tell of; they take a minute.
"""

import sys
from pathlib import Path

import jax
import numpy as np

import tnjax
from tnjax.plot import Series, curve_svg, structure_svg

HERE = Path(__file__).parents[1] / "pictures"
KEY = jax.random.key(0)
# A file of its own takes no color from a page.
INK = "#1a1d21"


def grown_path() -> tnjax.SearchResult:
    """A ring with a chord and 2 % of noise, grown from rank one."""
    edges = {(0, 1): 2, (1, 2): 2, (2, 3): 2, (0, 3): 2, (0, 2): 2}
    planted = tnjax.Structure.from_edges((6, 6, 6, 6), edges)
    tensor = np.asarray(tnjax.TensorNetwork.random(planted, key=jax.random.key(1)).to_dense())
    noise = np.random.default_rng(0).standard_normal(tensor.shape)
    tensor = tensor + 0.02 * np.linalg.norm(tensor) / np.linalg.norm(noise) * noise
    strategy = tnjax.Greedy(infer=False, internal=False, hyperedges=False)
    problem = tnjax.Decomposition(tensor)
    return tnjax.search(problem, key=KEY, strategy=strategy, target_error=0.021)


def kinetic(target_error: float) -> tnjax.Structure:
    """What the tutorial finds."""
    from tensorly.datasets import load_kinetic

    problem = tnjax.Decomposition(np.asarray(load_kinetic().tensor)[::2, :, :, ::3])
    return tnjax.search(problem, key=KEY, target_error=target_error).structure


def pictures(result: tnjax.SearchResult) -> dict[str, str]:
    """Steps of a search, and its curve, by the names of their files."""
    steps = result.path
    chosen = {"0": 0, "1": 1, "middle": len(steps) // 2, "last": len(steps) - 1}
    out = {f"path_{name}": structure_svg(steps[n].structure) for name, n in chosen.items()}
    points = [(float(step.num_params), step.error) for step in steps]
    label = "Relative error against parameters: it falls with every bond that grows."
    axes = dict(x="parameters", y="relative error", label=label, log_y=True)
    out["curve"] = curve_svg([Series("steps", points, "both")], **axes)
    return out


def write(drawn: dict[str, str], folder: Path) -> None:
    """Write SVG files that need no page around them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in drawn.items():
        text = svg.replace("<svg ", f'<svg color="{INK}" ', 1)
        (folder / f"{name}.svg").write_text(text + "\n", encoding="utf-8")


def main(folder: Path = HERE) -> None:
    jax.config.update("jax_enable_x64", True)
    write(pictures(grown_path()), folder)
    drawn = {f"kinetic_{error}": structure_svg(kinetic(error)) for error in (0.1, 0.05)}
    write(drawn, folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
