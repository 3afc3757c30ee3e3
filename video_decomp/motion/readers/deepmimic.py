"""Reader of DeepMimic's clips, ``humanoid3d_*.txt`` (Peng et al. 2018), also those of pybullet.

JSON with a list of frames: duration, root's place (y up) and rotation, then rotations of 12 joints;
quaternions are w, x, y, z; knees and elbows are angles about z. The body faces x, its right is z.
The skeleton is that of ``humanoid3d.txt``, in pybullet ``humanoid.urdf`` at a quarter of its size.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.stage import Rejected
from video_decomp.motion.interface import SkeletonMotion, Source
from video_decomp.motion.timing import evenly

JOINTS: tuple[tuple[str, str, tuple[float, float, float], int], ...] = (
    ("root", "", (0.0, 0.0, 0.0), 4),
    ("chest", "root", (0.0, 0.236151, 0.0), 4),
    ("neck", "chest", (0.0, 0.223894, 0.0), 4),
    ("right_hip", "root", (0.0, 0.0, 0.084887), 4),
    ("right_knee", "right_hip", (0.0, -0.421546, 0.0), 1),
    ("right_ankle", "right_knee", (0.0, -0.409870, 0.0), 4),
    ("right_shoulder", "chest", (-0.024050, 0.243500, 0.183110), 4),
    ("right_elbow", "right_shoulder", (0.0, -0.274788, 0.0), 1),
    ("left_hip", "root", (0.0, 0.0, -0.084887), 4),
    ("left_knee", "left_hip", (0.0, -0.421546, 0.0), 1),
    ("left_ankle", "left_knee", (0.0, -0.409870, 0.0), 4),
    ("left_shoulder", "chest", (-0.024050, 0.243500, -0.183110), 4),
    ("left_elbow", "left_shoulder", (0.0, -0.274788, 0.0), 1),
    ("right_wrist", "right_elbow", (0.0, -0.258947, 0.0), 0),
    ("left_wrist", "left_elbow", (0.0, -0.258947, 0.0), 0),
)
"""Name, parent, offset from it in metres, and numbers a frame gives for the joint."""
NUMBERS = 4 + sum(joint[3] for joint in JOINTS)


def recognises(path: Path) -> bool:
    """Whether a file is a text of JSON with frames."""
    if path.suffix.lower() not in (".txt", ".json"):
        return False
    with path.open("rb") as file:
        return b'"Frames"' in file.read(1000)


def read(path: Path, source: Source) -> SkeletonMotion:
    """Read a clip; see `video_decomp.motion.interface`.

    Raises:
        Rejected: it is damaged, or of another creature than the humanoid.
    """
    try:
        frames = np.array(json.loads(path.read_bytes())["Frames"], np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise Rejected(f"{path}: not a clip of DeepMimic ({error})") from error
    if frames.ndim != 2 or frames.shape[1] != NUMBERS or len(frames) < 2:
        raise Rejected(
            f"{path}: frames of {frames.shape[1:] or 'different'} numbers; DeepMimic's humanoid3d clips have "
            f"{NUMBERS} a frame and at least two frames"
        )
    if not np.isfinite(frames).all() or (frames[:-1, 0] <= 0).any():
        raise Rejected(f"{path}: numbers that are not finite, or frames that last no time")
    names = tuple(joint[0] for joint in JOINTS)
    motion = SkeletonMotion(
        names=names,
        parents=np.array([names.index(joint[1]) if joint[1] else -1 for joint in JOINTS]),
        offsets=np.array([joint[2] for joint in JOINTS]),
        rotations=_rotations(frames[:, 4:]),
        translation=frames[:, 1:4],
        fps=1 / float(np.median(frames[:-1, 0])),
        up=np.array([0.0, 1.0, 0.0]),
        roles={"head": names.index("neck")} | {name: at for at, name in enumerate(names) if "_" in name},
        kind="DeepMimic",
    )
    times = np.concatenate([[0], np.cumsum(frames[:-1, 0])])
    if source.source_fps is not None:
        return motion.with_frames(motion.rotations, motion.translation, source.source_fps)
    return evenly(motion, times)


def _rotations(numbers: np.ndarray) -> np.ndarray:
    """(T, J, 3, 3) of the frames' numbers after the place."""
    rotations = np.tile(np.eye(3), (len(numbers), len(JOINTS), 1, 1))
    column = 0
    for joint, (_, _, _, count) in enumerate(JOINTS):
        values = numbers[:, column : column + count]
        if count == 4:
            rotations[:, joint] = Rotation.from_quat(values, scalar_first=True).as_matrix()
        elif count == 1:
            rotations[:, joint] = Rotation.from_rotvec(values * np.array([0.0, 0.0, 1.0])).as_matrix()
        column += count
    return rotations
