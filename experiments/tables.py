"""What experiments leave behind: a printed table, and a JSON file that says how it came about."""

import sys
from pathlib import Path

from records import about, keep


def show(rows: list[dict], columns: list[str]) -> None:
    """One line per row; fractions with four digits."""
    text = lambda value: f"{value:.4f}" if isinstance(value, float) else str(value)
    cells = [columns, *([text(row.get(c, "")) for c in columns] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def write(path: Path | None, rows: list[dict], arguments: list[str] | None) -> None:
    """The rows with command, versions and machine."""
    keep(path, {**about(sys.argv[0], arguments), "rows": rows})
