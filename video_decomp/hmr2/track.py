"""One person's SMPL parameters over a clip, as estimated frame by frame, and the motion they become."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.ndimage import median_filter
from scipy.spatial.transform import Rotation

from mimo.body.camera import project
from mimo.body.model import BodyModel, Topology
from mimo.body.motion import Motion
from mimo.body.smpl import AXES, SHAPES
from video_decomp.hmr2.smoothing import (
    GUESSED,
    filled_rotations,
    filled_values,
    outliers,
    smooth_rotations,
    smooth_values,
)

SLIP = np.radians(40)
"""Turn of the whole body between frames from which a single frame is taken for a slip."""
DEPTH_SHARE = 0.25
"""Cut-off of the depth over that of the pose: depth from a box's size is the least exact."""
HAND_FRAMES = 5
"""Hands seen or not are decided by the majority of so many frames, so that they do not flicker."""
BODY_JOINTS, SMPL_JOINTS = 22, 24


@dataclass(frozen=True, eq=False)
class Track:
    """What was estimated in T frames; values of frames in which nothing was seen do not matter.

    Attributes:
        rotations: (T, J, 3, 3) joints in their parents' axes, SMPL's own; the first from SMPL's axes to the
            camera's.
        shapes: (T, 10).
        translation: (T, 3) metres, added to SMPL's result in camera space.
        seen: (T,) bool, the person was there to be estimated.
        hands: (T, 2) bool, left and right hand were seen.
    """

    rotations: np.ndarray
    shapes: np.ndarray
    translation: np.ndarray
    seen: np.ndarray
    hands: np.ndarray

    def __len__(self) -> int:
        return len(self.rotations)


def empty_track(frames: int, joints: int) -> Track:
    """A track in which nothing was seen."""
    return Track(
        np.tile(np.eye(3), (frames, joints, 1, 1)),
        np.zeros((frames, SHAPES)),
        np.zeros((frames, 3)),
        np.zeros(frames, bool),
        np.zeros((frames, 2), bool),
    )


def with_straight_hands(bodies: np.ndarray) -> np.ndarray:
    """SMPL's rotations (B, 24, 3, 3) as SMPL-H's (B, 52, 3, 3), without its two joints in the hands."""
    result = np.tile(np.eye(3), (len(bodies), 52, 1, 1))
    result[:, :22] = bodies[:, :22]
    return result


def steady(track: Track, topology: Topology, fps: float, cutoff: float) -> tuple[Track, np.ndarray]:
    """A track with gaps filled, slips taken out, one shape, smooth in time.

    The pelvis moves smoothly in the picture's directions and in the logarithm of depth.

    Args:
        track: seen in at least one frame.
        topology: the body.
        fps: frames a second.
        cutoff: hertz, see `video_decomp.hmr2.smoothing.smooth_values`; 0 smooths nothing.

    Returns:
        The track, and (T,) bool: frames whose pose is an estimate, not filled in.
    """
    used = track.seen & ~outliers(track.rotations[:, 0], track.seen, SLIP)
    weights = np.where(used, 1.0, GUESSED)
    shape = np.median(track.shapes[used], axis=0)
    rotations = filled_rotations(track.rotations, used)
    for joints, hand in zip(finger_joints(rotations.shape[1]), track.hands.T, strict=True):
        known = used & hand
        if known.any():
            rotations[:, joints] = filled_rotations(track.rotations[:, joints], known)
    pelvis = pelvis_of(topology.body(shape))
    translation = _steady_places(track.translation + pelvis, used, weights, cutoff, fps) - pelvis
    result = replace(
        track,
        rotations=smooth_rotations(rotations, weights, cutoff, fps),
        shapes=np.tile(shape, (len(track), 1)),
        translation=translation,
        hands=median_filter(track.hands, size=(HAND_FRAMES, 1), mode="nearest") & used[:, None],
    )
    return result, used


def _steady_places(
    places: np.ndarray, used: np.ndarray, weights: np.ndarray, cutoff: float, fps: float
) -> np.ndarray:
    """Places (T, 3) filled and smoothed: as directions from the camera, and the logarithm of depth."""
    polar = np.zeros_like(places)
    polar[used, :2] = places[used, :2] / places[used, 2:]
    polar[used, 2] = np.log(places[used, 2])
    polar = filled_values(polar, used)
    direction = smooth_values(polar[:, :2], weights, cutoff, fps)
    depth = np.exp(smooth_values(polar[:, 2:], weights, cutoff * DEPTH_SHARE, fps))
    return np.concatenate([direction * depth, depth], 1)


