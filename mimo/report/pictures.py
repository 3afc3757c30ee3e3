"""Small pictures for the report: WebP files of at most so many bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from mimo.files import whole_file
from mimo.video import KEY_FRAME_INTERVAL, VideoReader

QUALITIES = (72, 58, 44, 30)
NARROWER = 0.8
NARROWEST = 32
STRIP_GAP = 3
STRIP_ASPECT = 3.5
"""Width over height of one row of a strip, about; wide videos are shown at fewer times."""


def write_picture(path: Path, image: Image.Image, width: int, most: int) -> None:
    """Write a picture as WebP, as good as its room allows.

    Args:
        path: ``.webp`` file to write.
        image: RGB.
        width: pixels at most; pictures are never enlarged.
        most: bytes; quality, then width are lowered until the file is no larger.
    """
    data = _encoded(_narrowed(image, width), most)
    while len(data) > most and width > NARROWEST:
        width = round(min(width, image.width) * NARROWER)
        data = _encoded(_narrowed(image, width), most)
    with whole_file(path) as part:
        part.write_bytes(data)


def shrink(path: Path, source: Path, width: int, most: int) -> None:
    """Write a small copy of a picture file; see `write_picture`.

    Raises:
        OSError: it cannot be read.
    """
    with Image.open(source) as image:
        write_picture(path, image.convert("RGB"), width, most)


def write_still(path: Path, video: Path, width: int, most: int) -> None:
    """Write the frame in the middle of a video; see `write_picture`.

    Raises:
        VideoError: it cannot be read.
    """
    reader = VideoReader(video)
    write_picture(path, Image.fromarray(reader.frame(_cheap(len(reader) // 2, len(reader)))), width, most)


def write_strip(path: Path, video: Path, source: Path, first: int, width: int, times: int, most: int) -> None:
    """Write some frames of a result above those of its template's video; see `write_picture`.

    Args:
        path: ``.webp`` file to write.
        video: the result.
        source: ``vid.mp4`` of its template.
        first: the template's frame that is the result's first.
        width, times, most: pixels across, frames, and bytes of the strip at most.

    Raises:
        VideoError: a video cannot be read.
    """
    result, driver = VideoReader(video), VideoReader(source)
    info = result.info
    times = min(times, max(3, round(STRIP_ASPECT * info.height / info.width)))
    tile_width = width // times - STRIP_GAP
    size = (tile_width, round(tile_width * info.height / info.width))
    spread = np.linspace(0, len(result) - 1, times + 2)[1:-1].round().astype(int).tolist()
    numbers = sorted({_cheap(number, len(result) // times) for number in spread})
    strip = Image.new("RGB", ((tile_width + STRIP_GAP) * len(numbers) - STRIP_GAP, 2 * size[1] + STRIP_GAP))
    for column, number in enumerate(numbers):
        pair = result.frame(number), driver.frame(min(number + first, len(driver) - 1))
        for row, frame in enumerate(pair):
            small = Image.fromarray(frame).resize(size, Image.Resampling.BOX)
            strip.paste(small, (column * (tile_width + STRIP_GAP), row * (size[1] + STRIP_GAP)))
    write_picture(path, strip, width, most)


def _cheap(number: int, room: int) -> int:
    """A frame near by that is decoded without others before it, where there is room for the difference."""
    return number - number % KEY_FRAME_INTERVAL if room >= KEY_FRAME_INTERVAL else number


def _encoded(image: Image.Image, most: int) -> bytes:
    """The picture in the best quality that fits, else in the lowest."""
    data = b""
    for quality in QUALITIES:
        memory = io.BytesIO()
        image.save(memory, format="WEBP", quality=quality, method=4)
        data = memory.getvalue()
        if len(data) <= most:
            break
    return data


def _narrowed(image: Image.Image, width: int) -> Image.Image:
    if image.width <= width:
        return image
    size = (width, max(1, round(image.height * width / image.width)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
