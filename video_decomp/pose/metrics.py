"""Numbers that tell how good a fit is."""

from __future__ import annotations

from typing import Any

import numpy as np

from mimo.body.camera import project
from video_decomp.pose.fit import ClipFit
from video_decomp.pose.kinematics import State

SEEN = 0.5  # visibility from which a landmark counts


def fit_metrics(fit: ClipFit, state: State) -> dict[str, Any]:
    """Landmark errors and smoothness of a fit.

    Returns:
        `landmark_error_px` and `landmark_error_percent` of the person's height: mean distance of the body's
        key points to the visible landmarks; `jitter_px` of landmarks and of the fit: mean length of the
        second difference in time; `filled_frames`.
    """
    observations = fit.observations
    posed = fit.kinematics.pose(state)
    points = project(posed.positions(fit.kinematics.key_points(state.shape)), fit.camera)
    counted = (observations.visibility > SEEN) & observations.seen[:, None]
    distance = np.linalg.norm(points - observations.landmarks, axis=2)
    error = float(distance[counted].mean()) if counted.any() else 0.0
    return {
        "landmark_error_px": round(error, 3),
        "landmark_error_percent": round(100 * error / observations.scale, 3),
        "person_height_px": round(observations.scale, 1),
        "jitter_landmarks_px": _jitter(observations.landmarks, counted),
        "jitter_fit_px": _jitter(points, counted),
        "filled_frames": int((~observations.seen).sum()),
        "frames": len(observations.seen),
    }


def _jitter(points: np.ndarray, counted: np.ndarray) -> float:
    """Mean length of the second differences of points seen in three frames running, pixels."""
    if len(points) < 3:
        return 0.0
    bend = np.linalg.norm(np.diff(points, 2, axis=0), axis=2)
    both = counted[:-2] & counted[1:-1] & counted[2:]
    return round(float(bend[both].mean()), 3) if both.any() else 0.0
