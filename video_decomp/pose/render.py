"""Draws an estimated motion: ``sdc.mp4``, and how well the body covers the mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mimo.body.motion_code import drawn_motion
from video_decomp.pose.interface import Estimate


@dataclass
class Coverage:
    """Overlap of the drawn body with the mask, intersection over union of each frame that has a mask."""

    overlaps: list[float] = field(default_factory=list)

    def add(self, drawn: np.ndarray, mask: np.ndarray) -> None:
        """Count one frame: both (h, w) bool."""
        if mask.any():
            self.overlaps.append(float((drawn & mask).sum() / max((drawn | mask).sum(), 1)))

    @property
    def median(self) -> float:
        """Median over the frames; 0 when there are none."""
        return float(np.median(self.overlaps)) if self.overlaps else 0.0


def motion_code(estimate: Estimate, masks: Iterable[np.ndarray], coverage: Coverage) -> Iterator[np.ndarray]:
    """Draw every frame at the video's camera.

    Args:
        estimate: T frames; of a motion without a body, all are black.
        masks: T grey masks (h, w) uint8; drawn into `coverage`.
        coverage: takes the overlap of each frame in which the person was seen.

    Yields:
        (h, w, 3) uint8 RGB; the motion code of the body, black elsewhere.
    """
    motion = estimate.motion
    drawn = drawn_motion(motion, estimate.colours, estimate.hands)
    for (image, covered), mask, visible in zip(drawn, masks, motion.visible, strict=True):
        if visible and motion.rotations.shape[1]:
            coverage.add(covered, mask > 127)
        yield image
