"""Gauss-Newton over all frames of a window at once, with smooth motion.

Frames are coupled by their accelerations only, so the normal equations are banded; the shape, common to all
frames, is eliminated by its Schur complement. Steps are damped after Levenberg and Marquardt.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded
from scipy.spatial.transform import Rotation

from video_decomp.pose.kinematics import State
from video_decomp.pose.objective import Equations, Errors, Objective

FIXED = 1e9  # added to the diagonal of unknowns that must not change
MAX_ANGLE_STEP = 0.5  # radians an iteration


def solve(
    objective: Objective,
    state: State,
    iterations: int,
    *,
    fit_shape: bool,
    smooth: bool,
    free: np.ndarray | None = None,
    fixed_frames: int = 0,
) -> State:
    """Improve a state.

    Args:
        objective: the per-frame terms.
        state: where to start.
        iterations: number of Gauss-Newton steps.
        fit_shape: whether the shape may change.
        smooth: couple neighbouring frames; they must be consecutive.
        free: (D + 6,) bool, unknowns of each frame that may change; all by default.
        fixed_frames: so many leading frames stay as they are (but the next ones connect to them).
    """
    damping = 1e-3
    equations = _with_motion(objective, state, fit_shape, smooth)
    for _ in range(iterations):
        step, shape_step = _step(equations, objective.errors, damping, smooth, free, fixed_frames)
        candidate = state.moved(step, shape_step if fit_shape else np.zeros_like(state.shape))
        trial = _with_motion(objective, candidate, fit_shape, smooth)
        if trial.cost <= equations.cost:
            state, equations, damping = candidate, trial, max(damping / 4, 1e-6)
        else:
            damping = min(damping * 16 + 1e-2, 1e4)
    return state


def _with_motion(objective: Objective, state: State, fit_shape: bool, smooth: bool) -> Equations:
    """Per-frame equations plus the gradient and cost of the accelerations."""
    equations = objective.equations(state, fit_shape)
    if smooth and len(state.angles) > 2:
        precision = _precision(objective.errors, state.angles.shape[1])
        bend = accelerations(state)
        equations.cost += 0.5 * float((precision * bend**2).sum())
        pull = precision * bend
        equations.pose_side[:-2] -= pull
        equations.pose_side[1:-1] += 2 * pull
        equations.pose_side[2:] -= pull
    return equations


def accelerations(state: State) -> np.ndarray:
    """(T - 2, D + 6): second differences of angles, root rotation (camera axes) and translation."""
    turns = state.root[1:] @ state.root[:-1].swapaxes(1, 2)
    spin = np.diff(Rotation.from_matrix(turns).as_rotvec(), axis=0)
    return np.concatenate([np.diff(state.angles, 2, axis=0), spin, np.diff(state.translation, 2, axis=0)], 1)


def _precision(errors: Errors, angles: int) -> np.ndarray:
    return 1 / np.concatenate([np.full(angles, errors.angle), np.full(3, errors.turn), errors.slide]) ** 2


def _step(
    equations: Equations,
    errors: Errors,
    damping: float,
    smooth: bool,
    free: np.ndarray | None,
    fixed_frames: int,
) -> tuple[np.ndarray, np.ndarray]:
    """One damped step: (T, n) of the frames and (S,) of the shape."""
    frames, unknowns = equations.pose_side.shape
    blocks = equations.pose.copy()
    diagonal = np.einsum("tii->ti", blocks)
    diagonal += damping * diagonal + 1e-6
    if free is not None:
        diagonal[:, ~free] += FIXED
    diagonal[:fixed_frames] += FIXED
    coupled = smooth and frames > 2
    band = np.zeros((2 * unknowns + 1 if coupled else unknowns, frames * unknowns))
    for offset in range(unknowns):
        rows = band[offset].reshape(frames, unknowns)
        rows[:, : unknowns - offset] = np.diagonal(blocks, -offset, 1, 2)
    if coupled:
        precision = _precision(errors, unknowns - 6)
        # Squares of second differences: 1 5 6 ... 6 5 1 on the diagonal, -2 -4 ... -4 -2 and 1 beside it.
        near = band.reshape(2 * unknowns + 1, frames, unknowns)
        for shift, factor in ((0, 1), (1, 4), (2, 1)):
            near[0, shift : frames - 2 + shift] += factor * precision
        near[unknowns, : frames - 2] -= 2 * precision
        near[unknowns, 1 : frames - 1] -= 2 * precision
        near[2 * unknowns, : frames - 2] += precision
    sides = np.concatenate([equations.pose_side[..., None], equations.border], 2)
    if free is not None:
        sides[:, ~free] = 0
    sides[:fixed_frames] = 0
    solved = solveh_banded(band, sides.reshape(frames * unknowns, -1), lower=True, overwrite_ab=True)
    pose_step, mixed = solved[:, 0], solved[:, 1:]
    if not mixed.shape[1]:
        return _limited(pose_step.reshape(frames, unknowns)), np.zeros(0)
    border = equations.border.copy()
    if free is not None:
        border[:, ~free] = 0
    border = border.reshape(frames * unknowns, -1)
    inner = equations.shape * (1 + damping * np.eye(len(equations.shape))) - border.T @ mixed
    shape_step = np.linalg.solve(inner, equations.shape_side - border.T @ pose_step)
    return _limited((pose_step - mixed @ shape_step).reshape(frames, unknowns)), shape_step


def _limited(step: np.ndarray) -> np.ndarray:
    """Scale down the steps of frames that turn a joint too far at once."""
    largest = np.abs(step[:, :-3]).max(1, keepdims=True)
    return step * np.minimum(1, MAX_ANGLE_STEP / np.maximum(largest, 1e-9))
