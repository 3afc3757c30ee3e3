"""The terms of the fit and their normal equations, frame by frame.

Residuals are divided by what they are expected to be, so all terms are pure numbers:

- landmarks: image distance of the body's key points to BlazePose's, robust (Geman-McClure);
- limbs: 3D vectors between key points to BlazePose's world landmarks, scaled to the body's limbs;
- outline: distance of points of the body's outline to the mask's, along its normal, robust;
- likely poses and joint limits; shape close to the average person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimo.body.model import KEY_POINTS
from video_decomp.pose.kinematics import Kinematics, Points, Posed, State

# Expected error of landmarks, relative to the best: BlazePose's hips, hands and feet are vaguer.
VAGUE = {
    "hip": 1.3,
    "wrist": 1.2,
    "pinky": 2.0,
    "index": 2.0,
    "thumb": 2.5,
    "heel": 1.3,
    "foot": 1.3,
    "ear": 1.3,
}

# Pairs of key points whose 3D difference is compared with the world landmarks, and its expected error
# relative to its length.
LIMBS = (
    *(
        (f"{side}_{a}", f"{side}_{b}", error)
        for side in ("left", "right")
        for a, b, error in (
            ("shoulder", "elbow", 0.2),
            ("elbow", "wrist", 0.25),
            ("wrist", "index", 0.6),
            ("wrist", "pinky", 0.6),
            ("hip", "knee", 0.15),
            ("knee", "ankle", 0.15),
            ("heel", "foot_index", 0.3),
            ("hip", "shoulder", 0.15),
        )
    ),
    ("right_shoulder", "left_shoulder", 0.2),
    ("right_hip", "left_hip", 0.3),
    ("right_ear", "left_ear", 0.4),
    ("left_ear", "nose", 0.4),
    ("right_ear", "nose", 0.4),
)
LIMIT_ERROR = np.radians(2.0)
CHUNK = 8


@dataclass(frozen=True)
class Errors:
    """Expected sizes of the residuals.

    Attributes:
        landmark: image distance, part of the person's height.
        outline: outline distance, part of the person's height; `outline_count`: how many independent
            measurements an outline is worth.
        limb: factor on the limbs' errors.
        pose: factor on the spreads of the angles.
        size: mean length of the limbs, part of that of the world landmarks, times the number of frames.
        shape: factor on the spreads of the shape coefficients.
        turn, angle: change of the speed of root rotation and angles from frame to frame, radians.
        slide: the same of the translation, metres: across, up, and along the line of sight.
    """

    landmark: float = 0.0028
    outline: float = 0.006
    outline_count: float = 60.0
    limb: float = 1.0
    pose: float = 1.0
    shape: float = 0.5
    size: float = 0.5
    turn: float = 0.03
    angle: float = 0.07
    slide: tuple[float, float, float] = (0.004, 0.004, 0.006)


@dataclass(frozen=True, eq=False)
class Matches:
    """Points of the body's outline with their places on the mask's outline; rows of weight 0 are padding.

    Attributes:
        vertices: (T, P) int indices.
        targets, normals: (T, P, 2) pixels, unit vectors outwards.
        weights: (T, P).
    """

    vertices: np.ndarray
    targets: np.ndarray
    normals: np.ndarray
    weights: np.ndarray

    def part(self, frames: slice) -> Matches:
        """Some of the frames."""
        return Matches(
            self.vertices[frames], self.targets[frames], self.normals[frames], self.weights[frames]
        )


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the frames of a fit are compared with.

    Attributes:
        landmarks: (T, 33, 2) pixels. world: (T, 33, 3) metres. visibility: (T, 33), 0 where not seen.
        matches: outline points, or nothing.
        camera: (5,). scale: the person's height, pixels.
        world_lengths: (limbs,) median lengths of the world landmarks' limbs.
    """

    landmarks: np.ndarray
    world: np.ndarray
    visibility: np.ndarray
    matches: Matches | None
    camera: np.ndarray
    scale: float
    world_lengths: np.ndarray


@dataclass(eq=False)
class Equations:
    """Normal equations: pose blocks (T, n, n) and (T, n), border (T, n, S), shape (S, S) and (S,), cost."""

    pose: np.ndarray
    pose_side: np.ndarray
    border: np.ndarray
    shape: np.ndarray
    shape_side: np.ndarray
    cost: float


