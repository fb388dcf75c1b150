"""What docs/large_networks.md shows is what one gets."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "large_networks.md"


def test_the_page_on_large_networks_runs(usual_promotion):
    text = PAGE.read_text(encoding="utf-8")
    blocks = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(blocks.examples) > 20
    assert doctest.DocTestRunner().run(blocks).failed == 0
