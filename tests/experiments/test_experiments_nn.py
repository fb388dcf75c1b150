"""Every experiment and benchmark of networks in its small setting."""

import importlib
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).parents[2] / "experiments"

pytestmark = pytest.mark.usefixtures("usual_promotion")


@pytest.fixture
def experiment(monkeypatch):
    """Import an experiment as its command line would."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(ROOT))
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", False)
    known = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and str(ROOT) in sys.modules[name].__file__:
            del sys.modules[name]
    jax.config.update("jax_enable_x64", before)


def test_fcpe(experiment, tmp_path):
    out = tmp_path / "fcpe.json"
    arguments = ["--small", "--ranks", "4", "--clips", "2", "--calibration", "2"]
    rows = experiment("compress_fcpe").main([*arguments, "--out", str(out)])
    assert len(rows) == 5
    assert all(row["params"] <= 4 * (16 + 32 + 16 + 16) for row in rows[1:])
    assert json.loads(out.read_text(encoding="utf-8"))["rows"][0]["method"] == "dense"


def test_the_front_end_hears_the_pitch(experiment):
    """The loudest mel band of a pure low tone is the one that holds its pitch."""
    fcpe = experiment("fcpe")
    time = np.arange(fcpe.SAMPLE_RATE) / fcpe.SAMPLE_RATE
    for hertz in (440.0, 2500.0):
        mel = fcpe.log_mel(0.5 * np.sin(2 * np.pi * hertz * time))
        band = int(mel.mean(0).argmax())
        basis = fcpe.mel_basis()
        center = float(basis[band].argmax() * fcpe.SAMPLE_RATE / fcpe.WINDOW)
        assert abs(center - hertz) < 60
    found = np.asarray(fcpe.decode(jax.numpy.asarray(fcpe.soft_targets(np.array([100.0, 440.0])))))
    np.testing.assert_allclose(found, [100, 440], rtol=1e-3)


def test_minilm(experiment):
    arguments = ["--small", "--sentences", "4", "--calibration", "8", "--batch", "4"]
    rows = experiment("compress_minilm").main([*arguments, "--length", "8", "--steps", "2"])
    methods = {row["method"]: row["cosine"] for row in rows}
    assert methods["dense"] == pytest.approx(1, abs=1e-5)
    assert methods["calibrated on sentences"] > methods["SVD of each matrix"]


def test_word_pieces(experiment):
    tokenizer = experiment("minilm").Tokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##believ", "##able", "!", "cafe"]
    )
    ids, mask = tokenizer(["Unbelievable Café!", "xyz"], 8)
    assert ids.tolist() == [[2, 4, 5, 6, 8, 7, 3, 0], [2, 1, 3, 0, 0, 0, 0, 0]]
    assert mask.sum() == 10


def write_idx(path: Path, array: np.ndarray) -> None:
    header = b"\0\0\x08" + bytes([array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def test_digits_from_idx_files(experiment, tmp_path):
    rng = np.random.default_rng(0)
    for stem, count in (("train", 36), ("t10k", 12)):
        labels = np.arange(count) % 3
        images = rng.integers(0, 30, (count, 28, 28))
        images[np.arange(count), 20 + labels] = 255
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte", labels)
    rows = experiment("compress_mnist").main(
        [
            *("--data", str(tmp_path), "--train", "30", "--test", "12", "--batch", "6"),
            *("--fractions", "0.05", "--formats", "TT", "--dims", "4", "4", "4"),
            *("--steps", "8", "--start", "1", "--overshoot", "2", "--factor", "2", "--no-dense"),
            *("--screen-batches", "1", "--out", str(tmp_path / "o.json")),
            *("--plot", str(tmp_path / "o.png")),
        ]
    )
    assert {row["method"] for row in rows} == {"learned", "TT"}
    assert all(row["budget"] / 2 < row["params"] <= row["budget"] for row in rows)
    assert (tmp_path / "o.png").stat().st_size > 1000
    again = ["--seeds", "--add", str(tmp_path / "o.json"), "--plot", str(tmp_path / "p.png")]
    assert experiment("compress_mnist").main(again) == rows
    assert (tmp_path / "p.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="not an IDX file"):
        experiment("digits").read_idx(Path(__file__))


def test_layer_table(experiment):
    rows = experiment("layers").main(
        ["--size", "32", "--batches", "2", "--repeats", "1", "--layouts", "BTT 2"]
    )
    assert [row["layer"] for row in rows] == ["dense", "BTT 2"]
    assert all(row["forward_MiB"] >= 0 < row["forward_ms"] for row in rows)


def test_gradient_screen_table(experiment):
    rows = experiment("gradient_screen").main(
        ["--seeds", "1", "--nodes", "3", "--pretrain", "5", "--trial-steps", "5"]
    )
    assert rows[0]["bonds"] == 6
    assert -1 <= rows[0]["spearman"] <= 1


def test_differences_are_paired(experiment):
    script = experiment("compress_mnist")
    values = {"learned": (0.9, 0.8), "TT": (0.8, 0.6)}
    rows = [
        {"seed": seed, "fraction": 0.1, "method": method, "accuracy": value}
        for method, pair in values.items()
        for seed, value in enumerate(pair)
    ]
    (mean,) = script.differences(rows)
    (error,) = script.differences(rows, spread=True)
    assert mean == pytest.approx({"fraction": 0.1, "TT": 0.15})
    assert error == pytest.approx({"fraction": 0.1, "TT": 0.05})
    (error,) = script.summary(rows, "accuracy", spread=True)
    assert error == pytest.approx({"fraction": 0.1, "learned": 0.05, "TT": 0.1})
