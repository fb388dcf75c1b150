"""The command line: parses, calls the library, prints."""

from ._main import main as main
