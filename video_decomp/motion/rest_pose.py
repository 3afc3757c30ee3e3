"""Skeletons whose zero pose is nobody's (all bones along one axis, as in LAFAN1): a new rest from the motion.

Mapping needs a pose in which the skeleton stands as the body does at rest. Where the file's own is none, the
frame in which the person stands straightest becomes the rest pose; places in all frames stay as they were.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mimo.body.rig import SIDES
from video_decomp.motion.interface import SkeletonMotion

STANDING = 0.5
"""Cosine between trunk and reversed legs from which a pose counts as standing."""
SAID = "The skeleton does not stand at rest: frame {frame}, the straightest, was taken for its rest pose."


def with_standing_rest(motion: SkeletonMotion) -> SkeletonMotion:
    """A motion whose skeleton stands at rest: as it is if it does, else at rest in its straightest frame."""
    rest = motion.rest_places()
    trunk, legs = _lines(rest[None], motion.roles)
    if motion.rest_of or (-legs * trunk[:, None]).sum(-1).min() > STANDING:
        return motion
    turns = motion.world_rotations()
    places = motion.places(turns)
    frame = int(straightness(places, motion.roles, motion.up).argmax())
    # The new rest in the body's axes, so that it faces straight.
    axes = _axes(places[frame], motion.roles, motion.up)
    zero = axes.T @ turns[frame]
    offsets = motion.offsets.copy()
    rotations = np.empty_like(motion.rotations)
    new = turns @ zero.swapaxes(1, 2)
    for joint, parent in enumerate(motion.parents):
        if parent < 0:
            rotations[:, joint] = new[:, joint]
        else:
            offsets[joint] = zero[parent] @ motion.offsets[joint]
            rotations[:, joint] = new[:, parent].swapaxes(1, 2) @ new[:, joint]
    return replace(
        motion,
        offsets=offsets,
        rotations=rotations,
        warnings=(*motion.warnings, SAID.format(frame=frame)),
    )


def straightness(places: np.ndarray, roles: dict[str, int], up: np.ndarray) -> np.ndarray:
    """(T,) how much people stand: trunk and legs upright, hips and shoulders parallel, arms straight."""
    trunk, legs = _lines(places, roles)
    score = 2 * trunk @ up - (legs @ up).sum(1)
    hips, shoulders = (
        _unit(places[:, roles[f"left_{name}"]] - places[:, roles[f"right_{name}"]])
        for name in ("hip", "shoulder")
    )
    score += 2 * (hips * shoulders).sum(1)
    for side in SIDES:
        for first, middle, last in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")):
            at = [places[:, roles[f"{side}_{name}"]] for name in (first, middle, last)]
            score += (_unit(at[1] - at[0]) * _unit(at[2] - at[1])).sum(1)
        if f"{side}_toe" in roles:
            foot = _unit(places[:, roles[f"{side}_toe"]] - places[:, roles[f"{side}_ankle"]])
            score += (foot * np.cross(hips, up)).sum(1)
    return np.asarray(score)


def _axes(places: np.ndarray, roles: dict[str, int], up: np.ndarray) -> np.ndarray:
    """(3, 3) left, back and up of who stands so, as columns."""
    across = places[roles["left_hip"]] - places[roles["right_hip"]]
    across = across + places[roles["left_shoulder"]] - places[roles["right_shoulder"]]
    left = _unit(across - up * (across @ up))
    return np.stack([left, np.cross(up, left), up], 1)


def _lines(places: np.ndarray, roles: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Directions of the trunk (T, 3) and of the legs (T, 2, 3)."""
    hips = [places[:, roles[f"{side}_hip"]] for side in SIDES]
    ankles = [places[:, roles[f"{side}_ankle"]] for side in SIDES]
    trunk = _unit(places[:, roles["head"]] - (hips[0] + hips[1]) / 2)
    return trunk, np.stack([_unit(ankle - hip) for hip, ankle in zip(hips, ankles, strict=True)], 1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
