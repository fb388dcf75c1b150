"""What MkDocs calls while it builds the site: notebooks with their stored outputs and the files of
the repository become pages, and formulas become MathML, which needs no script."""

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# Files at the root that are pages too.
_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_PICTURES = {"image/svg+xml": "svg", "image/png": "png"}
_FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.S)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from other files."""
    for source, page in _PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text, pictures = notebook_page(json.loads(path.read_text(encoding="utf-8")), path.stem)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Formulas, which Arithmatex leaves as LaTeX, as MathML."""
    return _FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    latex = html.unescape(found[2]).strip()[2:-2]  # without \( \) or \[ \]
    return convert(latex, display="block" if found[1] == "div" else "inline")


def notebook_page(notebook: dict[str, Any], name: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown with the outputs that are stored in it, and its pictures by name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            parts.append(_shown(output, name, pictures))
    parts.append(f"*This is `notebooks/{name}.ipynb`, with the outputs stored in it.*")
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def _shown(output: dict[str, Any], name: str, pictures: dict[str, bytes]) -> str:
    if "text" in output:
        return f"```text\n{''.join(output['text']).rstrip()}\n```"
    data = output.get("data", {})
    for kind, suffix in _PICTURES.items():
        if kind in data:
            text = "".join(data[kind])
            file = f"{name}_{len(pictures)}.{suffix}"
            pictures[file] = text.encode() if suffix == "svg" else base64.b64decode(text)
            return f"![what the cell draws]({file})"
    if "text/html" in data:
        # Without blank lines, so that Markdown leaves it as one block.
        lines = "".join(data["text/html"]).splitlines()
        return f"<div>{''.join(line.strip() for line in lines)}</div>"
    if "text/plain" in data:
        return f"```text\n{''.join(data['text/plain'])}\n```"
    return ""
