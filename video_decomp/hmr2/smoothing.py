"""Filling and smoothing of what was estimated frame by frame: rotations and places over time.

Smoothing is Whittaker's (1923; Eilers 2003): squared second differences are weighed against the distance from
the values, in one banded system. It has no phase: nothing lags behind.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation

GUESSED = 0.02
"""Weight of a filled-in value against an estimated one."""


def filled_values(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Values (T, ...) with frames that are not `seen` (T,) interpolated, or held at the ends."""
    places = np.flatnonzero(seen)
    flat = values.reshape(len(values), -1)
    columns = [np.interp(np.arange(len(flat)), places, column[places]) for column in flat.T]
    return np.stack(columns, 1).reshape(values.shape)


def filled_rotations(rotations: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Rotation matrices (T, J, 3, 3) with frames that are not `seen` (T,) on the shortest way, or held."""
    places = np.flatnonzero(seen)
    result = rotations.copy()
    result[: places[0]], result[places[-1] + 1 :] = rotations[places[0]], rotations[places[-1]]
    for before, after in itertools.pairwise(places):
        if after - before > 1:
            turn = rotations[before].swapaxes(1, 2) @ rotations[after]
            vector = Rotation.from_matrix(turn).as_rotvec()
            shares = np.arange(1, after - before)[:, None, None] / (after - before)
            steps = Rotation.from_rotvec((shares * vector).reshape(-1, 3)).as_matrix()
            result[before + 1 : after] = rotations[before] @ steps.reshape(-1, *rotations.shape[1:])
    return result


def smooth_values(values: np.ndarray, weights: np.ndarray, cutoff: float, fps: float) -> np.ndarray:
    """Smoothed values.

    Args:
        values: (T, N).
        weights: (T,) trust in each frame.
        cutoff: what repeats so often a second keeps half its size; 0 leaves everything as it is.
        fps: frames a second.

    Returns:
        (T, N) float64.
    """
    frames = len(values)
    if frames < 3 or cutoff <= 0 or cutoff >= fps / 2:
        return np.asarray(values, np.float64)
    stiffness = 1 / (2 * np.sin(np.pi * cutoff / fps)) ** 4
    bands = np.zeros((3, frames))
    for shift, factor in enumerate((1, -2, 1)):
        for other, second in enumerate((1, -2, 1)):
            if other >= shift:
                bands[other - shift, shift : frames - 2 + shift] += stiffness * factor * second
    bands[0] += weights
    return solveh_banded(bands, np.asarray(values, np.float64) * weights[:, None], lower=True)


def smooth_rotations(rotations: np.ndarray, weights: np.ndarray, cutoff: float, fps: float) -> np.ndarray:
    """Smoothed rotation matrices (T, J, 3, 3): their unit quaternions, of one sign along time.

    Good for changes of less than a quarter turn within the time that is smoothed over.
    """
    frames, joints = rotations.shape[:2]
    quaternions = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_quat().reshape(frames, joints, 4)
    turned = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0
    quaternions[1:][np.cumsum(turned, axis=0) % 2 == 1] *= -1
    smooth = smooth_values(quaternions.reshape(frames, -1), weights, cutoff, fps).reshape(-1, 4)
    return Rotation.from_quat(smooth).as_matrix().reshape(rotations.shape)


def outliers(rotations: np.ndarray, seen: np.ndarray, angle: float) -> np.ndarray:
    """Frames whose rotation is far from both neighbours that agree with each other: slips of the network.

    Args:
        rotations: (T, 3, 3).
        seen: (T,) bool; neighbours are the next frames that are seen.
        angle: radians.

    Returns:
        (T,) bool.
    """
    places = np.flatnonzero(seen)
    found = np.zeros(len(rotations), bool)
    if len(places) < 3:
        return found
    kept = rotations[places]
    step = _angles(kept[:-1], kept[1:])
    across = _angles(kept[:-2], kept[2:])
    jump = np.minimum(step[:-1], step[1:])
    found[places[1:-1]] = (jump > angle) & (across < jump / 2)
    return found


def _angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles (N,) between rotations (N, 3, 3), radians."""
    trace = np.einsum("nij,nij->n", first, second)
    return np.arccos(np.clip((trace - 1) / 2, -1, 1))
