"""The house: no circles of imports, nothing private used from outside, nothing hidden, no function
that is too long or takes too much."""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import tnjax

pytestmark = pytest.mark.quick

Graph = Mapping[str, Iterable[str]]


class House:
    """The modules of a package, read and never imported.

    Imports count wherever they stand: in functions and below `TYPE_CHECKING`, too.
    """

    def __init__(self, folder: Path):
        paths = sorted(folder.rglob("*.py"))
        self.trees = {
            _dotted(path.relative_to(folder.parent)): ast.parse(path.read_text(encoding="utf-8"))
            for path in paths
        }
        self.packages = {
            _dotted(path.relative_to(folder.parent)) for path in paths if path.stem == "__init__"
        }

    def package_of(self, module: str) -> str:
        return module if module in self.packages else module.rpartition(".")[0]

    def imports(self, module: str) -> Iterator[tuple[str, str | None, str]]:
        """For each import from this house: the module, the name in it (None for the module itself),
        and the name that it gets here."""
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in self.trees:
                        yield alias.name, None, alias.asname or alias.name
            elif isinstance(node, ast.ImportFrom):
                base = self._base(module, node)
                for alias in node.names:
                    bound = alias.asname or alias.name
                    if f"{base}.{alias.name}" in self.trees:
                        yield f"{base}.{alias.name}", None, bound
                    elif base in self.trees:
                        yield base, alias.name, bound

    def _base(self, module: str, node: ast.ImportFrom) -> str:
        above = self.package_of(module).split(".") if node.level else []
        above = above[: len(above) + 1 - node.level] if node.level else above
        return ".".join([*above, *filter(None, [node.module])])

    def graph(self) -> dict[str, set[str]]:
        return {
            module: {to for to, _, _ in self.imports(module)} - {module} for module in self.trees
        }


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def circles(graph: Graph) -> list[list[str]]:
    """Sets of nodes that reach each other."""
    reached = {node: _reached(graph, node) for node in graph}
    found = {
        frozenset(other for other in far if node in reached.get(other, ()))
        for node, far in reached.items()
        if node in far
    }
    return sorted(map(sorted, found))


def _reached(graph: Graph, start: str) -> set[str]:
    seen, todo = set(), list(graph[start])
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += graph.get(node, ())
    return seen


def contracted(graph: Graph, part: Callable[[str], str]) -> dict[str, set[str]]:
    """The graph between parts."""
    out: dict[str, set[str]] = {}
    for node, targets in graph.items():
        out.setdefault(part(node), set()).update({part(t) for t in targets} - {part(node)})
    return out


def module_circles(house: House) -> list[list[str]]:
    return circles(house.graph())


def package_circles(house: House) -> list[list[str]]:
    """Circles between what lies side by side in a package: its modules and its sub-packages."""
    graph, found = house.graph(), []
    for package in sorted(house.packages):
        inside = lambda module, package=package: module.startswith(f"{package}.")
        depth = package.count(".") + 2
        part = lambda module, depth=depth: ".".join(module.split(".")[:depth])
        below = {m: set(filter(inside, to)) for m, to in graph.items() if inside(m)}
        found += circles(contracted(below, part))
    return found


def intrusions(house: House) -> list[str]:
    """Private modules and names that are used outside of the package that they lie in."""
    found = []
    for module in house.trees:
        here = house.package_of(module) + "."
        aliases = {}
        for to, name, bound in house.imports(module):
            parts = to.split(".")
            homes = [".".join(parts[:k]) for k, part in enumerate(parts) if part.startswith("_")]
            if name is None:
                aliases[bound] = to
            elif _private(name):
                homes.append(house.package_of(to))
            if not all(here.startswith(f"{home}.") for home in homes):
                found.append(f"{module} imports {to}{f'.{name}' if name else ''}")
        for node in ast.walk(house.trees[module]):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                to = aliases.get(node.value.id)
                if to and _private(node.attr) and not here.startswith(house.package_of(to) + "."):
                    found.append(f"{module} uses {to}.{node.attr}")
    return found


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def hidden(house: House) -> list[str]:
    """Modules that cannot be reached by their names, since something else has the name."""
    found = []
    for package in house.packages:
        children = {m.removeprefix(f"{package}.") for m in house.trees if m != package}
        for to, name, bound in house.imports(package):
            if bound in children and not (name is None and to == f"{package}.{bound}"):
                found.append(f"{package}.{bound}")
        for node in house.trees[package].body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in children:
                found.append(f"{package}.{node.name}")
    return found


