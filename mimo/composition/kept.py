"""People who stay as they were filmed, in a scene that others were taken out of."""

from __future__ import annotations

import cv2
import numpy as np

from mimo.composition.layers import Layer, PersonLayer

EDGE = 1.0
"""Softness of a kept person's edge, pixels."""
FEATHER = 4.0
"""Pixels over which the empty scene passes into the filmed one."""


def scene_of(video: np.ndarray, empty: np.ndarray, changed: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The scene as filmed around people who stay, with their hair and shadows, and empty around the others.

    Args:
        video: uint8 (h, w, 3).
        empty: uint8 (h, w, 3), the same without anybody.
        changed: (h, w) bool, pixels of people who do not stay.
        kept: (h, w) bool, pixels of those who do.

    Returns:
        uint8 (h, w, 3).
    """
    if not kept.any():
        return empty
    if not changed.any():
        return video
    distance = _distance(kept) - _distance(changed)
    weight = np.clip(distance / FEATHER + 0.5, 0, 1)[..., None]
    return np.asarray(np.rint(video + (empty.astype(np.float32) - video) * weight), np.uint8)


def cut_out(video: np.ndarray, mask: np.ndarray, softness: float = EDGE) -> PersonLayer:
    """What a mask shows of a frame, as a layer.

    Args:
        video: uint8 (h, w, 3).
        mask: (h, w) uint8, 255 = inside; soft or hard.
        softness: pixels over which a hard edge becomes soft, inwards, so that nothing beside it shows; 0
            leaves the mask as it is.
    """
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return PersonLayer()
    pad = round(3 * softness)
    left, top, right, bottom = max(0, left - pad), max(0, top - pad), left + width + pad, top + height + pad
    area = np.s_[top:bottom, left:right]
    alpha = mask[area].astype(np.float32) / 255
    if softness > 0:
        alpha = np.clip(2 * cv2.GaussianBlur(alpha, (0, 0), softness) - 1, 0, 1)
    return PersonLayer(Layer(left, top, video[area] * alpha[..., None], alpha))


def _distance(mask: np.ndarray) -> np.ndarray:
    """Pixels to the nearest pixel of a mask, (h, w) float32."""
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3))
