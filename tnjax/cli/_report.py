"""`tnjax report`."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Annotated

import tyro

from ._arguments import MaybePath
from ._common import InputError


@dataclasses.dataclass(frozen=True)
class Report:
    """Write the report of a run folder again: one HTML file that opens offline.

    It shows the network of every step with a slider, error against parameters, ranks, where the
    time went, images, and all options. Useful after an update, or for a folder from elsewhere.

    Example: tnjax report run --out summary.html
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, as decompose leaves it."""
    out: MaybePath = None
    """File to write; report.html in the run folder by default."""

    def run(self) -> int:
        if not (self.folder / "result.json").is_file():
            raise InputError(f"{self.folder}: no run folder (it holds no result.json).")

        from .._report.run import rebuild_report

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rounding to float32 does not matter for a picture
            print(rebuild_report(self.folder, self.out))
        return 0
