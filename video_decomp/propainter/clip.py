"""The part of a shot's pictures that inpainting works on, and its masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mimo.video import VideoReader
from video_decomp.inpainting.interface import mask_distance

MULTIPLE = 8
SMALLEST = 128
"""Pixels a side below which the flow network's coarsest correlations are a single pixel."""


@dataclass(frozen=True)
class Crop:
    """A part of the picture, and the size it is padded to at its right and bottom.

    Sides are padded only where the picture itself is too small or not a multiple of 8.
    """

    top: int
    left: int
    height: int
    width: int
    padded_height: int
    padded_width: int

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns in the picture."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def take(self, picture: np.ndarray) -> np.ndarray:
        """The part of a picture (h, w, ...), mirrored into the padding."""
        part = picture[self.box]
        missing = (self.padded_height - self.height, self.padded_width - self.width)
        if not any(missing):
            return part
        return np.pad(part, [(0, missing[0]), (0, missing[1]), *[(0, 0)] * (part.ndim - 2)], "symmetric")


def crop_around(box: tuple[int, int, int, int], margin: int, size: tuple[int, int]) -> Crop:
    """The part of a picture around a box.

    Args:
        box: left, top, right, bottom; the last two exclusive.
        margin: pixels around the box that belong to it.
        size: width and height of the picture.

    Returns:
        At least 128 pixels a side, sides multiples of 8.
    """
    left, width, padded_width = _side(box[0] - margin, box[2] + margin, size[0])
    top, height, padded_height = _side(box[1] - margin, box[3] + margin, size[1])
    return Crop(top, left, height, width, padded_height, padded_width)


def _side(start: int, stop: int, limit: int) -> tuple[int, int, int]:
    """Start, length and padded length of a side of the crop, from the wished ones."""
    start, stop = max(0, start), min(limit, stop)
    wished = max(SMALLEST, -(-(stop - start) // MULTIPLE) * MULTIPLE)
    if wished > limit:
        return 0, limit, max(SMALLEST, -(-limit // MULTIPLE) * MULTIPLE)
    start = min(max(0, start - (wished - (stop - start)) // 2), limit - wished)
    return start, wished, wished


class MaskedClip:
    """Cropped frames and holes of a shot, by frame numbers that start at its first.

    Args:
        frames, masks: the video and its grey masks, equally long.
        shot: frames of the video that belong to it.
        crop: what to take of them.

    A shot of one frame counts as two equal ones, since the networks compare frames: `count` is 2 then.
    """

    def __init__(self, frames: VideoReader, masks: VideoReader, shot: range, crop: Crop) -> None:
        self._frames, self._masks = frames, masks
        self.shot, self.crop = shot, crop
        self.count = max(2, len(shot))
        self.height, self.width = crop.padded_height, crop.padded_width

    def pictures(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames `start` to `stop` (exclusive), (h, w, 3) uint8."""
        return map(self.crop.take, self._read(self._frames, start, stop))

    def holes(self, start: int, stop: int, reach: float) -> Iterator[np.ndarray]:
        """What is closer to the mask than `reach` pixels, (h, w) bool."""
        for mask in self._read(self._masks, start, stop):
            yield hole(self.crop.take(mask), reach)

    def _read(self, reader: VideoReader, start: int, stop: int) -> Iterator[np.ndarray]:
        first, length = self.shot.start, len(self.shot)
        if start < length:
            yield from reader.frames(first + start, first + min(stop, length))
        if stop > length:
            yield reader.frame(first + length - 1)


def hole(mask: np.ndarray, reach: float) -> np.ndarray:
    """Pixels closer to a mask (h, w) uint8 than `reach`, bool."""
    return np.asarray(mask_distance(mask) < reach)
