"""Run the notebooks and store what they show in them, for the site:

    python docs/tools/notebooks.py [notebooks/01_first_search.ipynb ...]

Warnings and what depends on the moment, such as times of cells, are not stored.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

ROOT = Path(__file__).parents[2]


def stored(path: Path) -> nbformat.NotebookNode:
    """The notebook after a run in a folder that is thrown away."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return notebook


def main(names: list[str]) -> None:
    os.environ.pop("MPLBACKEND", None)  # pictures belong into the notebook
    for path in map(Path, names) if names else sorted((ROOT / "notebooks").glob("*.ipynb")):
        print(path, flush=True)
        nbformat.write(stored(path), path)


if __name__ == "__main__":
    main(sys.argv[1:])
