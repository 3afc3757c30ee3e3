"""Refine a soft, low-resolution mask to the edges of the image."""

from __future__ import annotations

import cv2
import numpy as np

from video_decomp.segmentation.plate import Plate, apply_plate

_RADIUS = 5  # of the windows of the local model, in cells of the network's mask
_SMOOTHNESS = 1e-4  # added to the colours' covariance (0..1 scale)
_EDGE_WEIGHT = 0.2  # of the uncertain pixels in the local model; certain ones count 1
_BAND = 1.5  # half width of the uncertain band around the mask's edge, in cells


def refine(image: np.ndarray, soft: np.ndarray, cell: float, plate: Plate | None) -> np.ndarray:
    """Move the mask's edge to where the image has one.

    Args:
        image: uint8 (height, width, 3) RGB.
        soft: (height, width) float32 0..1, the network's mask.
        cell: size in pixels of one cell of the network's mask.
        plate: the background, where it is known.

    Returns:
        (height, width) float32 0..1.
    """
    rows, columns = _surroundings(soft, round(16 * cell))
    lab = cv2.cvtColor(np.ascontiguousarray(image[rows, columns]), cv2.COLOR_RGB2LAB)
    part = _follow_colours(lab.astype(np.float32) / 255, soft[rows, columns], cell)
    if plate is not None:
        part = apply_plate(Plate(plate.lab[rows, columns], plate.trust[rows, columns]), lab, part, cell)
    refined = np.zeros_like(soft)
    refined[rows, columns] = cv2.GaussianBlur(part, (0, 0), 0.3 * cell)
    return refined


def _surroundings(soft: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the mask with a margin."""
    inside = soft > 0.1
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return slice(0, 1), slice(0, 1)
    return (
        slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
        slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
    )


def _follow_colours(colours: np.ndarray, soft: np.ndarray, cell: float) -> np.ndarray:
    """Replace the mask near its edge by what a local linear model of colour predicts.

    The model of each window (after He et al., "Guided image filtering", 2013, fitted by weighted least
    squares) is learnt mostly from certain pixels, so it also corrects edges that are a few pixels off.

    Args:
        colours: (height, width, 3) float32 0..1.
        soft: (height, width) float32 0..1.
        cell: size in pixels of one cell of the network's mask.
    """
    inside = (soft > 0.5).astype(np.uint8)
    size = 2 * max(1, round(_BAND * cell)) + 1
    band = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    unsure = (cv2.dilate(inside, band) > cv2.erode(inside, band)) | ((soft > 0.15) & (soft < 0.85))
    half = (max(1, soft.shape[1] // 2), max(1, soft.shape[0] // 2))
    weights = cv2.resize(
        np.where(unsure, _EDGE_WEIGHT, 1).astype(np.float32), half, interpolation=cv2.INTER_AREA
    )
    slopes, offset = _local_models(
        cv2.resize(colours, half, interpolation=cv2.INTER_AREA),
        cv2.resize(soft, half, interpolation=cv2.INTER_AREA),
        weights,
        max(1, round(_RADIUS * cell / 2)),
    )
    full = soft.shape[::-1]
    predicted = np.einsum("ijk,ijk->ij", cv2.resize(slopes, full), colours) + cv2.resize(offset, full)
    return np.where(unsure, np.clip(predicted, 0, 1), soft).astype(np.float32)


def _local_models(
    colours: np.ndarray, target: np.ndarray, weights: np.ndarray, radius: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted linear regression of the target on three colours in the window around each pixel.

    Returns:
        Slopes (height, width, 3) and offset (height, width), averaged over the windows that cover a pixel.
    """

    def window(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    total = window(weights)
    weighted = colours * weights[..., None]
    mean = window(weighted) / total[..., None]
    mean_target = window(target * weights) / total
    together = window(weighted * target[..., None]) / total[..., None] - mean * mean_target[..., None]
    pairs = [(a, b) for a in range(3) for b in range(a, 3)]
    products = np.stack([weighted[..., a] * colours[..., b] for a, b in pairs], axis=-1)
    products = np.stack([window(products[..., k]) for k in range(6)], axis=-1) / total[..., None]
    xx, xy, xz, yy, yz, zz = (
        products[..., k] - mean[..., a] * mean[..., b] + (_SMOOTHNESS if a == b else 0)
        for k, (a, b) in enumerate(pairs)
    )
    # Inverse of the symmetric 3 x 3 covariance by cofactors.
    cofactors = (yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy)
    second = (xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy)
    determinant = xx * cofactors[0] + xy * cofactors[1] + xz * cofactors[2]
    u, v, w = together[..., 0], together[..., 1], together[..., 2]
    slopes = (
        np.stack(
            [
                cofactors[0] * u + cofactors[1] * v + cofactors[2] * w,
                cofactors[1] * u + second[0] * v + second[1] * w,
                cofactors[2] * u + second[1] * v + second[2] * w,
            ],
            axis=-1,
        )
        / np.maximum(determinant, _SMOOTHNESS**3)[..., None]
    )
    offset = mean_target - np.einsum("ijk,ijk->ij", slopes, mean)
    cover = window(total)
    return window(slopes * total[..., None]) / cover[..., None], window(offset * total) / cover