def finger_joints(joints: int) -> tuple[slice, slice]:
    """Where the left and the right fingers stand among a body's joints; nowhere in SMPL."""
    fingers = (joints - BODY_JOINTS) // 2 if joints > SMPL_JOINTS else 0
    return slice(joints - 2 * fingers, joints - fingers), slice(joints - fingers, joints)


def pelvis_of(body: BodyModel) -> np.ndarray:
    """The root joint (3,) of a body at rest, SMPL's axes."""
    return body.rest_bones[0, :3, 3] @ AXES


def motion_of(track: Track, used: np.ndarray, topology: Topology, camera: np.ndarray) -> Motion:
    """A steady track as a motion; SMPL turns the body about its pelvis, a motion about the model's origin.

    Args:
        track, used: from `steady`.
        topology: the body.
        camera: (5,).
    """
    shape = track.shapes[0].astype(np.float32)
    body = topology.body(shape[: topology.components])
    frames, joints = track.rotations.shape[:2]
    turn = track.rotations[:, 0]
    rotations = Rotation.from_matrix(track.rotations.reshape(-1, 3, 3)).as_rotvec().reshape(frames, joints, 3)
    rotations = rotations @ AXES.T
    rotations[:, 0] = 0
    pelvis = pelvis_of(body)
    return Motion(
        model=topology.model,
        shape=shape,
        rest_vertices=body.rest_vertices,
        rest_bones=body.rest_bones,
        rotations=rotations.astype(np.float32),
        root_rotation=Rotation.from_matrix(turn @ AXES.T).as_rotvec().astype(np.float32),
        translation=(track.translation + pelvis - turn @ pelvis).astype(np.float32),
        camera=camera.astype(np.float32),
        confidence=used.astype(np.float32),
        visible=track.seen,
        # Depth from nearly weak perspective is too inexact to tell where the ground is.
        ground=np.zeros(4, np.float32),
    )


def joint_places(track: Track, topology: Topology) -> np.ndarray:
    """Joints (T, J, 3) of a track in camera space, metres, each frame with its own shape."""
    heads = topology.mean_heads + np.tensordot(
        track.shapes[:, : topology.components].astype(np.float32), topology.head_basis[:SHAPES], 1
    )
    heads = heads @ AXES
    places = np.empty_like(heads, np.float64)
    turns = np.empty_like(track.rotations, np.float64)
    for joint, parent in enumerate(topology.parents):
        if parent < 0:
            turns[:, joint] = track.rotations[:, joint]
            places[:, joint] = heads[:, joint] + track.translation
            continue
        turns[:, joint] = turns[:, parent] @ track.rotations[:, joint]
        bone = heads[:, joint] - heads[:, parent]
        places[:, joint] = places[:, parent] + np.einsum("tij,tj->ti", turns[:, parent], bone)
    return places


def track_metrics(
    raw: Track, smooth: Track, used: np.ndarray, topology: Topology, camera: np.ndarray
) -> dict[str, Any]:
    """Numbers for the record.

    Returns:
        `jitter_network_px` and `jitter_px`: mean length of the second difference in time of the projected
        joints, before and after smoothing; `_mm` the same of joints relative to the pelvis; `smoothing_px`:
        mean distance between both; `filled_frames`, `outlier_frames`, `frames`, and `hand_frames`, in which
        left and right hand were seen.
    """
    before, after = (
        joint_places(raw, topology)[:, :BODY_JOINTS],
        joint_places(smooth, topology)[:, :BODY_JOINTS],
    )
    before[~used] = after[~used]
    pixels = project(before, camera), project(after, camera)
    relative = [1000 * (places - places[:, :1]) for places in (before, after)]
    moved = np.linalg.norm(pixels[1] - pixels[0], axis=-1)[used].mean()
    return {
        "jitter_network_px": _jitter(pixels[0], used),
        "jitter_px": _jitter(pixels[1], used),
        "jitter_network_mm": _jitter(relative[0], used),
        "jitter_mm": _jitter(relative[1], used),
        "smoothing_px": round(float(moved), 3),
        "filled_frames": int((~raw.seen).sum()),
        "outlier_frames": int((raw.seen & ~used).sum()),
        "hand_frames": [int(count) for count in smooth.hands.sum(0)],
        "frames": len(raw),
    }


def _jitter(points: np.ndarray, used: np.ndarray) -> float:
    """Mean length of second differences over frames that are used with both neighbours."""
    whole = used[:-2] & used[1:-1] & used[2:] if len(used) > 2 else np.zeros(0, bool)
    if not whole.any():
        return 0.0
    return round(float(np.linalg.norm(np.diff(points, 2, axis=0), axis=-1)[whole].mean()), 3)
