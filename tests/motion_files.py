"""Small files with 3D motion, and plain forward kinematics that share no code with the readers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

# Half of a skeleton with CMU's names in T-pose, centimetres, y up, facing z: name, parent, offset.
MIDDLE = [
    ("Hips", "", (0, 0, 0)),
    ("LowerBack", "Hips", (0, 2, 0)),
    ("Spine", "LowerBack", (0, 12, -1)),
    ("Spine1", "Spine", (0, 13, 0)),
    ("Neck", "Spine1", (0, 14, 0)),
    ("Head", "Neck", (0, 9, 2)),
]
LEFT = [
    ("LeftUpLeg", "Hips", (10, -6, 1)),
    ("LeftLeg", "LeftUpLeg", (3, -43, 0)),
    ("LeftFoot", "LeftLeg", (0, -42, -1)),
    ("LeftToeBase", "LeftFoot", (0, -5, 14)),
    ("LeftShoulder", "Spine1", (2, 10, 0)),
    ("LeftArm", "LeftShoulder", (15, 1, 0)),
    ("LeftForeArm", "LeftArm", (28, 0, 0)),
    ("LeftHand", "LeftForeArm", (25, 0, 0)),
]
RIGHT = [
    (name.replace("Left", "Right"), parent.replace("Left", "Right"), (-x, y, z))
    for name, parent, (x, y, z) in LEFT
]
JOINTS = MIDDLE + LEFT + RIGHT


def write_bvh(
    path: Path,
    frames: int = 40,
    frame_time: float = 1 / 60,
    order: str = "ZYX",
    names=str,
    reference: bool = False,
) -> Path:
    """A person who stands, bends the knees and swings the arms; some joints have other orders of channels.

    With `reference` another joint carries the person, who moves in it, and turns the world so that z is up.
    """
    text, channels = ["HIERARCHY"], []

    def joint(name: str, depth: int) -> None:
        own = next(entry for entry in JOINTS if entry[0] == name)
        tab = "\t" * depth
        turning = order if len(channels) % 3 else order[::-1]
        moving = ["Xposition", "Yposition", "Zposition"] if name == "Hips" else []
        channels.append((name, moving, turning))
        text.extend(
            [
                f"{tab}{'JOINT' if depth else 'ROOT'} {names(name)}",
                tab + "{",
                f"{tab}\tOFFSET {own[2][0]} {own[2][1]} {own[2][2]}",
                f"{tab}\tCHANNELS {len(moving) + 3} "
                + " ".join([*moving, *(f"{axis}rotation" for axis in turning)]),
            ]
        )
        children = [entry[0] for entry in JOINTS if entry[1] == name]
        for child in children:
            joint(child, depth + 1)
        if not children:
            text.extend([f"{tab}\tEnd Site", tab + "\t{", f"{tab}\t\tOFFSET 0 2 3", tab + "\t}"])
        text.append(tab + "}")

    if reference:
        text += ["ROOT Reference", "{", "\tOFFSET 0 0 7", "\tCHANNELS 3 Zrotation Xrotation Yrotation"]
    joint("Hips", int(reference))
    text += ["}"] * reference
    text += ["MOTION", f"Frames: {frames}", f"Frame Time: {frame_time:.7f}"]
    for frame in range(frames):
        numbers = [0, 90, 0] * reference
        for at, (name, moving, turning) in enumerate(channels):
            if moving:
                numbers += [3.0 * math.sin(frame / 9), 95 - 4 * (1 - math.cos(frame / 6)), 0.5 * frame]
            for axis in turning:
                numbers.append(_angle(name, axis, frame, at))
        text.append(" ".join(f"{number:.6f}" for number in numbers))
    path.write_text("\r\n".join(text) + "\n")
    return path


def _angle(name: str, axis: str, frame: int, at: int) -> float:
    """Degrees of a channel."""
    swing = math.sin(frame / 7 + at)
    if "Arm" in name:
        return {"X": 20, "Y": 25, "Z": 35}[axis] * swing
    return {"X": 12, "Y": 9, "Z": 5}[axis] * swing


def bvh_places(path: Path) -> tuple[list[str], np.ndarray]:
    """Names and places (T, J, 3) of a BVH file's joints in its own units, without end sites."""
    head, _, body = path.read_text().partition("MOTION")
    names, parents, offsets, channels, line = [], [], [], [], []
    ended = False
    for row in head.splitlines():
        words = row.split()
        if words[:1] in (["ROOT"], ["JOINT"]):
            names.append(words[1])
            parents.append(line[-1] if line else None)
            line.append(len(names) - 1)
        elif words[:1] == ["End"]:
            ended = True
            line.append(-1)
        elif words[:1] == ["OFFSET"] and line[-1] >= 0:
            offsets.append([float(word) for word in words[1:]])
        elif words[:1] == ["CHANNELS"]:
            channels.append(words[2:])
        elif words[:1] == ["}"]:
            line.pop()
    assert ended
    frames = [[float(word) for word in row.split()] for row in body.splitlines()[3:] if row.strip()]
    places = np.zeros((len(frames), len(names), 3))
    for number, values in enumerate(frames):
        world: list[np.ndarray] = []
        at = 0
        for joint, wanted in enumerate(channels):
            own = np.eye(4)
            own[:3, 3] = offsets[joint]
            for channel in wanted:
                value, at = values[at], at + 1
                if channel.endswith("position"):
                    own["XYZ".index(channel[0]), 3] = value
                else:
                    step = np.eye(4)
                    step[:3, :3] = about(channel[0], math.radians(value))
                    own = own @ step
            world.append(own if parents[joint] is None else world[parents[joint]] @ own)
            places[number, joint] = world[-1][:3, 3]
    return names, places


def about(axis: str, angle: float) -> np.ndarray:
    """Rotation matrix about a coordinate axis."""
    c, s = math.cos(angle), math.sin(angle)
    return {
        "X": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "Y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "Z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def rodrigues(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix of an axis-angle vector."""
    angle = math.sqrt(float(vector @ vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def quaternion(w: float, x: float, y: float, z: float) -> np.ndarray:
    """Rotation matrix of a unit quaternion."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def smpl_places(poses: np.ndarray, rest: np.ndarray, parents: list[int], trans: np.ndarray) -> np.ndarray:
    """(T, J, 3) joints of SMPL: it turns about its pelvis, which stays where it rests; travel is added."""
    places = np.zeros((len(poses), len(parents), 3))
    for frame, pose in enumerate(poses):
        world: list[np.ndarray] = []
        for joint, parent in enumerate(parents):
            own = rodrigues(pose[joint])
            world.append(own if parent < 0 else world[parent] @ own)
            if parent < 0:
                places[frame, joint] = rest[joint] + trans[frame]
            else:
                step = world[parent] @ (rest[joint] - rest[parent])
                places[frame, joint] = places[frame, parent] + step
    return places


def amass_poses(frames: int, joints: int = 52) -> np.ndarray:
    """(T, J, 3) axis-angle of a person who stands upright in a world with z up, and moves all joints."""
    time = np.arange(frames)[:, None, None]
    poses = 0.25 * np.sin(0.2 * time + 1.7 * np.arange(3 * joints).reshape(joints, 3))
    poses[:, 0] = [math.pi / 2, 0, 0]
    return poses
