"""The fit of one clip: first the person's shape from some frames, then the motion window by window."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from mimo.body.model import KEY_POINTS, BodyModel
from video_decomp.pose.kinematics import Kinematics, State
from video_decomp.pose.objective import Errors, Evidence, Matches, Objective, limb_lengths
from video_decomp.pose.observations import Observations
from video_decomp.pose.silhouette import match
from video_decomp.pose.skeleton import root_frame
from video_decomp.pose.solver import solve

TORSO = tuple(
    KEY_POINTS.index(f"{side}_{part}") for part in ("shoulder", "hip") for side in ("left", "right")
)
REACHES = (0.05, 0.03, 0.02)  # largest distance of outline pairs, part of the person's height


@dataclass(frozen=True)
class Plan:
    """How much work the fit does.

    Attributes:
        shape_frames: frames that the shape is estimated from.
        window, overlap: frames fitted at once, and how many of them continue the window before.
        outline: whether the mask's outline is used.
    """

    shape_frames: int = 24
    window: int = 120
    overlap: int = 12
    outline: bool = True


class ClipFit:
    """Fits a body to the observations of a clip."""

    def __init__(
        self,
        kinematics: Kinematics,
        observations: Observations,
        camera: np.ndarray,
        errors: Errors,
        plan: Plan,
    ) -> None:
        self.kinematics, self.observations, self.camera = kinematics, observations, camera
        self.errors, self.plan = errors, plan
        self.world_lengths = limb_lengths(observations.world, observations.seen)
        topology = kinematics.skeleton.topology
        hands = np.isin(topology.parts, [topology.part_names.index("hand")])
        self.usable = ~hands

    def measured_as(self, world_lengths: np.ndarray, scale: float) -> None:
        """Measure by a longer clip: its limbs' median lengths, and the person's height in pixels."""
        self.world_lengths = world_lengths
        self.observations = replace(self.observations, scale=scale)

    def run(self, shape: np.ndarray | None = None) -> State:
        """Shape, if it is not known, then motion."""
        start = self.initial()
        shape = self.fit_shape(start) if shape is None else shape
        return self.fit_motion(replace_shape(start, shape))

    def fit_shape(self, start: State) -> np.ndarray:
        """The person's shape (S,) from frames spread over the clip, each with its own pose."""
        frames = self._shape_frames()
        state = State(start.angles[frames], start.root[frames], start.translation[frames], start.shape)
        state = self._solve(state, frames, None, 4, smooth=False, rigid=True, tolerance=30)
        state = self._solve(state, frames, None, 6, smooth=False, tolerance=10, by_limbs=True)
        state = self._solve(state, frames, None, 4, smooth=False, tolerance=8)
        state = self._solve(state, frames, None, 4, smooth=False, tolerance=2)
        state = self._solve(state, frames, None, 5, fit_shape=True, smooth=False)
        for reach in REACHES if self.plan.outline else ():
            matches = self.matches(state, frames, reach)
            state = self._solve(state, frames, matches, 4, fit_shape=True, smooth=False)
        return state.shape

    def fit_motion(self, start: State) -> State:
        """All frames, in windows that continue each other."""
        total = len(start.angles)
        done = start
        first = 0
        while True:
            last = min(first + self.plan.window, total)
            frames = np.arange(first, last)
            fixed = min(self.plan.overlap // 2, last - first) if first else 0
            part = self._fit_window(done.part(slice(first, last)), frames, fixed)
            done = State(
                np.concatenate([done.angles[:first], part.angles, done.angles[last:]]),
                np.concatenate([done.root[:first], part.root, done.root[last:]]),
                np.concatenate([done.translation[:first], part.translation, done.translation[last:]]),
                done.shape,
            )
            if last == total:
                return done
            first = last - self.plan.overlap

    def _fit_window(self, state: State, frames: np.ndarray, fixed: int) -> State:
        state = self._solve(state, frames, None, 3, smooth=True, rigid=True, fixed=fixed, tolerance=30)
        state = self._solve(state, frames, None, 6, smooth=False, fixed=fixed, tolerance=10, by_limbs=True)
        state = self._solve(state, frames, None, 4, smooth=True, fixed=fixed, tolerance=8)
        state = self._solve(state, frames, None, 4, smooth=True, fixed=fixed, tolerance=3)
        for reach in REACHES[1:] if self.plan.outline else ():
            matches = self.matches(state, frames, reach)
            state = self._solve(state, frames, matches, 4, smooth=True, fixed=fixed)
        return state

    def _solve(
        self,
        state: State,
        frames: np.ndarray,
        matches: Matches | None,
        iterations: int,
        *,
        smooth: bool,
        fit_shape: bool = False,
        rigid: bool = False,
        fixed: int = 0,
        tolerance: float = 1.0,
        by_limbs: bool = False,
    ) -> State:
        observations = self.observations
        evidence = Evidence(
            observations.landmarks[frames],
            observations.world[frames],
            observations.visibility[frames],
            matches,
            self.camera,
            observations.scale,
            self.world_lengths,
        )
        free = None
        if rigid:
            free = np.ones(state.angles.shape[1] + 6, bool)
            free[: state.angles.shape[1]] = False
        # At first the 3D landmarks lead: they know the right one of two poses mirrored in depth.
        errors = replace(self.errors, landmark=0.03, limb=0.5) if by_limbs else self.errors
        objective = Objective(self.kinematics, evidence, errors, tolerance)
        return solve(
            objective, state, iterations, fit_shape=fit_shape, smooth=smooth, free=free, fixed_frames=fixed
        )

    def matches(self, state: State, frames: np.ndarray, reach: float) -> Matches:
        """Outline pairs of some frames."""
        body = self.body(state.shape)
        outlines = tuple(self.observations.outlines[frame] for frame in frames)
        return match(
            self.bodies(state, body),
            body,
            outlines,
            self.camera,
            reach * self.observations.scale,
            self.usable,
        )

    def body(self, shape: np.ndarray) -> BodyModel:
        """The person's body."""
        return self.kinematics.skeleton.topology.body(shape)

    def bodies(self, state: State, body: BodyModel) -> list[np.ndarray]:
        """Posed vertices of every frame."""
        rotations = self.kinematics.skeleton.rotations(state.angles)
        roots = Rotation.from_matrix(state.root).as_rotvec()
        return [body.pose(*frame) for frame in zip(rotations, roots, state.translation, strict=True)]

    def _shape_frames(self) -> np.ndarray:
        """Frames with landmarks, spread evenly; the better seen half of them if there are many."""
        seen = np.flatnonzero(self.observations.seen)
        clarity = self.observations.visibility[seen].mean(1)
        clear = seen[clarity >= np.quantile(clarity, 0.25)] if len(seen) > 8 else seen
        count = min(len(clear), self.plan.shape_frames)
        return clear[np.linspace(0, len(clear) - 1, count).round().astype(int)]

    def initial(self) -> State:
        """Upright bodies in a relaxed pose, turned and placed after the landmarks; gaps interpolated."""
        skeleton = self.kinematics.skeleton
        observations = self.observations
        shape = np.zeros(skeleton.topology.components)
        angles = np.tile(skeleton.stacked("rest"), (len(observations.seen), 1))
        rest = self.body(shape)
        model = rest.key_points(rest.rest_vertices)[list(TORSO)].astype(float)
        times = np.flatnonzero(observations.seen)
        roots, places = [], []
        for frame in times:
            world = observations.world[frame][list(TORSO)]
            turn, _ = Rotation.align_vectors(world - world.mean(0), model - model.mean(0))
            roots.append(turn if np.isfinite(turn.as_quat()).all() else root_frame())
            places.append(self._place(int(frame)) - turn.apply(model[2:].mean(0)))
        return State(
            angles,
            *_filled(times, Rotation.concatenate(roots), np.array(places), len(observations.seen)),
            shape,
        )

    def _place(self, frame: int) -> np.ndarray:
        """Middle of the hips in camera space: depth from the size of the world landmarks in the picture."""
        observations = self.observations
        weight = observations.visibility[frame][:, None]
        pixels, world = observations.landmarks[frame], observations.world[frame]
        flat = world[:, :2] - (world[:, :2] * weight).sum(0) / weight.sum()
        spread = pixels - (pixels * weight).sum(0) / weight.sum()
        # World landmarks are of a person of about the average size; the shape and the fit correct this.
        scale = (weight * flat * spread).sum() / (weight * spread**2).sum()
        depth = max(self.camera[0] * scale, 0.3)
        hips = pixels[[23, 24]].mean(0)
        return np.append((hips - self.camera[1:3]) / self.camera[0] * depth, depth)


def replace_shape(state: State, shape: np.ndarray) -> State:
    """The state with another shape."""
    return replace(state, shape=shape)


def _filled(
    times: np.ndarray, roots: Rotation, places: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Root rotations (T, 3, 3) and translations (T, 3) of all frames, constant at the ends."""
    every = np.arange(count).clip(times[0], times[-1])
    if len(times) == 1:
        return np.tile(roots.as_matrix()[0], (count, 1, 1)), np.tile(places[0], (count, 1))
    columns = [np.interp(every, times, column) for column in places.T]
    return Slerp(times, roots)(every).as_matrix(), np.stack(columns, 1)
