"""Reports."""

from ._html import report as report
