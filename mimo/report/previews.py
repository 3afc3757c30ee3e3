"""Small videos for the report, and how large its pictures and videos may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimo.video import VideoReader, VideoWriter

FASTEST = 20
"""Frames per second above which a preview shows every second frame only (and so on)."""
CODED = 4 / 3
"""Growth of bytes as base64."""
TEXT = 9_000
"""Bytes of page text of one row with its details, about."""
FRAME = 45_000
"""Bytes of the page without rows, about."""
CRFS = range(24, 49, 6)
"""Qualities to try, from the best: a still camera's video fits at once."""


@dataclass(frozen=True)
class Size:
    """How much room the pictures and videos of one row may take.

    Attributes:
        name: part of the names of kept files.
        side: longer side of a preview, pixels; 0: no previews.
        seconds: length of a preview at most.
        clip_bytes: size of a preview at most.
        poster, poster_bytes: width and size of a row's picture.
        sheet, sheet_times, sheet_bytes: width, times shown at most and size of a contact sheet; 0: none.
    """

    name: str
    side: int
    seconds: float
    clip_bytes: int
    poster: int
    poster_bytes: int
    sheet: int
    sheet_times: int
    sheet_bytes: int

    def page_bytes(self, results: int, templates: int) -> float:
        """Size of a page with so many results and templates at most, bytes."""
        result = self.clip_bytes + self.poster_bytes + self.sheet_bytes
        template = self.poster_bytes + self.sheet_bytes
        return CODED * (results * result + templates * template) + TEXT * (results + templates) + FRAME


SIZES = [
    Size("large", 320, 8, 150_000, 320, 12_000, 1400, 7, 110_000),
    Size("medium", 320, 6, 80_000, 256, 8_000, 960, 5, 45_000),
    Size("small", 256, 4, 36_000, 208, 5_000, 640, 4, 18_000),
    Size("smaller", 224, 3, 20_000, 192, 4_000, 560, 4, 12_000),
    Size("tiny", 160, 2, 10_000, 160, 3_000, 400, 3, 7_000),
    Size("poster", 0, 0, 0, 160, 3_000, 0, 0, 0),
]
"""From the best to the smallest; results are looked at more closely when there are few."""


def fitting_size(results: int, templates: int, budget: float) -> Size:
    """The best size whose page stays within a budget of bytes, else the smallest."""
    return next((size for size in SIZES if size.page_bytes(results, templates) <= budget), SIZES[-1])


def write_preview(path: Path, video: Path, size: Size) -> None:
    """Write the middle of a video as a small one without sound (H.264, 4:2:0, plays while it loads).

    Args:
        path: ``.mp4`` file to write.
        video: a finished video.
        size: of the preview; if the file is larger than its `clip_bytes`, the quality is lowered.

    Raises:
        VideoError: the video cannot be read.
    """
    reader = VideoReader(video)
    fps = float(reader.info.fps)
    step = max(1, round(fps / FASTEST))
    shown = min(len(reader), round(size.seconds * fps))
    first = (len(reader) - shown) // 2
    for crf in CRFS:
        with VideoWriter(path, reader.info.fps / step, crf=crf) as writer:
            for frame in _small_frames(reader, range(first, first + shown, step), size.side):
                writer.write(frame)
        if path.stat().st_size <= size.clip_bytes:
            return


def _small_frames(reader: VideoReader, numbers: range, side: int) -> Iterator[np.ndarray]:
    """Frames of a video, (h, w, 3) uint8, even, with a longer side of at most `side` pixels."""
    info = reader.info
    scale = min(1.0, side / max(info.width, info.height))
    width, height = (max(2, round(length * scale / 2) * 2) for length in (info.width, info.height))
    for number, frame in enumerate(reader.frames(numbers.start, numbers.stop), numbers.start):
        if number in numbers:
            yield cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
