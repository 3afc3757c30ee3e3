"""Masks without small parts and small holes."""

from __future__ import annotations

import cv2
import numpy as np

_SPECK = 0.01  # parts of the mask and holes in it smaller than this share of its area are removed


def without_specks(mask: np.ndarray) -> np.ndarray:
    """Drop small parts of a mask and fill small holes.

    Args:
        mask: bool (height, width).

    Returns:
        uint8 (height, width), 255 inside, else 0.
    """
    hard = mask.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(hard)
    inside = np.pad(hard[top : top + height, left : left + width], 1)
    smallest = _SPECK * int(inside.sum())
    for value in (1, 0):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(
            (inside == value).astype(np.uint8), connectivity=8 if value else 4
        )
        specks = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < smallest)
        inside[np.isin(labels, specks[specks > 0])] = 1 - value
    hard[top : top + height, left : left + width] = inside[1:-1, 1:-1]
    return hard * 255
