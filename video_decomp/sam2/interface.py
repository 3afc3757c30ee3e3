"""What the tracker takes and gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prompt:
    """What to track: a thing in one frame, by its mask, or by a box, or by points.

    Attributes:
        frame: index of the frame.
        mask: bool (height, width), the thing; wins over box and points.
        box: left, top, right, bottom, pixels of the video.
        points: ((x, y), ...), pixels of the video.
        inside: for each point, whether it lies on the thing.
    """

    frame: int
    mask: np.ndarray | None = None
    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float], ...] = ()
    inside: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Tracked:
    """One frame's result.

    Attributes:
        frame: index.
        image: uint8 (height, width, 3) RGB.
        masks: bool (things, height, width), in the order of the prompts; empty where a thing is not seen.
        scores: float32 (things,), how sure the network is that it sees the thing, 0..1.
    """

    frame: int
    image: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
