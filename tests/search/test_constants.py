"""Tuned constants: all listed and documented, replaced together, and nowhere else."""

import ast
import contextvars
import math
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

import tnjax
from tnjax import ALS, Decomposition, Structure, TensorNetwork, _compile, _tuned, constants

PACKAGE = Path(tnjax.__file__).parent

# Folders whose numbers no network depends on: what is read, written, shown or waited for.
OUTSIDE = ("_report", "cli", "distributed", "io", "log", "plot", "sweep")
# Numbers that are not tuned.
NOT_TUNED = {
    "_compile._CACHE_SIZE": "programs that a process keeps",
    "_compile._FAST": "options of the compiler",
    "_compile._FULL": "options of the compiler",
    "_compiling._LOOK": "seconds between two looks at a thread",
    "_search.strategies.latent_tree._RANKS": "ranks to choose from",
    "contract.slices._MOST": "steps of a loop",
    "contract.log_rows._FINITE": "of single precision",
    "features._local._JITTER": "of sums in double precision",
    "features._smooth._RANK": "of sums in double precision",
    "nn._training.ADAM": "an object that programs are kept for",
    "_mesh._PIECE_BYTES": "bytes of a message between processes",
    "_processes._TEXT": "bytes of a message between processes",
    "_script._EVERY": "seconds between lines on the terminal",
    "_search.storage.checkpoint._KEEP": "files that are kept",
    "_search.storage.checkpoint._VERSION": "of a file format",
    "_search.spectra.choices._ROUNDING": "of sums in double precision",
    "_search.spectra.graphs._WORST": "more than any cost",
    "problems.leading._KNOWN": "results that are kept",
    "_structure._JSON_VERSION": "of a file format",
    "contract._mantissa._FORMATS": "bits of floating-point formats",
    "contract._sweep.START": "a label",
    "dynamics._flow._GROWTH": "one decimal digit",
    "dynamics._operators.DONE": "a place on an axis",
    "dynamics._operators.IDENTITY": "a place on an axis",
    "lattice._schemes._BOND_WEIGHT": "where the fixed point is stationary, derived",
    "nn._files._VERSION": "of a file format",
    "nn._torch_file._MOST_PICKLE_BYTES": "bytes of a file that is read",
    "nn.equinox._UNIFORM_VARIANCE": "of a distribution, exact",
    "nn.flax._LECUN_VARIANCE": "of a distribution, exact",
    "problems._losses._NAMED": "losses by name, with what their names stand for",
    "problems._losses._NORMAL": "of a distribution, exact",
    "problems.held_out._MOST_KEYS": "the range of 64-bit integers",
    "problems._sparse._PIECE": "entries that are held in memory together",
    "problems._streamed_completion.TRAINING": "a label",
    "problems._streamed_completion.VALIDATION": "a label",
    "problems._streamed_completion.TEST": "a label",
    "problems._streamed_completion._SPLIT": "a stream of random numbers",
    "problems._streamed_completion._SUBSET": "a stream of random numbers",
}


def is_number(node: ast.AST | None) -> bool:
    """Whether an expression is made of numbers alone."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(map(is_number, node.elts))
    if isinstance(node, ast.Dict):
        return any(map(is_number, node.values))
    if isinstance(node, ast.BinOp):
        return is_number(node.left) and is_number(node.right)
    if isinstance(node, ast.UnaryOp):
        return is_number(node.operand)
    if isinstance(node, ast.Call):  # range(2, 65)
        return bool(node.args) and all(map(is_number, node.args))
    return isinstance(node, ast.Constant) and type(node.value) in (int, float, complex)


def numbers_of(path: Path) -> set[str]:
    """Names that a module gives to numbers."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            values = node.value.elts if isinstance(node.value, ast.Tuple) else None
            if isinstance(target, ast.Tuple) and values:
                pairs = zip(target.elts, values, strict=True)
            else:
                pairs = [(target, node.value)]
            found |= {name.id for name, value in pairs if is_number(value)}  # type: ignore
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return {f"{module}.{name}" for name in found}


def test_a_number_with_a_name_is_a_tuned_constant_or_has_a_reason():
    files = [p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] not in OUTSIDE]
    found = set().union(*map(numbers_of, files))
    assert found == set(NOT_TUNED)


