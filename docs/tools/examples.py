"""For the reference: a docstring's "Example:" is a section of examples, as "Examples:" is."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Griffe takes "Example:" for an admonition, in which `>>>` would be quotations."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called with every object that was loaded."""
        if obj.docstring:
            text = re.sub(r"^( *)Example:", r"\1Examples:", obj.docstring.value, flags=re.M)
            obj.docstring.value = text
