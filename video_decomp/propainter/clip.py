"""A person's path through a video: the part of the picture that inpainting works on, and its masks."""

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


def path_crop(masks: VideoReader, margin: int) -> Crop | None:
    """The box around everything that a person's mask covers in a clip.

    Args:
        masks: grey.
        margin: pixels around the masks that belong to it.

    Returns:
        At least 128 pixels a side, sides multiples of 8; None if there is no mask in any frame.
    """
    union = np.zeros((masks.info.height, masks.info.width), np.uint8)
    for mask in masks:
        np.maximum(union, mask, out=union)
    rows, columns = (np.flatnonzero((union > 127).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    top, height, padded_height = _side(int(rows[0]) - margin, int(rows[-1]) + 1 + margin, union.shape[0])
    left, width, padded_width = _side(int(columns[0]) - margin, int(columns[-1]) + 1 + margin, union.shape[1])
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
    """Cropped frames and holes of a clip, by frame numbers.

    Args:
        frames, masks: the video and its grey masks, equally long.
        crop: what to take of them.

    A clip of one frame counts as two equal ones, since the networks compare frames: `count` is 2 then.
    """

    def __init__(self, frames: VideoReader, masks: VideoReader, crop: Crop) -> None:
        self._frames, self._masks = frames, masks
        self.files = (frames.path, masks.path)
        self.crop = crop
        self.count = max(2, len(frames))
        self.height, self.width = crop.padded_height, crop.padded_width

    def pictures(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames `start` to `stop` (exclusive), (h, w, 3) uint8."""
        return map(self.crop.take, self._read(self._frames, start, stop))

    def holes(self, start: int, stop: int, reach: float) -> Iterator[np.ndarray]:
        """What is closer to the mask than `reach` pixels, (h, w) bool."""
        for mask in self._read(self._masks, start, stop):
            yield hole(self.crop.take(mask), reach)

    def _read(self, reader: VideoReader, start: int, stop: int) -> Iterator[np.ndarray]:
        last = len(reader)
        if start < last:
            yield from reader.frames(start, min(stop, last))
        if stop > last:
            yield reader.frame(last - 1)


def hole(mask: np.ndarray, reach: float) -> np.ndarray:
    """Pixels closer to a mask (h, w) uint8 than `reach`, bool."""
    return np.asarray(mask_distance(mask) < reach)
