"""Reader of AMASS (Mahmood et al. 2019): ``*_poses.npz`` of SMPL-H and ``*_stageii.npz`` of SMPL-X.

Axis-angle of all joints in `poses` (SMPL-H: 156 numbers a frame; SMPL-X: 165) or in `root_orient`,
`pose_body`, `pose_hand`; `trans` is added to the body, which turns about its pelvis; the world's z is up.
Only the arrays that are needed are opened, and none that would have to be unpickled.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.rig import FINGERS, SIDES
from mimo.body.smpl import BODY_JOINTS, HAND_JOINTS
from mimo.stage import Rejected
from video_decomp.motion.interface import SkeletonMotion, Source

RATES = ("mocap_framerate", "mocap_frame_rate", "mocap_fps", "fps")
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""Of SMPL's 22 joints of the body."""
FACE_JOINTS = 3
"""Jaw and eyes, which stand between body and hands in SMPL-X's `poses`."""

# An average person in SMPL's rest pose (T-pose; x to its left, y up, z forwards), metres, in whole
# centimetres: the motion is mapped by directions, and travel by the legs' length, so that no more is needed.
MIDDLE = {
    "pelvis": (0, 0, 0),
    "spine1": (0, 0.11, -0.02),
    "spine2": (0, 0.25, 0),
    "spine3": (0, 0.30, 0.01),
    "neck": (0, 0.51, -0.03),
    "head": (0, 0.59, 0.02),
}
LEFT = {
    "hip": (0.06, -0.09, -0.01),
    "knee": (0.10, -0.47, -0.01),
    "ankle": (0.09, -0.87, -0.04),
    "foot": (0.12, -0.93, 0.08),
    "collar": (0.08, 0.42, -0.02),
    "shoulder": (0.17, 0.45, -0.04),
    "elbow": (0.43, 0.44, -0.06),
    "wrist": (0.69, 0.44, -0.07),
}
FINGER_ROOTS = {
    "index": (0.79, 0.43, -0.05),
    "middle": (0.80, 0.44, -0.07),
    "pinky": (0.77, 0.43, -0.11),
    "ring": (0.79, 0.43, -0.09),
    "thumb": (0.73, 0.42, -0.04),
}
LINK = (0.03, 0.0, 0.0)
THUMB_LINK = (0.02, -0.005, 0.02)
NAMES = (*BODY_JOINTS, *(f"{side}_{name}" for side in SIDES for name in HAND_JOINTS))


def recognises(path: Path) -> bool:
    """Whether a file is an archive of arrays with poses and travel."""
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        there = {name.removesuffix(".npy") for name in archive.namelist()}
    return "trans" in there and bool({"poses", "root_orient"} & there)