# Lines of a function, its docstring apart, and its arguments, `self` apart.
MOST_LINES, MOST_ARGUMENTS = 60, 8
# They have the names of the layers that they replace: only the first arguments change.
LAYERS = {
    f"tnjax.nn.{framework}.{layer}.__init__"
    for framework in ("equinox", "flax")
    for layer in ("TNLinear", "TNConv")
} | {"tnjax.nn.flax.TNGeneral.__init__"}
# Eight beside the model and its task.
BESIDE_ITS_SUBJECT = {"tnjax.nn._compress.compress"}


def functions(house: House) -> Iterator[tuple[str, ast.FunctionDef]]:
    """All functions by their names, those in classes and in other functions, too."""

    def below(node: ast.AST, name: str) -> Iterator[tuple[str, ast.FunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                yield f"{name}.{child.name}", child
            own = isinstance(child, ast.FunctionDef | ast.ClassDef)
            yield from below(child, f"{name}.{child.name}" if own else name)

    for module, tree in house.trees.items():
        yield from below(tree, module)


def length(function: ast.FunctionDef) -> int:
    first = function.body[0]
    text = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) is not None else 0
    return function.end_lineno - function.lineno + 1 - text


def arguments(function: ast.FunctionDef) -> int:
    told = function.args
    names = [arg.arg for arg in (*told.posonlyargs, *told.args, *told.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


HOUSE = House(Path(tnjax.__file__).parent)


def test_no_circle_of_imports_between_modules():
    assert module_circles(HOUSE) == []


def test_no_circle_of_imports_between_packages():
    assert package_circles(HOUSE) == []


def test_what_is_private_is_used_inside_of_its_package_only():
    assert intrusions(HOUSE) == []


def test_nothing_hides_a_module():
    assert hidden(HOUSE) == []


def test_no_function_is_too_long():
    lines = {name: length(function) for name, function in functions(HOUSE)}
    assert {name: n for name, n in lines.items() if n > MOST_LINES} == {}


def test_no_function_takes_too_many_arguments():
    counts = {name: arguments(function) for name, function in functions(HOUSE)}
    many = {name for name, count in counts.items() if count > MOST_ARGUMENTS}
    assert many == LAYERS | BESIDE_ITS_SUBJECT


# The checks themselves, on made-up packages.


def built(folder: Path, **files: str) -> House:
    """A package `house`; `a__b` is the module b of the sub-package a, `a____init__` its init."""
    for name, text in {"__init__": "", **files}.items():
        path = (folder / "house").joinpath(*name.split("__", 1) if name[0] != "_" else [name])
        path = path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text, encoding="utf-8")
    return House(folder / "house")


@pytest.mark.parametrize(
    "text",
    [
        "from .two import x",
        "import house.two",
        "def late():\n    from . import two",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.two import x",
    ],
)
def test_every_kind_of_import_closes_a_circle(tmp_path, text):
    house = built(tmp_path, one=text, two="from .three import x", three="from . import one")
    assert module_circles(house) == [["house.one", "house.three", "house.two"]]
    assert package_circles(house) == [["house.one", "house.three", "house.two"]]


def test_packages_can_be_in_a_circle_where_no_modules_are(tmp_path):
    house = built(tmp_path, a__x="from ..b.x import y", b__x="", b__z="from ..a import w", a__w="")
    assert module_circles(house) == []
    assert package_circles(house) == [["house.a", "house.b"]]


def test_private_names_are_found_where_they_are_used(tmp_path):
    house = built(
        tmp_path,
        a__x="from ..b._hidden import y\nfrom ..b.open import _z, y\nfrom .._root import y",
        a__y="from ..b import open\nopen._z()",
        b___hidden="",
        b__open="from ._hidden import _y",
        _root="",
    )
    assert intrusions(house) == [
        "house.a.x imports house.b._hidden.y",
        "house.a.x imports house.b.open._z",
        "house.a.y uses house.b.open._z",
    ]


def test_a_function_with_the_name_of_a_module_is_found(tmp_path):
    house = built(
        tmp_path, __init__="from .find import find\nfrom . import other", find="", other=""
    )
    assert hidden(house) == ["house.find"]
    assert hidden(built(tmp_path, __init__="def find(): ...", find="")) == ["house.find"]


def test_lines_and_arguments_are_counted_wherever_a_function_stands(tmp_path):
    text = '''
class Box:
    def put(self, a, /, b, *more, c, **others):
        """Two
        lines."""
        def inside(x):
            return x
        return inside
'''
    found = {name: (length(f), arguments(f)) for name, f in functions(built(tmp_path, one=text))}
    assert found == {"house.one.Box.put": (4, 3), "house.one.Box.put.inside": (2, 1)}
