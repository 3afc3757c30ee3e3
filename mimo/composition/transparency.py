"""People without a scene: a picture with straight alpha, to be put over anything in another program."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mimo.composition.layers import PersonLayer, stacked

REACH = 32
"""Pixels beyond the person into which their colours are carried on; no block of VP9 reaches farther."""
_SURE = 1 / 64
"""Opacity from which on a pixel's colour is its own alone; less opaque ones lean on their neighbours."""


def transparent(
    people: Sequence[PersonLayer], size: tuple[int, int], occluder: np.ndarray | None = None
) -> np.ndarray:
    """People and their shadows on nothing; what stands in front of them is cut out.

    Alpha is straight: colours are not multiplied by it. They go on beyond the outline, where alpha is 0, so
    that filters and coders, which mix neighbouring pixels, leave no dark fringe.

    Args:
        people: of one frame, from far to near.
        size: height and width of the picture.
        occluder: uint8 (height, width), 255 where something stands in front of everybody; None: nothing does.

    Returns:
        uint8 (height, width, 4) RGBA.
    """
    mixed = np.zeros((*size, 4), np.float32)
    for layer in stacked(people):
        part = mixed[layer.area]
        part *= 1 - layer.alpha[..., None]
        part[..., :3] += layer.colour
        part[..., 3] += layer.alpha
    result = np.zeros((*size, 4), np.uint8)
    shown = (255 * mixed[..., 3] >= 0.5).astype(np.uint8)
    if not shown.any():
        return result
    area = _grown(cv2.boundingRect(shown), size)
    near = cv2.dilate(shown[area], np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8))
    colour = spread(mixed[area][..., :3], mixed[area][..., 3])
    result[area][..., :3] = np.clip(colour + 0.5, 0, 255).astype(np.uint8) * near[..., None]
    alpha = mixed[..., 3] if occluder is None else mixed[..., 3] * (1 - occluder / np.float32(255))
    result[..., 3] = np.clip(255 * alpha + 0.5, 0, 255).astype(np.uint8)
    return result


def spread(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Straight colours everywhere, carried on from the opaque to the transparent pixels around them.

    By pulling colours up a pyramid and pushing them down where there are none: Gortler et al., "The
    Lumigraph" (SIGGRAPH 1996), section 3.4.

    Args:
        colour: float32 (h, w, 3), multiplied by alpha.
        alpha: float32 (h, w), 0 to 1.

    Returns:
        float32 (h, w, 3), not multiplied by alpha; 0 everywhere where nothing is opaque.
    """
    levels = [np.dstack([colour, alpha])]
    while max(levels[-1].shape[:2]) > 1:
        height, width = levels[-1].shape[:2]
        half = (-(-width // 2), -(-height // 2))
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA))
    found = _straight(levels[-1])
    for level in reversed(levels):
        height, width = level.shape[:2]
        farther = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
        sure = np.minimum(level[..., 3:] / _SURE, 1)
        found = farther + sure * (_straight(level) - farther)
    return found


def _straight(image: np.ndarray) -> np.ndarray:
    """Colours of (h, w, 4), no longer multiplied by its alpha; (h, w, 3)."""
    return image[..., :3] / np.maximum(image[..., 3:], 1e-6)


def _grown(box: Sequence[int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a box (left, top, width, height), and `REACH` around it."""
    left, top, width, height = box
    return (
        slice(max(0, top - REACH), min(size[0], top + height + REACH)),
        slice(max(0, left - REACH), min(size[1], left + width + REACH)),
    )
