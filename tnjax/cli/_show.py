"""`tnjax show`."""

from __future__ import annotations

import dataclasses
import io
import json
import warnings
from pathlib import Path
from typing import Annotated

import tyro

from ._common import InputError


@dataclasses.dataclass(frozen=True)
class Show:
    """Print what a run found."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a network.safetensors file."""

    def run(self) -> int:
        return _show(self)


def _show(options: Show) -> int:
    from ..io import load, load_metadata

    path = options.folder / "network.safetensors" if options.folder.is_dir() else options.folder
    out = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rounding to float32 does not matter for a summary
        structure = load(path).structure
    print(structure, file=out)
    for key, value in load_metadata(path).items():
        print(f"{key}: {value}", file=out)
    record = path.parent / "result.json"
    if record.is_file():
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{record}: damaged ({error}).") from error
        if not isinstance(found, dict):
            raise InputError(f"{record}: damaged (not an object).")
        for key in ("status", "error", "seconds", "steps"):
            print(f"{key}: {found.get(key)}", file=out)
    print(out.getvalue(), end="")
    return 0
