"""What a package index shows of the project: README with links that lead there from anywhere.

The repository has no public address of its own. Whoever publishes it says where it is:

    TNJAX_URL=https://host/owner/tnjax .ci/release

Then links and pictures of README lead to files of that version there, and the metadata name the
repository. Without it links to files of the repository are words, and pictures of it are left out.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAPER = "https://arxiv.org/abs/2008.05437"
_LINK = re.compile(r"(!?)\[([^]]*)\]\((?!\w+:)([^)]+)\)")


class CustomMetadataHook(MetadataHookInterface):
    """Fills in `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        address = os.environ.get("TNJAX_URL", "").rstrip("/")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        tag = f"v{metadata['version']}"
        readme = for_an_index(text, address, tag)
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}
        metadata["urls"] = urls(address, tag)


def urls(address: str, tag: str) -> dict[str, str]:
    """What the metadata name: the paper, and the repository where there is an address."""
    if not address:
        return {"Paper": PAPER}
    return {
        "Repository": address,
        "Documentation": f"{address}/blob/{tag}/docs/index.md",
        "Changelog": f"{address}/blob/{tag}/CHANGELOG.md",
        "Paper": PAPER,
    }


def for_an_index(text: str, address: str, tag: str) -> str:
    """README with links that do not depend on where it is read.

    Args:
        text: of README, with links relative to the root of the repository.
        address: of the repository, or nothing.
        tag: of the version, which the files are shown at.
    """

    def absolute(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if address:
            kind = "raw" if picture else "blob"
            return f"{picture}[{words}]({address}/{kind}/{tag}/{target})"
        return "" if picture else words

    changed = _LINK.sub(absolute, text)
    # A caption says nothing without its picture.
    return changed if address else re.sub(r"\n\n\n\*From .*?\*\n", "\n", changed, flags=re.S)
