"""Videos: read, written, refused."""

import re
import sys

import numpy as np
import pytest

from tests.cli_helpers import run, strict_json
from tnjax._install import install_hint
from tnjax.io import read_tensor, write_video


def frames(height=16, width=24, color=True) -> np.ndarray:
    """A bright square that moves over a slope."""
    out = np.zeros((5, height, width, 3))
    out[...] = np.linspace(40, 160, width)[None, None, :, None]
    for k, frame in enumerate(out):
        frame[4:12, 2 * k : 2 * k + 8] = 220
    return out if color else out[..., 0]


@pytest.mark.parametrize("color", [False, True])
def test_a_video_is_frames_by_height_by_width_by_3(tmp_path, color):
    write_video(tmp_path / "x.mp4", frames(color=color) / 2, white=127.5, rate=12.5)
    data = read_tensor(tmp_path / "x.mp4")
    assert data.array.shape == (5, 16, 24, 3)
    assert (data.white, data.rate, data.is_image) == (255.0, 12.5, False)
    assert np.abs(data.array - frames()).mean() < 6  # compressed with loss


def test_odd_sizes_are_padded(tmp_path):
    write_video(tmp_path / "x.mp4", frames(15, 23), white=255, rate=25)
    assert read_tensor(tmp_path / "x.mp4").array.shape == (5, 16, 24, 3)


def test_frames_past_the_limit_are_refused(tmp_path):
    write_video(tmp_path / "x.mp4", frames(64, 64), white=255, rate=25)
    with pytest.raises(ValueError, match=r"x\.mp4.*max_bytes"):
        read_tensor(tmp_path / "x.mp4", max_bytes=30_000)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"ffconcat version 1.0\nfile x.mp4\n", b"#EXTM3U\n#EXTINF:1,\nx.mp4"]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_what_is_no_video_is_refused(tmp_path, content, suffix):
    write_video(tmp_path / "x.mp4", frames(), white=255, rate=25)
    (tmp_path / f"other{suffix}").write_bytes(content)
    with pytest.raises(ValueError, match="other"):
        read_tensor(tmp_path / f"other{suffix}")


def test_a_cut_video_is_refused_or_shorter(tmp_path):
    write_video(tmp_path / "x.mp4", frames(), white=255, rate=25)
    data = (tmp_path / "x.mp4").read_bytes()
    (tmp_path / "x.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"x\.mp4"):
        read_tensor(tmp_path / "x.mp4")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=re.escape(install_hint("video"))):
        write_video(tmp_path / "x.mp4", frames(), white=255, rate=25)
    assert list(tmp_path.iterdir()) == []


def test_a_video_is_completed(tmp_path):
    write_video(tmp_path / "x.mp4", frames(), white=255, rate=25)
    options = ("--observed", "0.5", "--max-params", "60", "--out", tmp_path / "run")
    status, _, err = run("complete", tmp_path / "x.mp4", *options)
    assert (status, err) == (0, "")
    completed = np.load(tmp_path / "run" / "completed.npy")
    assert completed.shape == (5, 16, 24, 3)
    shown = read_tensor(tmp_path / "run" / "completed.mp4")
    assert shown.rate == 25
    assert np.abs(shown.array - np.clip(completed, 0, 255)).mean() < 20  # of values up to 255
    assert (tmp_path / "run" / "completed.png").is_file()
    errors = strict_json(tmp_path / "run" / "result.json")["errors"]
    assert errors["test"]["entries"] == completed.size // 2
