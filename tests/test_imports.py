"""What is imported when: public names when asked for, heavy packages when used."""

import ast
import subprocess
import sys
import types
from pathlib import Path

import pytest

import tnjax

SOURCE = Path(tnjax.__file__).read_text(encoding="utf-8")


def fresh(code: str, *words: str) -> str:
    """What a new process prints."""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def declared() -> dict[str, str]:
    """Public names and where they come from, as type checkers see it."""
    found = {}
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for alias in node.names:
                if alias.asname == alias.name:
                    home = f"tnjax.{node.module}" if node.module else "tnjax"
                    found[alias.name] = home
    return found


def test_type_checkers_and_python_see_the_same_names():
    names = declared()
    assert set(names) == set(tnjax.__all__)
    assert set(names) <= set(dir(tnjax))
    for name, home in names.items():
        value = getattr(tnjax, name)
        if home == "tnjax":
            assert value is sys.modules[f"tnjax.{name}"]
        else:
            assert value is getattr(sys.modules[home], name), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        _ = tnjax.serach


HEAVY = ("jax", "numpy", "scipy", "equinox", "optax", "flax", "chex", "rich", "PIL", "matplotlib")


def imported(code: str) -> set[str]:
    found = fresh(f"{code}\nimport sys\nprint('>', *[m for m in {HEAVY!r} if m in sys.modules])")
    return set(found.splitlines()[-1].split()) - {">"}


def test_importing_tnjax_imports_nothing_heavy():
    assert imported("import tnjax") == set()


@pytest.mark.parametrize("words", [["--help"], ["decompose", "--help"], ["sweep", "--help"]])
def test_help_imports_nothing_heavy(words):
    code = f"""
from tnjax.cli import main
try:
    main({words!r})
except SystemExit as end:
    assert end.code == 0"""
    assert imported(code) == set()


def test_a_search_imports_no_neural_networks():
    code = """
import jax, numpy as np, tnjax
problem = tnjax.Decomposition(np.ones((2, 2)))
tnjax.search(problem, key=jax.random.key(0), target_error=0.5, max_steps=1)"""
    assert not imported(code) & {"flax", "chex", "rich", "PIL", "matplotlib"}


def test_no_function_hides_a_package():
    """Python sets an imported package as an attribute of its parent, over what was there."""
    folder = Path(tnjax.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")}
    modules |= {path.parent.name for path in folder.glob("*/__init__.py")}
    for name in dir(tnjax):
        if not isinstance(getattr(tnjax, name), types.ModuleType):
            assert name not in modules


def test_values_show_themselves_though_pictures_are_imported_late():
    code = """
import tnjax, sys
structure = tnjax.Structure.rank_one((2, 3))
assert "tnjax.plot" not in sys.modules
print(structure._repr_html_().count("<svg"))"""
    assert fresh(code) == "1"


def test_everything_comes_with_a_star():
    assert fresh("from tnjax import *\nprint(search.__name__, Structure.__name__)") == (
        "search Structure"
    )


@pytest.mark.parametrize(("pause", "found"), [("1", "frozen"), ("0", "looked for")])
def test_a_process_of_the_command_ends_without_a_look_for_cycles(pause, found):
    code = """
import atexit, gc, os, sys
os.environ["TNJAX_PAUSE_GC"] = sys.argv[1]
atexit.register(lambda: print("frozen" if gc.get_freeze_count() > 1000 else "looked for"))
from tnjax._collector import allow
allow()"""
    assert fresh(code, pause) == found


def test_the_garbage_collector_is_as_it_was():
    code = """
import gc
from tnjax._collector import allow
allow()
from tnjax.cli._imports import import_all
for switch in (gc.disable, gc.enable):
    switch()
    before = gc.isenabled()
    import_all()
    assert gc.isenabled() == before
import sys
import types
print("tnjax._search.search" in sys.modules)"""
    assert fresh(code) == "True"
