"""Small pictures for the report, as data addresses."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from mimo.files import whole_file
from mimo.video import VideoError, VideoReader

STRIP_WIDTH = 1400
STRIP_GAP = 3
STRIP_TILE = 60_000
"""Pixels of one picture of a strip, about; wide videos are shown at fewer times."""


def embedded(path: Path, width: int) -> str:
    """A picture file as the address of a JPEG, at most `width` pixels wide; empty if it cannot be read."""
    try:
        with Image.open(path) as image:
            return _address(_narrowed(image.convert("RGB"), width))
    except OSError:
        return ""


def video_strip(video: Path, source: Path, first: int, kept: Path) -> str:
    """Some frames of a result above those of its template's video, as the address of a JPEG.

    Args:
        video: the result.
        source: ``vid.mp4`` of its template.
        first: the template's frame that is the result's first.
        kept: where to keep the strip, so that the next report need not decode the videos again.

    Returns:
        The address, or an empty text if a video cannot be read.
    """
    if not kept.is_file() or kept.stat().st_mtime < video.stat().st_mtime:
        try:
            strip = _strip(VideoReader(video), VideoReader(source), first)
        except (VideoError, IndexError):
            return ""
        with whole_file(kept) as part:
            strip.save(part, format="JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(kept.read_bytes()).decode()}"


def _strip(video: VideoReader, source: VideoReader, first: int) -> Image.Image:
    info = video.info
    times = max(3, round(STRIP_WIDTH / (STRIP_TILE * info.width / info.height) ** 0.5))
    width = STRIP_WIDTH // times - STRIP_GAP
    height = round(width * info.height / info.width)
    numbers = np.unique(np.linspace(0, len(video) - 1, times + 2)[1:-1].round().astype(int)).tolist()
    rows = [
        [video.frame(number) for number in numbers],
        [source.frame(min(number + first, len(source) - 1)) for number in numbers],
    ]
    size = ((width + STRIP_GAP) * len(numbers) - STRIP_GAP, 2 * height + STRIP_GAP)
    strip = Image.new("RGB", size, "white")
    for i, row in enumerate(rows):
        for j, frame in enumerate(row):
            small = Image.fromarray(frame).resize((width, height), Image.Resampling.BOX)
            strip.paste(small, (j * (width + STRIP_GAP), i * (height + STRIP_GAP)))
    return strip


def _narrowed(image: Image.Image, width: int) -> Image.Image:
    if image.width <= width:
        return image
    return image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)


def _address(image: Image.Image) -> str:
    memory = io.BytesIO()
    image.save(memory, format="JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(memory.getvalue()).decode()}"
