"""One motion of the motions of segments: over the seams, rotations turn on the shortest way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects, label
from scipy.spatial.transform import Rotation

from mimo.body.model import Topology
from mimo.body.motion import Motion
from video_decomp.pose.ground import ground_plane, sole_depth
from video_decomp.pose.interface import NobodySeen
from video_decomp.pose.skeleton import UP
from video_decomp.pose.unseen import NOBODY
from video_decomp.segments.splice import Segments


@dataclass(frozen=True, eq=False)
class Joined:
    """The motion of a whole video.

    Attributes:
        motion: T frames.
        changed: (T,) bool, frames that are not as in the segment they belong to.
    """

    motion: Motion
    changed: np.ndarray


def joined_motion(segments: Segments) -> Joined:
    """Join the motions of segments.

    In a seam rotations are interpolated on the sphere and places linearly. Where the person is not seen from
    one segment into another, the pose passes evenly from the last one seen to the next, as within a clip.

    Raises:
        NobodySeen: no segment shows the person.
        mimo.stage.Rejected: a motion is missing or damaged.
    """
    motions = [_loaded(folder) for folder in segments.folders]
    known = [motion for motion in motions if motion is not None]
    if not known:
        raise NobodySeen("pose: no segment shows the person; check the mask or the subject")
    body = _common_body(known)
    changed = segments.in_seams()
    for index, motion in enumerate(motions):
        if motion is None or not np.array_equal(motion.shape, body.shape):
            own = segments.division.own(index)
            changed[own.start : own.stop] = True
    table = _Table.of(segments, motions, body.rotations.shape[1])
    for start, stop in _gaps(segments, table):
        table.fill(start, stop)
        changed[start:stop] = True
    motion = replace(
        body,
        rotations=table.turns[:, 1:],
        root_rotation=table.turns[:, 0],
        translation=table.places,
        confidence=table.confidence,
        visible=table.visible,
    )
    if any(one.ground.any() for one in known):
        motion = replace(motion, ground=_ground(motion, float(segments.rate)))
    return Joined(motion, changed)


@dataclass(frozen=True, eq=False)
class _Table:
    """The numbers of all frames.

    Attributes:
        turns: (T, 1 + J, 3), axis-angle of the root and of the bones.
        places: (T, 3).
        confidence: (T,). visible: (T,) bool.
        known: (T,) bool, a segment has a pose for the frame.
    """

    turns: np.ndarray
    places: np.ndarray
    confidence: np.ndarray
    visible: np.ndarray
    known: np.ndarray

    @staticmethod
    def of(segments: Segments, motions: list[Motion | None], bones: int) -> _Table:
        """Every frame from its segment; in seams from both, as far as they have a pose."""
        total = segments.division.frames
        table = _Table(
            np.zeros((total, bones + 1, 3), np.float32),
            np.zeros((total, 3), np.float32),
            np.zeros(total, np.float32),
            np.zeros(total, bool),
            np.zeros(total, bool),
        )
        for frame in range(total):
            poses = [
                (share, motion, frame - segments.places[index].first)
                for index, share in segments.shares(frame)
                if (motion := motions[index]) is not None
            ]
            if poses:
                table._take(frame, *max(poses, key=lambda pose: pose[0]))
            if len(poses) == 2:
                table._turn_to(frame, *min(poses, key=lambda pose: pose[0]))
        return table

    def fill(self, start: int, stop: int) -> None:
        """Make frames pass evenly from the one before to the one after, or hold the only one there is."""
        before, after = start - 1, stop
        if before < 0:
            before = after
        if after >= len(self.places):
            after = before
        for frame in range(start, stop):
            share = (frame - start + 1) / (stop - start + 1)
            self.turns[frame] = between(self.turns[before], self.turns[after], share)
            self.places[frame] = (1 - share) * self.places[before] + share * self.places[after]

    def _take(self, frame: int, _: float, motion: Motion, at: int) -> None:
        self.turns[frame], self.places[frame] = _pose(motion, at)
        self.confidence[frame], self.visible[frame] = motion.confidence[at], motion.visible[at]
        self.known[frame] = True

    def _turn_to(self, frame: int, share: float, motion: Motion, at: int) -> None:
        turns, place = _pose(motion, at)
        self.turns[frame] = between(self.turns[frame], turns, share)
        self.places[frame] += np.float32(share) * (place - self.places[frame])


def between(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """Rotations (N, 3), axis-angle, a share of the way from one to another."""
    start = Rotation.from_rotvec(first)
    way = (start.inv() * Rotation.from_rotvec(second)).as_rotvec()
    return (start * Rotation.from_rotvec(share * way)).as_rotvec().astype(np.float32)


def _pose(motion: Motion, at: int) -> tuple[np.ndarray, np.ndarray]:
    """All rotations of a frame (1 + J, 3), the root's first, and its place."""
    return np.vstack([motion.root_rotation[at][None], motion.rotations[at]]), motion.translation[at]


def _common_body(motions: list[Motion]) -> Motion:
    """A motion with the body of all: their own where they agree, else the mean of how they are built."""
    first = motions[0]
    if all(np.array_equal(motion.shape, first.shape) for motion in motions):
        return first
    weights = [max(1, int(motion.visible.sum())) for motion in motions]
    shape = np.average([motion.shape for motion in motions], axis=0, weights=weights).astype(np.float32)
    body = Topology.named(first.model).body(shape)
    return replace(first, shape=shape, rest_vertices=body.rest_vertices, rest_bones=body.rest_bones)


def _loaded(segment: Path) -> Motion | None:
    """The motion of a segment; None where nobody is seen."""
    motion = Motion.load(segment / "motion.npz")
    return None if motion.model == NOBODY else motion


def _gaps(segments: Segments, table: _Table) -> list[tuple[int, int]]:
    """Runs of frames without the person that reach over a seam, or that no segment has a pose for."""
    seams = segments.in_seams()
    runs, _ = label(~table.visible)
    return [
        (run.start, run.stop)
        for (run,) in find_objects(runs)
        if seams[run].any() or not table.known[run].all()
    ]


def _ground(motion: Motion, fps: float) -> np.ndarray:
    """The ground under a whole motion, as of a single clip."""
    points = np.stack([motion.body.key_points(motion.vertices(index)) for index in range(len(motion))])
    upward = Rotation.from_rotvec(motion.root_rotation).apply(UP)
    return ground_plane(points, upward, fps, motion.visible, sole_depth(motion.body))
