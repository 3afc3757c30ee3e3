"""A video's shots and the person's path in each: nothing can be carried across a cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import cv2
import numpy as np

from mimo.stage import progress
from mimo.video import VideoReader

THUMBNAIL = (32, 18)
CUT_LEVELS = 24.0
CUT_RATIO = 4.0
AROUND = 6


def scan(frames: VideoReader, masks: VideoReader) -> list[tuple[range, tuple[int, int, int, int] | None]]:
    """Go through a video once.

    Args:
        frames: the video.
        masks: grey, equally long.

    Returns:
        For each shot its frames, and the box around all masks in it (left, top, right, bottom; the last two
        exclusive), None where there is no mask.
    """
    boxes, near, far = [], [0.0], [0.0]
    before: list[np.ndarray] = []
    for frame, mask in progress(zip(frames, masks, strict=True), "scan", total=len(frames)):
        boxes.append(_box(mask))
        small = cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if before:
            near.append(float(np.abs(small - before[-1]).mean()))
            far.append(float(np.abs(small - before[0]).mean()))
        before = [*before[-1:], small]
    edges = [0, *cuts(near, far), len(boxes)]
    shots = [range(start, stop) for start, stop in pairwise(edges)]
    return [(shot, _union(boxes[shot.start : shot.stop])) for shot in shots]


def cuts(near: Sequence[float], far: Sequence[float]) -> list[int]:
    """Frames with which a new shot begins.

    A cut is a large change between two frames, large beside the changes around it (a fast pan is not), which
    the frame after does not undo (a flash is not).

    Args:
        near: mean difference (levels) of every frame's thumbnail from that of the one before; the first is 0.
        far: the same from the one before that.
    """
    found = []
    for index in range(1, len(near)):
        change = near[index]
        around = [*near[max(1, index - AROUND) : index], *near[index + 1 : index + 1 + AROUND]]
        usual = float(np.median(around)) if around else 0.0
        undone = index + 1 < len(far) and far[index + 1] < change / 2
        returned = index > 1 and far[index] < change / 2
        if change > max(CUT_LEVELS, CUT_RATIO * usual) and not undone and not returned:
            found.append(index)
    return found


def _box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    left, top, width, height = cv2.boundingRect((mask > 127).astype(np.uint8))
    return (left, top, left + width, top + height) if width else None


def _union(boxes: Iterable[tuple[int, int, int, int] | None]) -> tuple[int, int, int, int] | None:
    there = np.array([box for box in boxes if box is not None])
    if not len(there):
        return None
    left, top = (int(value) for value in there[:, :2].min(axis=0))
    right, bottom = (int(value) for value in there[:, 2:].max(axis=0))
    return left, top, right, bottom