def limb_lengths(world: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Median lengths (limbs,) over the frames in which the person was seen."""
    first, second, _ = _limbs()
    return np.median(np.linalg.norm(world[seen][:, second] - world[seen][:, first], axis=2), axis=0)


class Objective:
    """The fit's per-frame terms for one clip.

    Args:
        kinematics, evidence, errors: the body, what was seen, how exact it is.
        tolerance: factor on the residuals from which landmarks count as wrong; large at the start.
    """

    def __init__(
        self, kinematics: Kinematics, evidence: Evidence, errors: Errors, tolerance: float = 1.0
    ) -> None:
        self.kinematics, self.evidence, self.errors = kinematics, evidence, errors
        self.tolerance = tolerance
        vague = np.array(
            [max((f for k, f in VAGUE.items() if k in name), default=1.0) for name in KEY_POINTS]
        )
        # Face points move as one: together they count as much as three others.
        vague[:11] *= 2.0
        self.precision = 1 / (errors.landmark * evidence.scale * vague)
        skeleton = kinematics.skeleton
        self.low, self.high = skeleton.stacked("low"), skeleton.stacked("high")
        self.rest, self.spread = skeleton.stacked("rest"), skeleton.stacked("spread") * errors.pose

    def equations(self, state: State, fit_shape: bool) -> Equations:
        """Linearise all per-frame terms around a state."""
        frames, size = state.angles.shape
        unknowns, coefficients = size + 6, len(state.shape) if fit_shape else 0
        total = Equations(
            np.zeros((frames, unknowns, unknowns)),
            np.zeros((frames, unknowns)),
            np.zeros((frames, unknowns, coefficients)),
            np.zeros((coefficients, coefficients)),
            np.zeros(coefficients),
            0.0,
        )
        key_points = self.kinematics.key_points(state.shape)
        rest = self.kinematics.rest_vertices(state.shape)
        for start in range(0, frames, CHUNK):
            self._add_chunk(
                total, state, slice(start, min(start + CHUNK, frames)), key_points, rest, fit_shape
            )
        self._add_priors(total, state, fit_shape)
        return total

    def _add_chunk(
        self,
        total: Equations,
        state: State,
        frames: slice,
        key_points: Points,
        rest: np.ndarray,
        fit_shape: bool,
    ) -> None:
        part = state.part(frames)
        posed = self.kinematics.pose(part)
        hanging = posed.hanging(key_points)
        positions = hanging.sum(0)
        pose = posed.derivatives(key_points, positions, posed.levers(key_points, hanging))
        shape = posed.shape_derivatives(key_points) if fit_shape else None
        pixels, slope = self._project(positions)
        evidence = self.evidence
        seen = evidence.visibility[frames]
        difference = (pixels - evidence.landmarks[frames]) * self.precision[:, None]
        cost, weight = _geman_mcclure((difference**2).sum(-1), 7.0 * self.tolerance)
        total.cost += 0.5 * float((seen * cost).sum())
        scaled = slope * self.precision[:, None, None]
        columns = None if shape is None else scaled @ shape
        _accumulate(total, frames, difference, (seen * weight)[..., None], scaled @ pose, columns)
        self._add_limbs(total, frames, positions, pose)
        if evidence.matches is not None:
            self._add_outline(total, frames, posed, evidence.matches.part(frames), rest, fit_shape)

    def _add_limbs(self, total: Equations, frames: slice, positions: np.ndarray, pose: np.ndarray) -> None:
        first, second, error = _limbs()
        vectors = positions[:, second] - positions[:, first]
        lengths = np.linalg.norm(vectors, axis=2).mean(0)
        evidence = self.evidence
        aims = evidence.world[frames][:, second] - evidence.world[frames][:, first]
        aims = aims * (lengths / evidence.world_lengths)[:, None]
        factor = 1 / (error * lengths * self.errors.limb)
        difference = (vectors - aims) * factor[:, None]
        sure = np.minimum(evidence.visibility[frames][:, first], evidence.visibility[frames][:, second])
        # A landmark that is not visible in the picture still has a sensible place in 3D.
        sure = np.where(sure > 0, 0.3 + 0.7 * sure, 0)
        cost, weight = _geman_mcclure((difference**2).sum(-1), 3.0 * self.tolerance)
        total.cost += 0.5 * float((sure * cost).sum())
        weight = sure * weight
        rows = (pose[:, second] - pose[:, first]) * factor[:, None, None]
        _accumulate(total, frames, difference, weight[..., None], rows, None)

    def _add_outline(
        self,
        total: Equations,
        frames: slice,
        posed: Posed,
        matches: Matches,
        rest: np.ndarray,
        fit_shape: bool,
    ) -> None:
        points = self.kinematics.vertex_points(matches.vertices, rest)
        hanging = posed.hanging(points)
        pixels, slope = self._project(hanging.sum(0))
        factor = 1 / (self.errors.outline * self.evidence.scale)
        distance = ((pixels - matches.targets) * matches.normals).sum(-1) * factor
        across = (matches.normals[:, :, None] @ slope)[:, :, 0] * factor
        count = np.maximum(matches.weights.sum(1), 1)[:, None]
        share = matches.weights * np.minimum(1, self.errors.outline_count / count)
        cost, weight = _geman_mcclure(distance**2, 4.0)
        total.cost += 0.5 * float((share * cost).sum())
        rows = posed.projected_derivatives(posed.levers(points, hanging), across)
        columns = None
        if fit_shape:
            columns = across[:, :, None].astype(np.float32) @ posed.shape_derivatives(points)
        _accumulate(
            total, frames, distance[..., None], (share * weight)[..., None], rows[:, :, None], columns
        )

    def _project(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (T, P, 2) and their derivatives (T, P, 2, 3) by the position."""
        focal, centre = self.evidence.camera[0], self.evidence.camera[1:3]
        depth = np.maximum(positions[..., 2:], 0.1)
        flat = positions[..., :2] / depth
        slope = np.zeros((*flat.shape, 3))
        slope[..., 0, 0] = slope[..., 1, 1] = focal / depth[..., 0]
        slope[..., 2] = -focal * flat / depth
        return flat * focal + centre, slope

    def _add_priors(self, total: Equations, state: State, fit_shape: bool) -> None:
        size = state.angles.shape[1]
        diagonal = np.einsum("tii->ti", total.pose)
        off = (state.angles - self.rest) / self.spread
        diagonal[:, :size] += 1 / self.spread**2
        total.pose_side[:, :size] -= off / self.spread
        over = state.angles - state.angles.clip(self.low, self.high)
        diagonal[:, :size] += (over != 0) / LIMIT_ERROR**2
        total.pose_side[:, :size] -= over / LIMIT_ERROR**2
        total.cost += 0.5 * float((off**2).sum() + (over**2).sum() / LIMIT_ERROR**2)
        if fit_shape:
            self._add_size(total, state.shape)
        precision = 1 / self.errors.shape**2
        total.cost += 0.5 * precision * float((state.shape**2).sum())
        if fit_shape:
            total.shape[np.diag_indices(len(state.shape))] += precision
            total.shape_side -= precision * state.shape

    def _add_size(self, total: Equations, shape: np.ndarray) -> None:
        """Hold the limbs' mean length to that of the world landmarks: a picture alone does not tell size."""
        points = self.kinematics.key_points(shape)
        first, second, error = _limbs()
        large = error <= 0.25
        rest, basis = points.parts.sum(0)[0], points.basis[0]
        vectors = (rest[second] - rest[first])[large]
        lengths = np.linalg.norm(vectors, axis=1)
        change = np.einsum("lsx,lx->ls", (basis[second] - basis[first])[large], vectors / lengths[:, None])
        wanted = self.evidence.world_lengths[large].sum()
        factor = len(self.evidence.landmarks) / (self.errors.size * wanted)
        residual, slope = (lengths.sum() - wanted) * factor, change.sum(0) * factor
        total.cost += 0.5 * float(residual**2)
        total.shape += np.outer(slope, slope)
        total.shape_side -= slope * residual


def _limbs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first = np.array([KEY_POINTS.index(limb[0]) for limb in LIMBS])
    second = np.array([KEY_POINTS.index(limb[1]) for limb in LIMBS])
    return first, second, np.array([limb[2] for limb in LIMBS])


def _geman_mcclure(square: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Robust costs and weights of squared residuals: like squares below `width`, saturating above."""
    inverse = 1 / (1 + square / width**2)
    return square * inverse, inverse**2


def _accumulate(
    total: Equations,
    frames: slice,
    residuals: np.ndarray,
    weights: np.ndarray,
    pose: np.ndarray,
    shape: np.ndarray | None,
) -> None:
    """Add weighted residuals (T, P, R), weights (T, P, 1) and derivatives (T, P, R, n) and (T, P, R, S)."""
    count = len(residuals)
    flat = residuals.reshape(count, -1, 1)
    weight = np.broadcast_to(weights, residuals.shape).reshape(count, -1, 1)
    rows = pose.reshape(count, flat.shape[1], -1)
    heavy = (rows * weight).swapaxes(1, 2)
    total.pose[frames] += heavy @ rows
    total.pose_side[frames] -= (heavy @ flat)[..., 0]
    if shape is not None:
        columns = shape.reshape(count, flat.shape[1], -1)
        total.border[frames] += heavy @ columns
        wide = columns * weight
        total.shape += np.tensordot(wide, columns, ((0, 1), (0, 1)))
        total.shape_side -= np.tensordot(wide, flat[..., 0], ((0, 1), (0, 1)))
