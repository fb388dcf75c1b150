"""The console script `tnjax`. It lies beside the package so that it can say something before that
is imported, which takes seconds, JAX most of them."""

import os
import sys

# Subcommands that take longer than their import.
_LONG = ("decompose", "complete", "compress", "sweep")
_ERASE = "\r\x1b[2K"


def main() -> int:
    """Run the command line; returns the exit status."""
    words = starting(sys.argv[1:])
    drawn = False
    if words:
        # On a terminal the line goes when there is something better to show.
        drawn = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        print(words, end="" if drawn else "\n", file=sys.stderr, flush=True)
    try:
        from tnjax.cli import main
    finally:
        if drawn:
            print(_ERASE, end="", file=sys.stderr, flush=True)
    return main()


def starting(arguments: list[str]) -> str:
    """What to say first; nothing for a command that ends at once, or in one of several processes
    but the first."""
    if not arguments or arguments[0] not in _LONG or {"-h", "--help"} & set(arguments):
        return ""
    for name, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, _, own = name.replace("_", "-").partition("=")
        if name == "--process-id" and (own or value) != "0":
            return ""
    return f"tnjax {arguments[0]}: loading JAX ..."