def registered() -> dict[str, str]:
    """Parts as they are registered in the source, and the modules that do so."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            call = node.value if isinstance(node, ast.Assign) else None
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "tuned":
                assert isinstance(call.args[0], ast.Constant)
                parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
                found[call.args[0].value] = ".".join(parts)
    return found


def test_all_parts_are_known():
    assert registered() == constants.HOMES
    assert list(constants.HOMES) == sorted(constants.HOMES)


def test_all_are_listed_with_what_they_mean():
    found = {constant.name: constant for constant in constants.listed()}
    assert {name.partition(".")[0] for name in found} == set(constants.HOMES)
    for constant in found.values():
        assert len(constant.doc) > 8, constant.name
        assert constant.doc.endswith((".", ")", "...")), constant.name
        assert constant.value == constant.default
        for number in constant.value if isinstance(constant.value, tuple) else (constant.value,):
            assert type(number) in (int, float), constant.name
            assert math.isfinite(number)
    assert "data have ranks" in found["measuring.definite"].doc
    # A doc of several lines is one text, and fields that share one both have it.
    assert "\n" not in found["measuring.definite"].doc
    assert "never were better." in found["measuring.definite"].doc


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"growth.fra": 0.2}, r"no 'growth.fra'; did you mean 'growth.far'\?"),
        ({"grwth.far": 0.2}, r"did you mean 'growth.far'\?"),
        ({"growth": 0.2}, "no 'growth'"),
        ({"growth.__class__": 0.2}, "no 'growth.__class__'"),
        ({"": 1}, r"`constants.listed\(\)` names all"),
        ({"effort.large": 0.5}, r"effort.large is an integer \(1000\); got 0.5"),
        ({"growth.far": True}, r"growth.far is a number \(0.1\); got True"),
        ({"growth.far": math.nan}, "got nan"),
        ({"growth.far": (0.1,)}, "growth.far is a number"),
        ({"grouped.ranks": 2}, r"grouped.ranks is a tuple such as \(2, 3, 4, 6\); got 2"),
        ({"grouped.ranks": ()}, r"got \(\)"),
        ({"grouped.ranks": (2, 2.5)}, "grouped.ranks is an integer"),
        ({"growth.far": 0.2, "growth.fra": 0.2}, "no 'growth.fra'"),
    ],
)
def test_what_cannot_be_overridden_is_refused_and_nothing_is(values, message):
    with pytest.raises(ValueError, match=message), constants.overridden(values):
        pass
    assert constants.current("growth.far") == 0.1


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match=r"no part 'grwth'; did you mean 'growth'\?"):
        constants.listed("grwth")


def other(value):
    """Another value of the same kind."""
    if isinstance(value, tuple):
        return tuple(map(other, value))
    return value + 1 if isinstance(value, int) else 2 * value


def test_every_constant_is_overridden_and_comes_back():
    before = {constant.name: constant.value for constant in constants.listed()}
    after = {name: other(value) for name, value in before.items()}
    with constants.overridden(after):
        assert {c.name: c.value for c in constants.listed()} == after
        assert {c.name: c.default for c in constants.listed()} == before
    assert {c.name: c.value for c in constants.listed()} == before


def test_overrides_nest_and_end_with_an_error():
    with constants.overridden({"growth.far": 0.2, "effort.again": 3}):
        assert constants.current("effort.again") == 3.0
        with pytest.raises(KeyError, match=r"0.3, 3.0"), constants.overridden({"growth.far": 0.3}):
            raise KeyError(constants.current("growth.far"), constants.current("effort.again"))
        assert constants.current("growth.far") == 0.2
    assert constants.current("growth.far") == 0.1


def test_other_threads_keep_their_values_and_started_with_the_context_have_it():
    seen = []
    look = lambda: seen.append(constants.current("growth.far"))
    with constants.overridden({"growth.far": 0.2}):
        context = contextvars.copy_context()
        for target in (look, lambda: context.run(look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert seen == [0.1, 0.2]


def test_what_is_read_is_recorded_and_only_that():
    """In a program that is there already, too; and with a value that is overridden."""
    problem = Decomposition(np.random.default_rng(0).standard_normal((4, 5, 6)))
    structure = Structure.tensor_ring((4, 5, 6), 2)
    run = lambda: tnjax.fit(problem, structure, key=jax.random.key(1), solver=ALS(), max_steps=3)
    run()
    with constants.recorded() as read, constants.overridden({"als.ridge": 1e-3}):
        run()
        assert constants.current("als.ridge") == 1e-3
    assert {"als.ridge", "solvers.max_failures", "fit.history"} <= read
    assert not [name for name in read if name.startswith(("growth", "levenberg", "damping"))]
    before = len(read)
    run()
    assert len(read) == before


# What the code reads ----------------------------------------------------------------------


def test_a_search_reads_them():
    """From its first step on: with no effort left after the target, nothing is made smaller but
    by taking ranks away, and nothing is inferred from data that are said to have no ranks."""
    train = TensorNetwork.random(Structure.tensor_train((4, 5, 4, 5), 2), key=jax.random.key(0))
    problem = Decomposition(train.to_dense())
    kinds = lambda found: [step.move.kind for step in found.path]
    run = lambda: tnjax.search(problem, key=jax.random.key(0), target_error=1e-5)
    usual = run()
    assert "infer" in kinds(usual)
    with constants.overridden({"measuring.definite": 10.0}):
        grown = run()
    assert "infer" not in kinds(grown)
    assert "grow" in kinds(grown)
    again = run()
    assert kinds(again) == kinds(usual)
    for a, b in zip(again.network.cores, usual.network.cores, strict=True):
        np.testing.assert_array_equal(a, b)


def test_programs_are_those_of_the_values():
    """A ridge of the solver is a number in its compiled program: an override makes another one,
    and afterwards the first one is there again."""
    x = np.random.default_rng(0).standard_normal((4, 5, 6))
    problem, structure = Decomposition(x), Structure.tensor_ring(x.shape, 2)
    run = lambda: (
        tnjax.fit(problem, structure, key=jax.random.key(1), solver=ALS(), max_steps=3).error
    )
    usual = run()
    with constants.overridden({"als.ridge": 0.3}):
        assert run() > usual * (1 + 1e-6)
    assert run() == usual


def test_what_is_jitted_elsewhere_is_traced_anew():
    problem = Decomposition(np.ones((2, 2)))
    network = TensorNetwork.random(Structure.rank_one((2, 2)), key=jax.random.key(0))

    @jax.jit
    def ridge(x):
        return x + ALS().init(problem, network)

    assert float(ridge(0.0)) == pytest.approx(1e-12)
    with constants.overridden({"als.ridge": 0.5}):
        assert float(ridge(0.0)) == 0.5
    assert float(ridge(0.0)) == pytest.approx(1e-12)


def test_values_that_no_program_contains_cost_no_program():
    assert _tuned.traced_overrides() == ()
    with constants.overridden({"growth.far": 0.2}):
        assert _tuned.traced_overrides() == ()
    with constants.overridden({"als.ridge": 0.2, "growth.far": 0.2}):
        assert [part for part, _ in _tuned.traced_overrides()] == ["als"]


def test_forecasts_are_those_of_the_values():
    from tnjax.contract import path
    from tnjax.contract.equation import dense_equation

    equation = dense_equation(Structure.tensor_train((2,) * 12, (2, 3, 5, 7, 5, 3, 5, 7, 5, 3, 2)))
    usual = path.plan(equation)
    with constants.overridden({"paths.exact_operands": 2}):
        assert path.plan(equation) is not usual  # found anew
        assert path.plan(equation) is path.plan(equation)  # once
    assert path.plan(equation) is usual


def test_the_tier_of_a_program_follows_them():
    assert _compile.choose_tier(1000) == "fast"
    with constants.overridden({"programs.full_seconds": 1e-9}):
        assert _compile.choose_tier(1000) == "full"


def trees() -> dict[str, ast.Module]:
    """The package's source by module."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): ast.parse(
            path.read_text(encoding="utf-8")
        )
        for path in PACKAGE.rglob("*.py")
    }


