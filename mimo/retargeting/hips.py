"""Where the hips of another body are: over what carries it, as high as its own limbs make it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

CONTACT = 0.03
"""Metres above the lowest point at which a point hardly carries the body."""
AROUND = 0.25
"""The same for where the body stands: feet that swing count, so that it does not jerk from step to step."""
SETTLED, CALM = 0.05, 0.12
"""Seconds of the Gaussians by which the hips' height, and their place and corrections, are smoothed."""
NEAR, LIFTS, MOST_RAISED = 0.1, 10.0, 0.2
"""Metres above the ground from which feet do not carry; how fast the higher one ceases to; metres at most."""
LIES = 0.8
"""Part of its length that a leg's ends are aside of each other when it does not carry the body any more."""
LOOSE = 0.05
"""Feet that hardly stand do not move the hips."""
SOLES = 4
"""Points of the soles: heel and ball of two feet."""
CUT = 3.0
"""Standard deviations after which a Gaussian ends."""


def carried(theirs: np.ndarray, ours: np.ndarray, fps: float) -> np.ndarray:
    """What is added to the hips so that the body stands where the driver's does, in its own proportions.

    Args:
        theirs: (T, S, 3) metres, points of the driver's body that may touch the ground; the last `SOLES` are
            those of the soles.
        ours: (T, S, 3) the same points of the other body in the same pose, its hips where the driver's are.
        fps: frames a second.

    Returns:
        (T, 3), smooth over time.
    """
    height = theirs[:, :, 2] - theirs[:, :, 2].min(1, keepdims=True)
    gap = theirs - ours
    near = np.exp(-height / CONTACT)[:, :, None]
    around = near.copy()
    around[:, -SOLES:] = np.exp(-height[:, -SOLES:, None] / AROUND)
    place = (around * gap[:, :, :2]).sum(1) / around.sum(1)
    level = theirs[:, :, 2].min(1) - ours[:, :, 2].min(1)
    return np.column_stack([_smooth(place, CALM * fps), _smooth(level, SETTLED * fps)])


def settled(moved: list[np.ndarray], standing: list[np.ndarray], fps: float) -> np.ndarray:
    """(T, 3) the hips' part in the corrections of standing feet, smooth: what both feet have in common.

    Args:
        moved: (T, 3) metres of each foot, by which it is corrected.
        standing: (T,) bool of each foot.
        fps: frames a second.
    """
    weights = np.array(standing, float)[:, :, None]
    sigma = 2 * CALM * fps
    total = _smooth((weights * np.array(moved)).sum(0), sigma)
    return np.asarray(total / (_smooth(weights.sum(0), sigma) + LOOSE))


def rise(root: np.ndarray, target: np.ndarray, length: np.ndarray) -> np.ndarray:
    """(T,) metres that a leg's root comes up until its end is as far from a target; none for legs that lie.

    Args:
        root, target: (T, 3).
        length: (T,) metres.
    """
    across = np.linalg.norm((root - target)[:, :2], axis=1) / length
    return -drop_to_reach(root, target, length) * np.clip((LIES - across) / LIES, 0, 1)


def raised(rises: list[np.ndarray], above: list[np.ndarray], fps: float) -> np.ndarray:
    """(T,) metres that the hips of long legs come up since their feet are nearer than their own steps are.

    Args:
        rises: (T,) metres of each leg until it is stretched like the driver's.
        above: (T,) metres of each of the driver's feet above the ground.
        fps: frames a second.
    """
    lowest = np.minimum(*above)
    carrying = [rise + LIFTS * (height - lowest) for rise, height in zip(rises, above, strict=True)]
    share = np.clip(1 - lowest / NEAR, 0, 1)
    return _smooth(share * np.minimum(*carrying).clip(0, MOST_RAISED), CALM * fps)


def drop_to_reach(root: np.ndarray, target: np.ndarray, longest: np.ndarray) -> np.ndarray:
    """(T,) metres that a limb's root goes down until its end is no farther from a target; negative: up.

    Args:
        root, target: (T, 3).
        longest: (T,) metres that the limb reaches.
    """
    gap = root - target
    across = np.minimum((gap[:, :2] ** 2).sum(1), (0.95 * longest) ** 2)
    return np.asarray(gap[:, 2] - np.sqrt(longest**2 - across))


def pulled(root: np.ndarray, target: np.ndarray, across: np.ndarray) -> np.ndarray:
    """(T, 3) targets at the same height, no farther aside of a root (T, 3) than (T,) metres."""
    aside = target[:, :2] - root[:, :2]
    share = np.minimum(across / np.maximum(np.linalg.norm(aside, axis=1), 1e-6), 1)
    return np.column_stack([root[:, :2] + share[:, None] * aside, target[:, 2]])


def envelope(need: np.ndarray, fps: float) -> np.ndarray:
    """A smooth course (T,) that is nowhere less than needed, but for a little."""
    if need.max(initial=0) <= 0:
        return need
    sigma = CALM * fps
    return _smooth(maximum_filter1d(need, 2 * round(1.5 * sigma) + 1, mode="nearest"), sigma)


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(gaussian_filter1d(values, sigma, axis=0, mode="nearest", truncate=CUT))
