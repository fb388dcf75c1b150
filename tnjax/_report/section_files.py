"""Sections of a report as plain values for JSON, with files for pictures beside them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._structure import Structure, as_edge
from .sections import Curves, Drawn, HeatMaps, Pictures, Section, Table


def section_record(section: Section, folder: Path) -> dict[str, Any]:
    """A section as plain values for JSON; pictures and matrices become files in `folder`.

    Raises:
        ValueError: for a section of a kind that this module does not know.
    """
    if isinstance(section, Table):
        return {"kind": "table", "title": section.title, "columns": list(section.columns),
                "rows": [[_plain(cell) for cell in row] for row in section.rows],
                "note": section.note}  # fmt: skip
    if isinstance(section, Curves):
        lines = {
            name: [[_plain(x), _plain(y)] for x, y in points]
            for name, points in section.lines.items()
        }
        return {"kind": "curves", "title": section.title, "x": section.x, "y": section.y,
                "lines": lines, "note": section.note, "dots": list(section.dots)}  # fmt: skip
    if isinstance(section, Pictures):
        files = {}
        for caption, data in section.pictures.items():
            files[caption] = f"{_slug(caption)}.png"
            (folder / files[caption]).write_bytes(data)
        return {"kind": "pictures", "title": section.title, "files": files, "note": section.note}
    if isinstance(section, HeatMaps):
        matrices = {name: np.asarray(m).tolist() for name, m in section.matrices.items()}
        return {"kind": "heat maps", "title": section.title, "matrices": matrices,
                "note": section.note}  # fmt: skip
    if isinstance(section, Drawn):
        notes = [[list(edge), word] for edge, word in section.notes.items()]
        return {"kind": "network", "title": section.title, "names": list(section.names),
                "structure": json.loads(section.structure.to_json()), "notes": notes,
                "note": section.note}  # fmt: skip
    raise ValueError(
        f"A run folder keeps sections of the kinds Table, Curves, Pictures, HeatMaps, Drawn; got "
        f"{type(section).__name__}."
    )


def read_section(record: Mapping[str, Any], folder: Path) -> Section:
    """The section that `section_record` described.

    Raises:
        ValueError: if the record is damaged.
        OSError: if a picture cannot be read.
    """
    try:
        match record["kind"]:
            case "table":
                columns, rows = record["columns"], record["rows"]
                if any(len(row) != len(columns) for row in rows):
                    raise ValueError("a row has another length than the head")
                return Table(record["title"], columns, rows, record["note"])
            case "curves":
                lines = {
                    name: [(_number(x), _number(y)) for x, y in points]
                    for name, points in record["lines"].items()
                }
                dots = record.get("dots", ())
                return Curves(
                    record["title"], record["x"], record["y"], lines, record["note"], dots
                )
            case "network":
                structure = Structure.from_json(json.dumps(record["structure"]))
                notes = {as_edge(edge): word for edge, word in record["notes"]}
                if len(record["names"]) != len(structure.dims):
                    raise ValueError("a network with other modes than names")
                return Drawn(record["title"], structure, record["names"], notes, record["note"])
            case "pictures":
                pictures = {}
                for caption, name in record["files"].items():
                    if Path(name).name != name:
                        raise ValueError(f"{name!r} is not the name of a file beside it")
                    pictures[caption] = (folder / name).read_bytes()
                return Pictures(record["title"], pictures, record["note"])
            case "heat maps":
                matrices = {k: np.array(m, np.float64) for k, m in record["matrices"].items()}
                return HeatMaps(record["title"], matrices, record["note"])
            case kind:
                raise ValueError(f"unknown kind {kind!r}")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"damaged section of a report ({error}).") from error


def _plain(value: Any) -> Any:
    """A number of NumPy as Python's; what is not finite as text, since JSON has no word for it."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _number(value: Any) -> float:
    return float(value)


def _slug(caption: str) -> str:
    """A file name for a caption."""
    word = "".join(c if c.isascii() and c.isalnum() else "-" for c in caption.lower())
    return "-".join(filter(None, word.split("-")))[:60] or "picture"
