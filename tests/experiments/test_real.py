"""The benchmark on real data, at a small setting, and its data."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import erf

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import terms


@pytest.fixture(scope="module")
def real():
    return importlib.import_module("real")


@pytest.fixture(scope="module")
def tensors():
    return importlib.import_module("tensors")


@pytest.mark.filterwarnings("ignore:Trying to compute SVD:UserWarning")
def test_a_small_table_and_its_page(real, tmp_path, capsys):
    out, page = tmp_path / "real.json", tmp_path / "real.html"
    methods = ["search", "tree", "svd", "tensorly tt", "tensorly tucker", "terms haar"]
    options = ["--data", "astronaut", "--size", "3", "--errors", "0.3", "--out", str(out)]
    limits = ["--max-seconds", "20", "--page", str(page)]
    rows = real.main([*options, "--methods", *methods, *limits])
    assert [row["method"] for row in rows] == methods
    tensor = real.load("astronaut", 3)
    assert tensor.shape == (3,) * 8
    for row in rows:
        assert row["error"] <= 0.3
        assert row["curve"][-1][1] == row["params"]
        assert row["curve"] == sorted(row["curve"])
    search, tree, svd, *_ = rows
    assert search["params"] <= tree["params"] <= svd["params"]
    best = np.inf
    for k in range(1, 8):  # by NumPy
        s = np.linalg.svd(tensor.reshape(3**k, -1), compute_uv=False)
        tails = np.sqrt(np.append(np.cumsum(s[::-1] ** 2)[::-1], 0.0)) / np.linalg.norm(s)
        best = min(best, int(np.argmax(tails <= 0.3)) * (3**k + 3 ** (8 - k)))
    assert svd["params"] == best
    record = json.loads(out.read_text())
    assert len(record["rows"]) == len(methods)
    found = real.verdict(record["rows"])
    assert found["later"] == search["params"]
    assert found["later kept"]
    assert "no larger" in capsys.readouterr().out
    assert sum(np.prod(shape) for shape in _core_shapes(tree["structure"])) == tree["params"]
    text = page.read_text()
    assert text.count("<svg") >= 1
    assert "Verdicts" in text
    again = tmp_path / "again.html"
    real.main(["--read", str(out), "--page", str(again)])
    assert "astronaut (3x3x3x3x3x3x3x3) at 0.3" in again.read_text()


def _core_shapes(structure):
    for node, legs in enumerate(structure["legs"]):
        bonds = [edge["rank"] for edge in structure["edges"] if node in edge["nodes"]]
        yield [structure["dims"][mode] for mode in legs] + bonds


def test_tensorly_rows_keep_the_error(real):
    tensor = np.random.default_rng(0).standard_normal((4, 5, 6))
    for name in ("tt", "tucker", "cp"):
        row = real.tensorly(name, tensor, 0.6, 20.0)
        assert row["error"] <= 0.6
        assert row["params"] < 2 * tensor.size


def test_images_have_the_size_they_say(real, tensors):
    for name in ("camera", "astronaut", "coins", "brick"):
        pixels = tensors.datasets.image(name)
        assert pixels.shape == (256, 256)
        assert 0 <= pixels.min() < pixels.max() <= 1
    assert real.load("kinetic").shape == (64, 12, 10, 60)


def test_two_thirds_of_the_tensors_are_science(tensors):
    photos = [source.photo for source in tensors.TENSORS.values()]
    assert len(photos) >= 24
    assert 3 * sum(photos) <= len(photos)


# What is computed, against another way to compute it ---------------------------------------------


def test_integrals_of_gaussians(tensors):
    found = tensors.electron_repulsion(atoms=3, spacing=1.1, exponent=0.7)
    assert found.shape == (3,) * 4
    # All on one center: 2 sqrt(a / pi).
    np.testing.assert_allclose(found[0, 0, 0, 0], 2 * np.sqrt(0.7 / np.pi), rtol=1e-12)
    for order in ((1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)):
        np.testing.assert_allclose(found, found.transpose(order), rtol=1e-12)
    # 1/r between two round charges: erf(sqrt(a) R) / R.
    apart = 2.2
    np.testing.assert_allclose(found[0, 0, 2, 2], erf(np.sqrt(0.7) * apart) / apart, rtol=1e-12)


def test_solutions_of_burgers(tensors):
    u = tensors.burgers(points=128, times=301, viscosities=3)
    x = 2 * np.pi * np.arange(128) / 128
    np.testing.assert_allclose(u[:, 0], np.repeat(np.sin(x)[:, None], 3, 1), atol=1e-6)
    waves = 1j * np.fft.fftfreq(128, 1 / 128)
    slope = np.fft.ifft(waves[:, None, None] * np.fft.fft(u, axis=0), axis=0).real
    bend = np.fft.ifft(waves[:, None, None] ** 2 * np.fft.fft(u, axis=0), axis=0).real
    change = (u[:, 2:] - u[:, :-2]) / 0.02
    nu = np.geomspace(0.05, 0.5, 3)
    rest = (change + (u * slope)[:, 1:-1] - nu * bend[:, 1:-1])[:, 5:]
    assert np.abs(rest[..., 1:]).max() < 2e-3 * np.abs(bend).max()


def test_solutions_of_the_diffusion_equation(tensors):
    u = tensors.diffusion(points=31, values=3)
    x = np.arange(1, 32) / 32
    for k, level in enumerate(np.geomspace(0.1, 10, 3)):
        np.testing.assert_allclose(u[:, k, k, k, k], x * (1 - x) / (2 * level), rtol=1e-9)
    steps = np.geomspace(0.1, 10, 3)[[0, 2, 1, 0]]  # flux constant less x: the derivative jumps
    bend = -np.diff(u[:, 0, 2, 1, 0], 2) * 32**2
    np.testing.assert_allclose(bend[[3, 11, 19, 27]], 1 / steps, rtol=1e-9)


def test_trajectories_and_waves(tensors):
    u = tensors.lorenz(starts=3, times=40)
    slope = lambda _, s: (10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2])
    times = np.arange(40) * 2.0 / 40
    exact = solve_ivp(slope, (0, 2), u[:, 0, 0, 2], t_eval=times, rtol=1e-10, atol=1e-10).y
    np.testing.assert_allclose(u[:, :, 0, 2], exact, atol=0.05)
    string = tensors.waves(points=51, times=11, speeds=2, places=3)
    assert np.abs(string[[0, -1]]).max() < 1e-12
    x = np.linspace(0, 1, 51)[:, None]
    pluck = np.linspace(0.1, 0.5, 3)
    start = np.where(x < pluck, x / pluck, (1 - x) / (1 - pluck))
    np.testing.assert_allclose(string[:, 0, 0], start, atol=0.02)


def test_terms_of_orthonormal_bases():
    rng = np.random.default_rng(0)
    tensor = rng.standard_normal((9, 6, 5))
    for basis in terms.BASES.values():
        np.testing.assert_allclose(np.linalg.norm(basis(tensor)), np.linalg.norm(tensor))
        assert np.count_nonzero(np.abs(basis(np.ones((8, 16)))) > 1e-9) <= 2
        # Linear and orthogonal: inner products are kept.
        other = rng.standard_normal(tensor.shape)
        np.testing.assert_allclose(np.vdot(basis(tensor), basis(other)), np.vdot(tensor, other))
    count, error = terms.numbers(tensor, "haar", 0.5)
    kept = np.sort(np.abs(terms.haar(tensor)).ravel())[::-1][: count // 2]
    left = np.sqrt(1 - np.sum(kept**2) / np.sum(tensor**2))
    np.testing.assert_allclose(error, left)
    assert left <= 0.5 < np.sqrt(left**2 + kept[-1] ** 2 / np.sum(tensor**2))
