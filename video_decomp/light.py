"""Differences in light between pictures of one scene: exposure, white balance, haze."""

from __future__ import annotations

import numpy as np

MIN_PIXELS = 100
SLOPES = (0.6, 1.6)
OFFSETS = 40.0


def fit_light(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Slope and offset per channel that make the source's colours the target's.

    A line is fitted by least squares and again without the pixels it fits badly (things that moved).

    Args:
        source, target: (N, 3), the same places in both pictures, 0..255.

    Returns:
        (2, 3) float64: slopes, offsets; identity when there are too few pixels.
    """
    result = np.array([[1.0] * 3, [0.0] * 3])
    if len(source) < MIN_PIXELS:
        return result
    for channel in range(3):
        x, y = source[:, channel].astype(np.float64), target[:, channel].astype(np.float64)
        keep = (np.minimum(x, y) > 4) & (np.maximum(x, y) < 251)
        slope, offset = 1.0, float(np.median(y - x))
        for _ in range(3):
            error = np.abs(slope * x + offset - y)
            close = keep & (error <= max(3.0, 2.5 * float(np.median(error))))
            if close.sum() < MIN_PIXELS:
                break
            spread = float(np.var(x[close]))
            if spread > 9:
                slope = float(np.cov(x[close], y[close], bias=True)[0, 1]) / spread
            slope = float(np.clip(slope, *SLOPES))
            offset = float(np.clip((y[close] - slope * x[close]).mean(), -OFFSETS, OFFSETS))
        result[:, channel] = slope, offset
    return result


def apply_light(image: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Scale and shift the channels of an image (h, w, 3) uint8 by `fit_light`'s answer, as uint8."""
    result = np.empty_like(image)
    ramp = np.arange(256)
    for channel in range(3):
        table = np.clip(np.round(ramp * light[0, channel] + light[1, channel]), 0, 255).astype(np.uint8)
        result[..., channel] = table[image[..., channel]]
    return result
