"""Settings that every test runs under. Nothing here may import tnjax: the type checker has to be
hooked in first (`--jaxtyping-packages`)."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", True)

hypothesis.settings.register_profile(
    "tnjax", deadline=None, max_examples=30, derandomize=True, database=None
)
hypothesis.settings.load_profile("tnjax")


@pytest.fixture
def unchecked():
    """Arguments of wrong types reach the package's own checks, as they do outside the tests."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
