"""The oldest versions that pyproject.toml allows, as pip's constraints: one line for each package.

    python .ci/floors.py > floors.txt && pip install -c floors.txt -e '.[test]'

What pyproject.toml does not name is left to pip.
"""

import itertools
import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def floors(requirements: list[str]) -> dict[str, str]:
    """From "name[extra]>=1.2" to its floor; the highest one where a package is named twice."""
    found: dict[str, str] = {}
    for requirement in requirements:
        match = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\d.]+)", requirement)
        if match is None:
            sys.exit(f"floors.py: {requirement!r} is not of the form name>=version")
        name, floor = match.groups()
        found[name] = max(floor, found.get(name, "0"), key=_numbers)
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def main() -> None:
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = itertools.chain(*project["optional-dependencies"].values())
    own = f"{project['name']}["  # an extra that is made of others
    every = [text for text in [*project["dependencies"], *extras] if not text.startswith(own)]
    for name, floor in floors(every).items():
        print(f"{name}=={floor}")


if __name__ == "__main__":
    main()
