"""Settings that every test runs under. Nothing here may import tnjax: the type checker has to be
hooked in first (`--jaxtyping-packages`)."""

import contextlib
import gc
import itertools
import logging
import os
import sys

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import jax
import jaxlib.version
import jaxtyping
import pytest

# Thousands of programs are compiled here and hardly run: the compiler may hurry. It refuses to
# begin with a flag that it does not know.
_HURRY = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
]
if jaxlib.version.__version_info__ < (0, 11):
    _HURRY.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([*_HURRY, os.environ.get("XLA_FLAGS", "")]).strip()

# With TNJAX_TEST_X64=0 the tests run with JAX's own precision, as a new user has it.
_DOUBLE = os.environ.get("TNJAX_TEST_X64", "1") != "0"
jax.config.update("jax_enable_x64", _DOUBLE)

# Nothing of ours counts on promotion: of dtypes, or of ranks. Commands that tests start as well.
_EXACT = {"jax_numpy_dtype_promotion": "strict", "jax_numpy_rank_promotion": "raise"}
for _name, _value in _EXACT.items():
    os.environ[_name.upper()] = _value
    jax.config.update(_name, _value)

hypothesis.settings.register_profile(
    "tnjax", deadline=None, max_examples=30, derandomize=True, database=None
)
hypothesis.settings.load_profile("tnjax")


# Every compiled program holds memory mappings, of which Linux allows a process 65,530: past them
# the compiler crashes. So all programs are forgotten once in so many tests.
_TESTS_BETWEEN = 100
_finished = itertools.count(1)


def pytest_runtest_teardown(item, nextitem):
    if next(_finished) % _TESTS_BETWEEN == 0:
        if "tnjax._compile" in sys.modules:
            sys.modules["tnjax._compile"].clear_cache()
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True)
def _same_precision():
    """Commands that a test runs in this process may switch to double precision."""
    yield
    jax.config.update("jax_enable_x64", _DOUBLE)


@pytest.fixture
def double(_same_precision):
    """What a command leaves is of double precision; whoever loads it tells JAX so."""
    jax.config.update("jax_enable_x64", True)


@pytest.fixture
def usual_promotion(monkeypatch):
    """Models and notebooks are written as users write them, with biases that are broadcast."""
    for name in _EXACT:
        monkeypatch.delenv(name.upper())
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def unchecked():
    """Arguments of wrong types reach the package's own checks, as they do outside the tests."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def override():
    """`override({"effort.large": 0})`: tuned constants with other values until the test ends."""
    from tnjax import constants

    with contextlib.ExitStack() as stack:
        yield lambda values: stack.enter_context(constants.overridden(values))


class _Compiled(logging.Handler):
    """What was compiled since the interpreter did not run it."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.records = []

    def emit(self, record):
        self.records.append(record)


_compiled = _Compiled()
logging.getLogger("tnjax.interpret").addHandler(_compiled)
logging.getLogger("tnjax.interpret").setLevel(logging.DEBUG)


@pytest.fixture(autouse=True)
def _interpreter_does_not_fail(request):
    """Not to know an operation is no fault. To fail costs users only time; here it is seen."""
    _compiled.records.clear()
    yield
    failed = [record for record in _compiled.records if record.exc_info]
    if failed and "fallback" not in request.fixturenames:
        pytest.fail(f"the interpreter failed: {failed[0].getMessage()}")


@pytest.fixture
def fallback():
    """The test makes programs that the interpreter fails at; these are the lines of the log."""
    return _compiled.records
