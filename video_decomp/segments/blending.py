"""One motion of the motions of segments: over the seams, rotations turn on the shortest way."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    motions = [Motion.load(folder / "motion.npz") for folder in segments.folders]
    present = [motion.model != NOBODY for motion in motions]
    if not any(present):
        raise NobodySeen("pose: no segment shows the person; check the mask or the subject")
    body = _common_body([motion for motion, there in zip(motions, present, strict=True) if there])
    changed = segments.in_seams()
    total, bones = segments.division.frames, body.rotations.shape[1]
    turns = np.zeros((total, bones + 1, 3), np.float32)
    places = np.zeros((total, 3), np.float32)
    confidence, visible, known = np.zeros(total, np.float32), np.zeros(total, bool), np.zeros(total, bool)
    for index, (motion, there) in enumerate(zip(motions, present, strict=True)):
        own = segments.division.own(index)
        if not there or not np.array_equal(motion.shape, body.shape):
            changed[own.start : own.stop] = True
    for frame in range(total):
        shares = [
            (index, frame - segments.places[index].first, share)
            for index, share in segments.shares(frame)
            if present[index]
        ]
        if not shares:
            continue
        known[frame] = True
        index, at, share = max(shares, key=lambda one: one[2])
        confidence[frame], visible[frame] = motions[index].confidence[at], motions[index].visible[at]
        turns[frame], places[frame] = _pose(motions[index], at)
        if len(shares) == 2:
            other, other_at, other_share = min(shares, key=lambda one: one[2])
            turn, place = _pose(motions[other], other_at)
            turns[frame] = between(turns[frame], turn, other_share)
            places[frame] = share * places[frame] + other_share * place
    for start, stop in _gaps(segments, known, visible):
        _bridge(turns, places, start, stop)
        changed[start:stop] = True
    motion = replace(
        body,
        rotations=turns[:, 1:],
        root_rotation=turns[:, 0],
        translation=places,
        confidence=confidence,
        visible=visible,
    )
    if any(found.ground.any() for found in motions):
        motion = replace(motion, ground=_ground(motion, float(segments.rate)))
    return Joined(motion, changed)


def excerpt(motion: Motion, start: int, stop: int) -> Motion:
    """Frames `start` to `stop` of a motion."""
    names = ("rotations", "root_rotation", "translation", "confidence", "visible")
    return replace(motion, **{name: getattr(motion, name)[start:stop] for name in names})


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


def _gaps(segments: Segments, known: np.ndarray, visible: np.ndarray) -> list[tuple[int, int]]:
    """Runs of frames without the person that reach over a seam, or that no segment has a pose for."""
    seams = segments.in_seams()
    runs, _ = label(~visible)
    return [
        (run.start, run.stop) for (run,) in find_objects(runs) if seams[run].any() or not known[run].all()
    ]


def _bridge(turns: np.ndarray, places: np.ndarray, start: int, stop: int) -> None:
    """Fill frames evenly from the one before to the one after, or hold the only one there is; in place."""
    before, after = start - 1, stop
    if before < 0:
        before = after
    if after >= len(places):
        after = before
    for frame in range(start, stop):
        share = (frame - start + 1) / (stop - start + 1)
        turns[frame] = between(turns[before], turns[after], share)
        places[frame] = (1 - share) * places[before] + share * places[after]


def _ground(motion: Motion, fps: float) -> np.ndarray:
    """The ground under a whole motion, as of a single clip."""
    points = np.stack([motion.body.key_points(motion.vertices(index)) for index in range(len(motion))])
    upward = Rotation.from_rotvec(motion.root_rotation).apply(UP)
    return ground_plane(points, upward, fps, motion.visible, sole_depth(motion.body))
