"""The true outline of a thing of which only some pixels are known, on a picture of the empty scene."""

from __future__ import annotations

import cv2
import numpy as np

COARSE_ROUNDS = 8
FINE_BAND = 7
FINE_ROUNDS = 3
TEXTURE_WINDOW = 9


def coarse_outline(picture: np.ndarray, core: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """The thing that some pixels belong to, by colour and texture (GrabCut, Rother et al. 2004).

    Texture matters: a trunk's bark is dark and light, but rough everywhere.

    Args:
        picture: (h, w, 3) uint8 RGB, the empty scene around the thing.
        core: (h, w) bool, pixels that surely belong to it.
        behind: (h, w) bool, pixels that surely do not.

    Returns:
        (h, w) bool, the parts connected with the core.
    """
    wide = max(9, round(max(core.shape) / 18)) | 1
    sure = cv2.erode(core.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    labels = np.full(core.shape, cv2.GC_PR_BGD, np.uint8)
    labels[cv2.dilate(core.astype(np.uint8), np.ones((wide, wide), np.uint8)) > 0] = cv2.GC_PR_FGD
    labels[behind] = cv2.GC_BGD
    # A rim of the known places may be an error of the fit.
    labels[core] = cv2.GC_PR_FGD
    labels[sure if sure.any() else core] = cv2.GC_FGD
    found = _cut(_texture_picture(picture), labels, COARSE_ROUNDS)
    return connected_to(_filled(found), core)


def fine_outline(picture: np.ndarray, coarse: np.ndarray, core: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Move a rough outline to the edge in the full picture; all (h, w), of the same size."""
    size = 2 * FINE_BAND + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    labels = np.where(coarse, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(coarse.astype(np.uint8), kernel, borderValue=1) > 0] = cv2.GC_FGD
    labels[cv2.dilate(coarse.astype(np.uint8), kernel) == 0] = cv2.GC_BGD
    labels[behind] = cv2.GC_BGD
    labels[core] = cv2.GC_FGD
    found = _cut(cv2.bilateralFilter(picture, 5, 30, 3), labels, FINE_ROUNDS)
    opened = cv2.morphologyEx(_filled(found).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return connected_to(opened > 0, core)


def connected_to(area: np.ndarray, core: np.ndarray) -> np.ndarray:
    """The connected parts of an area that hold pixels of a core; both (h, w) bool."""
    count, labels = cv2.connectedComponents(area.astype(np.uint8), connectivity=4)
    kept = np.zeros(count, bool)
    kept[labels[core & area]] = True
    kept[0] = False
    return kept[labels]


def edge_contrast(picture: np.ndarray, thing: np.ndarray, where: np.ndarray) -> float:
    """How clearly a thing's outline is an edge in the picture: 0 not at all to 1.

    Args:
        where: (h, w) bool, the part of the outline to look at.

    Returns:
        Median size of the step across the outline against the steps inside the thing and beside it.
    """
    lab = cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), 1.5), cv2.COLOR_RGB2LAB).astype(np.float32)
    steps: np.ndarray = np.zeros(thing.shape, np.float32)
    for channel in range(3):
        steps += cv2.Sobel(lab[..., channel], cv2.CV_32F, 1, 0) ** 2
        steps += cv2.Sobel(lab[..., channel], cv2.CV_32F, 0, 1) ** 2
    steps = cv2.dilate(np.sqrt(steps), np.ones((5, 5), np.uint8))
    edge = cv2.morphologyEx(thing.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    edge &= where
    if edge.sum() < 10:
        return 0.0
    usual = float(np.median(steps))
    return float(np.clip(np.median(steps[edge]) / (2 * usual + 8), 0, 1))


def _cut(picture: np.ndarray, labels: np.ndarray, rounds: int) -> np.ndarray:
    """GrabCut; all bool (h, w)."""
    if not (labels == cv2.GC_BGD).any() and not (labels == cv2.GC_PR_BGD).any():
        return np.ones(labels.shape, bool)
    cv2.setRNGSeed(0)
    picture, whole = np.ascontiguousarray(picture), (0, 0, picture.shape[1], picture.shape[0])
    back, fore = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, labels, whole, back, fore, rounds, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _texture_picture(picture: np.ndarray) -> np.ndarray:
    """Smoothed lightness, roughness and yellowness as an 8-bit picture."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    light = lab[..., 0].astype(np.float32)
    window = (TEXTURE_WINDOW, TEXTURE_WINDOW)
    mean = cv2.blur(light, window)
    rough = np.sqrt(np.maximum(cv2.blur(light * light, window) - mean * mean, 0))
    smooth = cv2.medianBlur(lab, TEXTURE_WINDOW).astype(np.float32)
    yellow = 4 * (smooth[..., 2] - 128) + 128
    return np.clip(np.dstack([smooth[..., 0], 4 * rough, yellow]), 0, 255).astype(np.uint8)


def _filled(area: np.ndarray) -> np.ndarray:
    """Small holes closed: less than a hundredth of the area each."""
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((~area).astype(np.uint8), connectivity=4)
    small = boxes[:, cv2.CC_STAT_AREA] < max(16, area.sum() / 100)
    small[0] = False
    return area | (small[labels] if count > 1 else False)
