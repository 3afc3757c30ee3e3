"""The ground under the person, from where the feet stand still."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import find_objects, label

from mimo.body.model import KEY_POINTS, BodyModel

FEET = tuple(
    tuple(KEY_POINTS.index(f"{side}_{part}") for part in ("heel", "foot_index")) for side in ("left", "right")
)
STILL = 0.35  # metres a second, up to which a foot stands
TORSO = [KEY_POINTS.index(f"{side}_{part}") for side in ("left", "right") for part in ("shoulder", "hip")]
LIFTED = 0.06  # metres above the lower foot, from which on a foot does not stand, however still
SCATTER = 0.05  # metres, usual error of the height of a stance
LEAN, LYING = 7.0, 50.0  # degrees: usual error of the body's mean direction, and one that tells nothing
PITCH = 15.0  # degrees: usual tilt of a camera up or down
LEVEL, SLANTED, SLANTED_SHARE = 3.0, 25.0, 0.1  # degrees: roll of a camera held level, or not, as some are
SLOPE = 4.0  # degrees: usual difference of the ground's normal from what trunk and camera tell


def ground_plane(
    points: np.ndarray, upward: np.ndarray, fps: float, visible: np.ndarray, sole: float = 0.0
) -> np.ndarray:
    """Plane n·x = d (4,) float32 of the ground, n up, in camera space; zeros when no foot stands.

    A stance (one foot still for a while) is one observation however long it is: its error is that of the
    depth, which changes slowly. Few stances leave the tilt to the prior (see :func:`likely_vertical`).

    Args:
        points: (T, 33, 3) key points, camera space, metres.
        upward: (T, 3) the trunk's direction upwards, camera space: people are upright on average.
        fps: frames a second.
        visible: (T,) bool, frames to look at.
        sole: metres from the heel's and the toe's key points down to the ground.
    """
    if not visible.any():
        return np.zeros(4, np.float32)
    up = likely_vertical(_body_axis(points[visible], upward[visible]))
    places, frames = _stances(points, up, fps, visible)
    if not len(places):
        return np.zeros(4, np.float32)
    normal, height = _plane(places, frames, up)
    return np.append(normal, height - sole).astype(np.float32)


def sole_depth(body: BodyModel) -> float:
    """Metres from the key points of heels and toes down to the sole."""
    feet = body.key_points(body.rest_vertices)[[point for foot in FEET for point in foot]]
    return float(feet[:, 2].mean() - body.rest_vertices[:, 2].min())


def likely_vertical(body: np.ndarray) -> np.ndarray:
    """The vertical (3,), camera space, from the body's mean direction (3,) and how cameras are usually held.

    Pitch: between the body's and a level camera's by their usual errors. Roll: most cameras are level, so it
    is believed only where it is too large for that (a mixture of level and slanted cameras).
    """
    length = np.linalg.norm(body)
    if length == 0 or -body[1] < length * np.cos(np.radians(LYING)):
        return np.array([0.0, -1.0, 0.0])
    roll, pitch = np.degrees(np.arctan2(body[[0, 2]], -body[1]))
    share, turn = np.array([1 - SLANTED_SHARE, SLANTED_SHARE]), np.array([LEVEL, SLANTED])
    spread = np.hypot(turn, LEAN)
    share *= np.exp(-0.5 * (roll / spread) ** 2) / spread
    roll *= np.average((turn / spread) ** 2, weights=share)
    pitch *= PITCH**2 / (PITCH**2 + LEAN**2)
    up = np.array([np.tan(np.radians(roll)), -1.0, np.tan(np.radians(pitch))])
    return up / np.linalg.norm(up)


def _body_axis(points: np.ndarray, upward: np.ndarray) -> np.ndarray:
    """Mean direction (3,) of the body: of the trunk, and from the lower foot to the trunk (balance)."""
    trunk = np.median(upward, axis=0)
    middles = np.stack([points[:, foot].mean(1) for foot in FEET], 1)
    lower = np.argmin(middles @ trunk, axis=1)
    balance = np.median(points[:, TORSO].mean(1) - middles[np.arange(len(points)), lower], axis=0)
    lengths = np.linalg.norm(trunk), np.linalg.norm(balance)
    return trunk / max(lengths[0], 1e-9) + balance / max(lengths[1], 1e-9)


def _stances(
    points: np.ndarray, up: np.ndarray, fps: float, visible: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places (N, 3) where a foot stood, and for how many frames (N,)."""
    tips = []
    for foot in FEET:
        both = points[:, foot]
        lower = np.argmin(both @ up, axis=1)
        tips.append(both[np.arange(len(both)), lower])
    low = np.minimum(*(tip @ up for tip in tips))
    places, frames = [], []
    for foot, tip in zip(FEET, tips, strict=True):
        middle = points[:, foot].mean(1)
        speed = (
            np.linalg.norm(np.gradient(middle, axis=0), axis=1) * fps if len(tip) > 1 else np.zeros(len(tip))
        )
        runs, _ = label(visible & (speed < STILL) & (tip @ up < low + LIFTED))
        for (run,) in find_objects(runs):
            places.append(np.median(tip[run], axis=0))
            frames.append(run.stop - run.start)
    return np.array(places).reshape(-1, 3), np.array(frames)


def _plane(places: np.ndarray, frames: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, float]:
    """Normal (3,) and height of the plane through most stances, its normal near `up`.

    Least squares of height and slopes with a prior of the slopes, reweighted by Cauchy's loss.
    """
    across = np.cross(up, [0, 0, 1.0])
    across /= np.linalg.norm(across)
    away = np.cross(across, up)
    heights = places @ up
    order = np.argsort(heights)
    share = np.cumsum(frames[order]) / frames.sum()
    level = heights[order][np.searchsorted(share, 0.5)]
    flat = np.stack([places @ across, places @ away], 1)
    design = np.column_stack([np.ones(len(places)), flat - np.average(flat, axis=0, weights=frames)])
    prior = np.diag([0, 1, 1]) / np.radians(SLOPE) ** 2
    solution = np.array([level, 0.0, 0.0])
    for _ in range(20):
        weight = 1 / (SCATTER**2 + (heights - design @ solution) ** 2)
        system = design.T @ (design * weight[:, None]) + prior
        solution = np.linalg.solve(system, design.T @ (heights * weight))
    normal = up - solution[1] * across - solution[2] * away
    normal /= np.linalg.norm(normal)
    weight = 1 / (SCATTER**2 + (heights - design @ solution) ** 2)
    return normal, float(np.average(places @ normal, weights=weight))
