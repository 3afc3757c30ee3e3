"""Masks of everything in a picture: which to ask for and which to keep."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import Field

from mimo.stage import StageSettings


class MaskSettings(StageSettings):
    """How masks are asked for and kept; the defaults are the reference implementation's."""

    points_per_side: int = Field(32, ge=1, le=128, description="points of the grid, along each side")
    points_per_batch: int = Field(64, ge=1, le=1024, description="points that the network is asked at a time")
    min_predicted_iou: float = Field(
        0.7, ge=0, le=1, description="smallest quality that the network predicts"
    )
    min_stability: float = Field(
        0.85, ge=0, le=1, description="smallest IoU of a mask's stricter with its laxer outline"
    )
    max_box_overlap: float = Field(0.7, gt=0, le=1, description="largest IoU of the boxes of two masks")
    crop_layers: int = Field(
        1, ge=0, le=1, description="1: look at the four quarters of the picture too, for small things"
    )
    min_area: float = Field(
        1.1e-4,
        ge=0,
        le=0.1,
        description="smaller parts and holes of a mask go; share of the frame (100 pixels)",
    )


def without_overlap(boxes: np.ndarray, scores: np.ndarray, limit: float) -> list[int]:
    """Greedy suppression: indices of boxes, the best first, none of which overlaps a better one.

    Args:
        boxes: (n, 4) left, top, right, bottom.
        scores: (n,) higher is better.
        limit: largest IoU of two boxes.
    """
    areas = np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        order = order[shared <= limit * (areas[best] + areas[order] - shared)]
    return kept


def without_specks(mask: np.ndarray, least: float) -> np.ndarray:
    """A mask (h, w) bool without holes, then without islands, smaller than `least` pixels."""
    for inside in (False, True):
        count, labels, boxes, _ = cv2.connectedComponentsWithStats((mask == inside).astype(np.uint8))
        small = boxes[:, cv2.CC_STAT_AREA] < least
        small[0] = False
        if small[:count].any():
            mask = np.where(small[labels], not inside, mask)
    return mask