def read(path: Path, source: Source) -> SkeletonMotion:
    """Read a motion; see `video_decomp.motion.interface`.

    Raises:
        Rejected: it is damaged, or lacks poses, travel or the frame rate.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            poses, translation = _poses(file, path), np.asarray(file["trans"], np.float64)
            fps = source.source_fps or _rate(file, path)
            shape = np.asarray(file["betas"], np.float32).reshape(-1) if "betas" in file.files else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise Rejected(f"{path}: not a motion of AMASS, or damaged ({error})") from error
    frames = len(poses)
    if translation.shape != (frames, 3) or not (np.isfinite(poses).all() and np.isfinite(translation).all()):
        raise Rejected(
            f"{path}: poses {poses.shape} and trans {translation.shape} do not fit, or are not finite"
        )
    rest = rest_places()
    parents = parents_of(NAMES)
    offsets = np.where(parents[:, None] >= 0, rest - rest[parents], 0)
    return SkeletonMotion(
        names=NAMES,
        parents=parents,
        offsets=offsets,
        rotations=Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(frames, -1, 3, 3),
        translation=translation,
        fps=fps,
        up=np.array([0.0, 0.0, 1.0]),
        roles=smpl_roles(NAMES),
        kind="AMASS",
        rest_of="smpl",
        shape=shape,
    )


def _poses(file: np.lib.npyio.NpzFile, path: Path) -> np.ndarray:
    """(T, 52, 3) axis-angle of body and hands."""
    if "poses" in file.files:
        poses = np.asarray(file["poses"], np.float64)
        joints = poses.shape[1] // 3 if poses.ndim == 2 else 0
        if joints == len(NAMES) + FACE_JOINTS:
            poses = np.delete(poses.reshape(len(poses), -1, 3), range(22, 22 + FACE_JOINTS), axis=1)
        elif joints not in (22, 24, len(NAMES)):
            raise Rejected(
                f"{path}: poses of {poses.shape[1:]} numbers a frame; SMPL-H has 156, SMPL-X 165, SMPL 72"
            )
    else:
        parts = [np.asarray(file[name], np.float64) for name in ("root_orient", "pose_body")]
        if "pose_hand" in file.files:
            parts.append(np.asarray(file["pose_hand"], np.float64))
        poses = np.concatenate(parts, 1)
    poses = poses.reshape(len(poses), -1, 3)
    if not len(poses) or poses.shape[1] < 22:
        raise Rejected(f"{path}: {len(poses)} frames of {poses.shape[1]} joints; a body has at least 22")
    # SMPL's two joints in the hands are no fingers.
    used = poses[:, : len(NAMES)] if poses.shape[1] >= len(NAMES) else poses[:, :22]
    return np.concatenate([used, np.zeros((len(used), len(NAMES) - used.shape[1], 3))], 1)


def _rate(file: np.lib.npyio.NpzFile, path: Path) -> float:
    for name in RATES:
        if name in file.files and float(file[name]) > 0:
            return float(file[name])
    raise Rejected(f"{path}: does not say its frame rate ({', '.join(RATES)}); give --source-fps")


def rest_places() -> np.ndarray:
    """(52, 3) metres, joints of an average person at rest, SMPL's axes, the pelvis at zero."""
    places = {name: np.array(place, float) for name, place in MIDDLE.items()}
    for side, sign in (("left", 1), ("right", -1)):
        across = np.array([sign, 1, 1])
        places |= {f"{side}_{name}": across * place for name, place in LEFT.items()}
        for finger, root in FINGER_ROOTS.items():
            step = np.array(THUMB_LINK if finger == "thumb" else LINK)
            for link in (1, 2, 3):
                places[f"{side}_{finger}{link}"] = across * (np.array(root) + (link - 1) * step)
    return np.array([places[name] for name in NAMES])


def parents_of(names: tuple[str, ...]) -> np.ndarray:
    """(J,) parents of SMPL's or SMPL-H's joints."""
    parents = list(PARENTS)
    for name in names[len(PARENTS) :]:
        side, _, joint = name.partition("_")
        link = int(joint[-1]) if joint[-1].isdigit() else 1
        parents.append(names.index(f"{side}_wrist") if link == 1 else len(parents) - 1)
    return np.array(parents)


def smpl_roles(names: tuple[str, ...]) -> dict[str, int]:
    """Roles of SMPL's or SMPL-H's joints."""
    roles = {"head": names.index("head")}
    for side in SIDES:
        for role in ("hip", "knee", "ankle", "collar", "shoulder", "elbow", "wrist"):
            roles[f"{side}_{role}"] = names.index(f"{side}_{role}")
        roles[f"{side}_toe"] = names.index(f"{side}_foot")
        hand = f"{side}_hand" if f"{side}_hand" in names else f"{side}_middle1"
        if hand in names:
            roles[f"{side}_hand"] = names.index(hand)
        roles |= {
            f"{side}_{finger}": names.index(f"{side}_{finger}")
            for finger in FINGERS
            if f"{side}_{finger}" in names
        }
    return roles
