"""The ground under the person, from where the feet stand still."""

from __future__ import annotations

import numpy as np

from mimo.body.model import KEY_POINTS

FEET = tuple(
    KEY_POINTS.index(f"{side}_{part}") for side in ("left", "right") for part in ("heel", "foot_index")
)
STILL = 0.35  # metres a second, up to which a point of the foot stands
LEVEL = 0.06  # metres above the lowest standing points, up to which a point stands on the same ground
MIN_POINTS = 6
STEEPEST = np.radians(15)  # largest angle between the trunk's mean direction and the ground's normal


def ground_plane(points: np.ndarray, upward: np.ndarray, fps: float, visible: np.ndarray) -> np.ndarray:
    """Plane n·x = d (4,) float32 of the ground, n up, in camera space; zeros when no foot stands.

    Args:
        points: (T, 33, 3) key points, camera space, metres.
        upward: (T, 3) the trunk's direction upwards, camera space: people are upright on average.
        fps: frames a second.
        visible: (T,) bool, frames to look at.
    """
    up = np.median(upward[visible], axis=0) if visible.any() else np.zeros(3)
    if not np.linalg.norm(up):
        return np.zeros(4, np.float32)
    up /= np.linalg.norm(up)
    upright = up
    feet = points[:, FEET]
    if len(feet) > 1:
        speed = np.linalg.norm(np.gradient(feet, axis=0), axis=2) * fps
    else:
        speed = np.zeros(feet.shape[:2])
    standing = feet[(speed < STILL) & visible[:, None]]
    if not len(standing):
        return np.zeros(4, np.float32)
    low = np.quantile(standing @ up, 0.1)
    floor = standing[np.abs(standing @ up - low) < 4 * LEVEL]
    for _ in range(5):
        if len(floor) >= MIN_POINTS:
            up = _tilted(floor, upright)
        height = np.median(floor @ up)
        near = np.abs(standing @ up - height) < LEVEL
        floor = standing[near] if near.any() else floor
    return np.append(up, np.median(floor @ up)).astype(np.float32)


def _tilted(floor: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Normal of the plane through the floor points, kept near `up` unless they are spread wide.

    Least squares of the slopes with a prior of five degrees, for points that scatter by five centimetres.
    """
    across = np.cross(up, [0, 0, 1.0])
    across /= np.linalg.norm(across)
    away = np.cross(across, up)
    centred = floor - floor.mean(0)
    design = np.stack([centred @ across, centred @ away], 1) / 0.05
    system = design.T @ design + np.eye(2) / np.radians(5) ** 2
    slopes = np.linalg.solve(system, design.T @ (centred @ up / 0.05))
    slopes *= min(1, np.tan(STEEPEST) / max(np.linalg.norm(slopes), 1e-9))
    normal = up - slopes[0] * across - slopes[1] * away
    return normal / np.linalg.norm(normal)
