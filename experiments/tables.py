"""What experiments leave behind: a printed table, and a JSON file that says how it came about."""

import json
import os
import platform
import sys
from pathlib import Path

import jax

import tnjax


def show(rows: list[dict], columns: list[str]) -> None:
    """One line per row; fractions with four digits."""
    text = lambda value: f"{value:.4f}" if isinstance(value, float) else str(value)
    cells = [columns, *([text(row.get(c, "")) for c in columns] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def write(path: Path | None, rows: list[dict], arguments: list[str] | None) -> None:
    """The rows with command, versions and machine."""
    if path is None:
        return
    command = sys.argv[:1] + list(arguments if arguments is not None else sys.argv[1:])
    record = {
        "command": " ".join([Path(command[0]).name, *command[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {jax.default_backend()}",
        "versions": {"tnjax": tnjax.__version__, "jax": jax.__version__},
        "rows": rows,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
