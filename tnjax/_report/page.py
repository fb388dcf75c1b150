"""Sections as one HTML page that opens offline."""

import html
import importlib.resources
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .._atomic import atomic_path
from .sections import Section, cell_text

# Nothing but what is in the file itself may be loaded.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page_html(
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    facts: Mapping[str, Any] | None = None,
) -> str:
    """A page of sections.

    Args:
        title: its heading.
        sections: one below the other, with a list of links to them at the top.
        lead: a sentence below the title, as HTML.
        facts: the most important numbers; a value may be a pair, of which the second is a remark.

    Example:
        >>> from tnjax._report import Table, page_html
        >>> page = page_html("Run", [Table("Errors", ("set", "error"), [("test", 0.25)])])
        >>> page.startswith("<!doctype html>"), "<h1>Run</h1>" in page
        (True, True)
    """
    cards = []
    for name, value in (facts or {}).items():
        value, remark = value if isinstance(value, tuple) else (value, "")
        small = f"<small>{html.escape(remark)}</small>" if remark else ""
        cards.append(
            f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(cell_text(value))}{small}</dd></div>"
        )
    links, parts = [], []
    for number, section in enumerate(sections):
        heading = html.escape(section.title)
        links.append(f'<li><a href="#part-{number}">{heading}</a></li>')
        parts.append(
            f'<section aria-labelledby="part-{number}"><h2 id="part-{number}">{heading}</h2>'
            f"{section.body()}</section>"
        )
    files = importlib.resources.files("tnjax._report")
    style = (files / "page.css").read_text(encoding="utf-8")
    script = (files / "page.js").read_text(encoding="utf-8")
    name = html.escape(title)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{style}</style></head><body><main><header>"
        f"<h1>{name}</h1>{lead}"
        + (f'<dl class="facts">{"".join(cards)}</dl>' if cards else "")
        + (f'<nav aria-label="Parts"><ul>{"".join(links)}</ul></nav>' if len(links) > 1 else "")
        + f"</header>{''.join(parts)}</main><script>{script}</script></body></html>\n"
    )


def write_page(path: str | os.PathLike[str], text: str) -> None:
    """Write a page, atomically.

    Raises:
        OSError: if the file cannot be written; one that was there is untouched.
    """
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
