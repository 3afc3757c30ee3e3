"""What every inpainting backend shares: its function, the soft mask it fills, the blend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np

from mimo.stage import StageSettings
from mimo.video import VideoReader
from video_decomp.segments.part import Part

REFERENCE_SHORT_SIDE = 720


@dataclass
class Outcome:
    """What a backend reports beside the frames it wrote: numbers, warnings, names of loaded weights."""

    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)


class Backend(Protocol):
    """A module with these names is an inpainting backend."""

    Settings: type[StageSettings]

    def inpaint(
        self,
        frames: VideoReader,
        masks: VideoReader,
        write: Callable[[np.ndarray], None],
        settings: Any,
        **told: Part,
    ) -> Outcome:
        """Take the person out of a clip.

        Args:
            frames: the clip.
            masks: grey, the person's visible pixels; as many frames, the same size.
            write: takes every finished frame in order, (h, w, 3) uint8 RGB. Farther from the mask than
                `changed_within` it must be the clip's own frame: use `soft_mask` and `blend`.
            settings: the backend's `Settings`.
            told: ``part``, for a segment of a long video, if the backend surveys all of it first.
        """
        ...

    def changed_within(self, settings: Any, frames: VideoReader) -> float:
        """Pixels around the mask that the backend may change."""
        ...


def in_pixels(length: float, frames: VideoReader) -> float:
    """A length given at a short side of 720 pixels, in pixels of this clip (at least 1)."""
    return max(1.0, length * min(frames.info.width, frames.info.height) / REFERENCE_SHORT_SIDE)


def mask_distance(mask: np.ndarray) -> np.ndarray:
    """Pixels to the nearest pixel of the mask, (h, w) float32; 0 inside, huge without any mask."""
    free = np.where(mask > 127, 0, 1).astype(np.uint8)
    if free.all():
        return np.full(mask.shape, 1e6, np.float32)
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, 3))


def soft_mask(mask: np.ndarray, margin: float, feather: float) -> np.ndarray:
    """Weight of the fill: 1 up to `margin` pixels from the mask, falling to 0 over `feather` pixels more.

    Args:
        mask: (h, w) uint8, 255 = person.

    Returns:
        (h, w) float32 in 0..1.
    """
    return np.clip((margin + feather - mask_distance(mask)) / feather, 0, 1)


def blend(frame: np.ndarray, fill: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mix a fill into a frame; where the weight is 0 the frame's own bytes are kept.

    Args:
        frame: (h, w, 3) uint8.
        fill: (h, w, 3), any real type, 0..255.
        weight: (h, w) float32 in 0..1.
    """
    mixed = frame + (fill.astype(np.float32) - frame) * weight[..., None]
    return np.where(weight[..., None] > 0, np.clip(np.round(mixed), 0, 255), frame).astype(np.uint8)
