"""Refine the network's coarse mask of a still picture to the picture's own edges.

The network's mask has about one cell for every 1/200 of a person's height. GrabCut (Rother, Kolmogorov and
Blake 2004) decides in a band around its edge by colour; local models of colour, as for videos, then make the
edge as soft as the picture's.
"""

from __future__ import annotations

import cv2
import numpy as np

from video_decomp.segmentation import edges

WORKING_SIDE = 640
"""Longest side of the person at which GrabCut works."""
COLOUR_SAY = 0.35
"""What colours may add to or take from the network's probability."""
FINE = 0.003
"""Cell of the cut's edge, in units of the person's longest side."""
BAND = 0.03
"""Half width of the band that may change, in units of the person's longest side."""


def refine(image: np.ndarray, soft: np.ndarray, *, coarse: bool = True) -> np.ndarray:
    """Refine a mask.

    Args:
        image: uint8 (H, W, 3) RGB.
        soft: float32 (H, W), the network's probability of the person.
        coarse: its edge may be wrong by as much as `BAND`, and colours decide there; else by a few pixels.

    Returns:
        uint8 (H, W), 255 = the person covers the whole pixel.
    """
    rows, columns = np.flatnonzero((soft > 0.5).any(axis=1)), np.flatnonzero((soft > 0.5).any(axis=0))
    if not rows.size:
        return np.zeros(soft.shape, np.uint8)
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    pad = int(0.15 * side) + 4
    part = (
        slice(max(rows[0] - pad, 0), rows[-1] + pad),
        slice(max(columns[0] - pad, 0), columns[-1] + pad),
    )
    window = np.ascontiguousarray(image[part])
    solid = _grab_cut(window, soft[part], side) if coarse else soft[part]
    alpha = np.zeros(soft.shape, np.float32)
    alpha[part] = _matte(window, solid, side)
    return (np.clip(alpha, 0, 1) * 255 + 0.5).astype(np.uint8)


def _grab_cut(image: np.ndarray, soft: np.ndarray, side: int) -> np.ndarray:
    """float32 (h, w) 0..1, the person by colour inside the band, by the network elsewhere."""
    scale = min(1.0, WORKING_SIDE / side)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    guess = cv2.resize(soft, size, interpolation=cv2.INTER_AREA)
    inner, outer = _distances(guess > 0.5)
    band = max(2.0, BAND * side * scale)
    labels = np.where(guess > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[(inner > band) | ((guess > 0.98) & (inner > band / 2))] = cv2.GC_FGD
    labels[outer > band] = cv2.GC_BGD
    if not (labels == cv2.GC_FGD).any() or not (labels == cv2.GC_BGD).any():
        return soft
    cv2.setRNGSeed(1)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(bgr, labels, (0, 0, 1, 1), *models, 4, cv2.GC_INIT_WITH_MASK)
    cut = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    # Colours alone mistake shaded limbs and like surroundings: they decide only where the network doubts.
    agreed = guess + COLOUR_SAY * (2 * cv2.GaussianBlur(cut, (0, 0), 0.8) - 1) > 0.5
    smooth = cv2.GaussianBlur(agreed.astype(np.float32), (0, 0), 1.2)
    return cv2.resize(smooth, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_CUBIC)


def _distances(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in pixels to the edge, of pixels inside and of pixels outside."""
    solid = mask.astype(np.uint8)
    return cv2.distanceTransform(solid, cv2.DIST_L2, 5), cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5)


def _matte(image: np.ndarray, solid: np.ndarray, side: int) -> np.ndarray:
    """float32 (h, w) 0..1: the cut with its edge as soft as the picture's, specks and holes removed."""
    alpha = edges.refine(image, np.clip(solid, 0, 1).astype(np.float32), FINE * side, None)
    return _without_specks(np.clip((alpha - 0.5) * 1.6 + 0.5, 0, 1), side)


def _without_specks(alpha: np.ndarray, side: int) -> np.ndarray:
    """Drop pieces smaller than a twentieth of the largest; fill pinholes."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.3).astype(np.uint8), connectivity=8)
    if count > 1:
        areas = stats[:, cv2.CC_STAT_AREA].astype(float)
        areas[0] = 0
        alpha = np.where((labels == 0) | (areas >= 0.05 * areas.max())[labels], alpha, 0)
        near = cv2.dilate((labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        alpha = np.where(near, alpha, 0)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((alpha < 0.7).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < (0.012 * side) ** 2
    small[0] = False
    return np.where(small[labels], 1.0, alpha).astype(np.float32)
