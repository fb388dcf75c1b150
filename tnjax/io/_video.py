"""Videos in and out, by PyAV (FFmpeg)."""

import importlib
import io
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .._atomic import atomic_path
from .._errors import ReadError
from .._install import install_hint

# The container is named, and data come from memory: a file cannot make FFmpeg read others.
_CONTAINERS = {".mp4": "mov", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi"}
VIDEO_SUFFIXES = tuple(_CONTAINERS)
_GRAY = ("gray", "gray10le", "gray12le", "gray16le", "monow", "monob")


def read_video(path: Path, limit: int) -> tuple[np.ndarray, float]:
    """All frames of the first video stream, and how many there are in a second.

    Args:
        path: of the file.
        limit: bytes that the frames may take.

    Returns:
        Bytes [frames, height, width] of a gray video, else [frames, height, width, 3].

    Raises:
        ImportError: if PyAV is not installed.
        ValueError: if it is no video, a damaged or a too large one.
    """
    av = _av()
    frames: list[np.ndarray] = []
    try:
        data = io.BytesIO(path.read_bytes())
        with av.open(data, format=_CONTAINERS[path.suffix.lower()]) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            gray = context.pix_fmt in _GRAY
            size = max(1, context.width * context.height) * (1 if gray else 3)
            rate = float(stream.average_rate or 25)
            for frame in container.decode(stream):
                if frame.width * frame.height * (1 if gray else 3) != size:
                    raise ValueError("the size of the frames changes")
                if size * (len(frames) + 1) > limit:
                    raise ValueError(f"the frames need more than max_bytes={limit}")
                frames.append(frame.to_ndarray(format="gray" if gray else "rgb24"))
    except Exception as error:  # on damaged files the library raises almost anything
        raise ReadError(path, f"not a video, or a damaged one ({error}).") from error
    if not frames:
        raise ReadError(path, "the video has no frames.")
    return np.stack(frames), rate


def write_video(path: str | os.PathLike[str], array: np.ndarray, white: float, rate: float) -> None:
    """Write [frames, height, width] or [frames, height, width, 3] as an MP4 that players show.

    It is compressed with loss, values past the range are clipped, and a last row or column is
    repeated where a size is odd.

    Args:
        path: of the file.
        array: [frames, height, width] or [frames, height, width, 3].
        white: the value that stands for full intensity; 0 is black.
        rate: frames in a second.

    Raises:
        ImportError: if PyAV is not installed.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from tnjax.io import read_tensor, write_video
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_video(f"{folder}/x.mp4", np.zeros((3, 16, 16)), white=1.0, rate=25)
        ...     read_tensor(f"{folder}/x.mp4").array.shape
        (3, 16, 16, 3)
    """
    av = _av()
    scaled = np.clip(np.rint(np.asarray(array, np.float64) * (255 / white)), 0, 255)
    frames = scaled.astype(np.uint8)
    if frames.ndim == 3:
        frames = np.repeat(frames[..., None], 3, axis=3)
    odd = [(0, 0), *((0, n % 2) for n in frames.shape[1:3]), (0, 0)]
    frames = np.pad(frames, odd, mode="edge")
    with atomic_path(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.qmin, stream.codec_context.qmax = 1, 4
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _av() -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise ImportError(f"Videos need PyAV: {install_hint('video')}.") from error