def called(node: ast.AST) -> str:
    """The name that an expression calls."""
    return getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""


def handles(sources: dict[str, ast.Module]) -> dict[str, str]:
    """Names of handles, and their parts."""
    found = {}
    for tree in sources.values():
        for node in tree.body:
            if isinstance(node, ast.Assign) and called(node.value) == "tuned":
                assert isinstance(node.targets[0], ast.Name)
                part = node.value.args[0].value  # type: ignore
                assert node.targets[0].id not in found
                found[node.targets[0].id] = part
    return found


def test_every_constant_is_read_through_its_handle():
    sources = trees()
    known, read = handles(sources), set()
    for tree in sources.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and called(node.value) in known:
                read.add(f"{known[called(node.value)]}.{node.attr}")
            if isinstance(node, ast.FunctionDef):  # a name of a function that stands for them
                for there in ast.walk(node):
                    if isinstance(there, ast.Assign) and called(there.value) in known:
                        (name,) = there.targets
                        read |= {
                            f"{known[called(there.value)]}.{attribute.attr}"
                            for attribute in ast.walk(node)
                            if isinstance(attribute, ast.Attribute)
                            and isinstance(attribute.value, ast.Name)
                            and attribute.value.id == name.id
                        }
    assert read == {constant.name for constant in constants.listed()}


def test_none_is_read_while_a_module_is_imported():
    """It would be the default for good, whatever is overridden later."""
    sources, early = trees(), []
    known = handles(sources)

    def look(node: ast.AST, module: str) -> None:
        if called(node) in known:
            early.append((module, called(node)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    look(default, module)
        else:
            for child in ast.iter_child_nodes(node):
                look(child, module)

    for module, tree in sources.items():
        look(tree, module)
    assert early == []
