"""Things that move in front of the person: what differs from the empty scene where the body is hidden."""

from __future__ import annotations

import cv2
import numpy as np

from video_decomp.light import fit_light
from video_decomp.occlusion.outline import connected_to

LEVEL = 24.0
BINS = 12
COLOURS = BINS**3
COMMON = 0.015


def differs(frame: np.ndarray, scene: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where a frame is not the empty scene.

    Args:
        frame: (h, w, 3) uint8 RGB.
        scene: (h, w, 3) uint8 RGB, the empty scene from the same view.
        known: (h, w) bool, where the scene is known and nobody stands: light is compared there.

    Returns:
        (h, w) bool.
    """
    step = max(2, round(known.size**0.5 / 80))
    rows = known[::step, ::step]
    light = fit_light(scene[::step, ::step][rows], frame[::step, ::step][rows])
    lit = cv2.blur(scene, (3, 3)) * light[0].astype(np.float32) + light[1].astype(np.float32)
    difference = np.abs(cv2.blur(frame, (3, 3)) - lit).max(axis=-1)
    return difference > LEVEL


def coloured_like(frame: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Where a frame has a colour that is common in a sample of it.

    Args:
        frame: (h, w, 3) uint8 RGB.
        sample: (h, w) bool.

    Returns:
        (h, w) bool.
    """
    codes = colour_codes(frame)
    histogram = np.bincount(codes[sample], minlength=COLOURS)
    return (histogram > max(0.0, COMMON * float(histogram.max())))[codes]


def colour_codes(frame: np.ndarray) -> np.ndarray:
    """Number of each pixel's colour, in `BINS` steps of each channel of CIE Lab: (h, w) int64, < `COLOURS`.

    Args:
        frame: (h, w, 3) uint8 RGB.
    """
    bins = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB).astype(np.int64) * BINS // 256
    return np.asarray((bins[..., 0] * BINS + bins[..., 1]) * BINS + bins[..., 2])


def moving_thing(difference: np.ndarray, hidden: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The whole of a moving thing of which the part over the body is known; all (h, w) bool."""
    area = (difference & ~person) | hidden
    opened = cv2.morphologyEx(area.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    whole = connected_to(opened | hidden, hidden)
    closed = cv2.morphologyEx(whole.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)) > 0
    return closed & ~person
