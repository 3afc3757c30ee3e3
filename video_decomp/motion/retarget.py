"""From a skeleton's motion to a body's: directions of the limbs are kept, proportions are the body's own.

Every bone of the body turns as the joint with its role does from its rest pose. Arms and legs point elsewhere
at rest in different skeletons (T-pose, A-pose, legs apart): the body is first brought to the skeleton's rest
pose, limb by limb on the shortest way, so that in every frame its limbs point exactly where those of the
skeleton do. Travel is scaled by the length of the legs.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import shortest
from mimo.body.model import BodyModel, Topology
from mimo.body.rig import FINGERS, SIDES
from video_decomp.motion.interface import SkeletonMotion, leg_length
from video_decomp.motion.timing import between
from video_decomp.pose.skeleton import finger_curl

SNAP = np.radians(20)
"""Rest axes of a skeleton nearer than this to axes of its file are taken for these."""
TIPPED = np.radians(45)
"""Feet whose rest directions differ by more are not both flat on the ground."""
SEGMENTS = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand"))
ABOVE = {"knee": "hip", "elbow": "shoulder", "wrist": "elbow"}


def retarget(motion: SkeletonMotion, body: BodyModel, figure: Figure) -> Poses:
    """Put a motion on a body; it begins at the world's origin, facing -y. Feet are not on the ground yet."""
    same = motion.rest_of == body.topology.model
    rest = motion.rest_places()
    axes = np.eye(3) if same else rest_axes(motion, rest)
    turns = motion.world_rotations()
    places = motion.places(turns)
    scale = leg_length(figure.heads, figure.rig.roles) / leg_length(rest, motion.roles)
    upright = _upright(motion.up)
    turned = upright @ turns @ axes
    bones = turned if same else _bones(motion, turned, _alignment(motion, rest @ axes, figure), figure)
    hips = (
        (places[:, motion.roles["left_hip"]] + places[:, motion.roles["right_hip"]]) / 2 @ upright.T * scale
    )
    heading = Rotation.from_euler("z", -headings(bones[:, 0])[0]).as_matrix()
    start = hips[0] * np.array([1, 1, 0])
    return Poses(heading @ bones, (hips - start) @ heading.T)


def headings(pelvis: np.ndarray) -> np.ndarray:
    """(T,) radians about z by which a pelvis (T, 3, 3) is turned from facing -y; by its left-right axis."""
    left = pelvis[:, :, 0]
    return np.unwrap(np.arctan2(left[:, 1], left[:, 0]))


def rest_axes(motion: SkeletonMotion, rest: np.ndarray) -> np.ndarray:
    """(3, 3) the body's axes (left, back, up as columns) in those of a skeleton at rest."""
    roles = motion.roles
    hips = (rest[roles["left_hip"]] + rest[roles["right_hip"]]) / 2
    up = _snapped(rest[roles["head"]] - hips)
    across = rest[roles["left_hip"]] - rest[roles["right_hip"]]
    across += rest[roles["left_shoulder"]] - rest[roles["right_shoulder"]]
    left = _snapped(across - up * (across @ up))
    left = left - up * (left @ up)
    left /= np.linalg.norm(left)
    return np.stack([left, np.cross(up, left), up], 1)


def _snapped(direction: np.ndarray) -> np.ndarray:
    unit = direction / np.linalg.norm(direction)
    axis = np.zeros(3)
    axis[np.abs(unit).argmax()] = np.sign(unit[np.abs(unit).argmax()])
    return axis if axis @ unit > np.cos(SNAP) else unit


def _upright(up: np.ndarray) -> np.ndarray:
    """Rotation that brings a vertical to z."""
    return shortest(np.asarray(up, float), np.array([0.0, 0.0, 1.0]))


def _alignment(motion: SkeletonMotion, rest: np.ndarray, figure: Figure) -> dict[str, np.ndarray]:
    """Rotation (3, 3) of the body's segments from its rest pose to the skeleton's (its rest in body axes)."""
    found: dict[str, np.ndarray] = {}
    if motion.rest_of == "smpl" and "left_hip" in figure.body.topology.bone_names:
        return found
    bones = figure.rig.roles
    for side in SIDES:
        for upper, lower in SEGMENTS:
            first, second, above = f"{side}_{upper}", f"{side}_{lower}", f"{side}_{ABOVE.get(upper, '')}"
            base = found.get(above, np.eye(3))
            found[first] = base
            if {first, second} <= motion.roles.keys() & bones.keys():
                own = base @ (figure.heads[bones[second]] - figure.heads[bones[first]])
                theirs = rest[motion.roles[second]] - rest[motion.roles[first]]
                if np.linalg.norm(theirs) > 1e-6:
                    found[first] = shortest(own, theirs) @ base
        found |= {f"{side}_{finger}": found[f"{side}_wrist"] for finger in FINGERS}
        ankle, toe = f"{side}_ankle", f"{side}_toe"
        if toe in motion.roles:
            own = figure.heads[bones[toe]] - figure.heads[bones[ankle]]
            turn = shortest(own, rest[motion.roles[toe]] - rest[motion.roles[ankle]])
            if Rotation.from_matrix(turn).magnitude() > TIPPED:
                found[ankle] = turn
    return found


def _bones(
    motion: SkeletonMotion, turned: np.ndarray, alignment: dict[str, np.ndarray], figure: Figure
) -> np.ndarray:
    """(T, J, 3, 3) rotations of the body's bones from rest to the world.

    Args:
        motion: with its roles.
        turned: (T, joints, 3, 3) rotations of its joints, body axes to the world.
        alignment: see `_alignment`.
        figure: the body.
    """
    rig, roles = figure.rig, motion.roles
    given: dict[int, np.ndarray] = {}
    pelvis = motion.common_ancestor("left_hip", "right_hip")
    chest = motion.common_ancestor("left_shoulder", "right_shoulder")
    spine = [pelvis, *motion.chain(chest, pelvis)]
    neck = [chest, *motion.chain(roles["head"], chest)]
    given[0] = turned[:, pelvis]
    for number, bone in enumerate(rig.spine, 1):
        given[bone] = _along(turned, spine, number / len(rig.spine))
    for number, bone in enumerate((*rig.neck, rig.head), 1):
        given[bone] = _along(turned, neck, number / (len(rig.neck) + 1))
    for role, bones in rig.limbs.items():
        if role in roles and not role.endswith(("_toe", "_hand")):
            given[bones[0]] = turned[:, roles[role]] @ alignment.get(role, np.eye(3))
    return _completed(given, figure)


def _along(turned: np.ndarray, joints: list[int], share: float) -> np.ndarray:
    """(T, 3, 3) rotation at a share of the way along a chain of joints."""
    at = share * (len(joints) - 1)
    first = min(int(at), max(len(joints) - 2, 0))
    second = min(first + 1, len(joints) - 1)
    return between(turned[:, joints[first]], turned[:, joints[second]], np.array(at - first))


def _completed(given: dict[int, np.ndarray], figure: Figure) -> np.ndarray:
    """Rotations of all bones: twist of the arms spread along them, the others as at rest, fingers relaxed."""
    topology, rig = figure.body.topology, figure.rig
    frames = len(given[0])
    local = relaxed_fingers(topology)
    turns = np.empty((frames, len(topology.parents), 3, 3))
    halves = {rig.limbs[f"{side}_shoulder"][0]: rig.limbs[f"{side}_shoulder"] for side in SIDES}
    hands = {rig.limbs[f"{side}_elbow"][-1]: rig.limbs[f"{side}_wrist"][0] for side in SIDES}
    for bone, parent in enumerate(topology.parents):
        if bone in given:
            turns[:, bone] = given[bone]
        else:
            turns[:, bone] = turns[:, parent] @ local[bone] if parent >= 0 else np.eye(3)
        if bone in halves and len(halves[bone]) > 1:
            # The segment's lower half gets its whole turn, the upper one half of its twist.
            axis = figure.heads[halves[bone][1]] - figure.heads[bone]
            given[halves[bone][1]] = turns[:, bone].copy()
            turns[:, bone] = _untwisted(turns[:, parent], turns[:, bone], axis)
        elif bone in hands and hands[bone] in given and bone not in given:
            axis = figure.heads[hands[bone]] - figure.heads[bone]
            turns[:, bone] = turns[:, bone] @ _half_twist(turns[:, bone], given[hands[bone]], axis)
    return turns


def relaxed_fingers(topology: Topology) -> np.ndarray:
    """(J, 3, 3) rotations of bones that no joint moves: fingers a little bent, in bodies like Anny's."""
    joints = len(topology.parents)
    if "finger2-1.L" not in topology.bone_names:
        return np.tile(np.eye(3), (joints, 1, 1))
    return Rotation.from_rotvec(finger_curl(topology)).as_matrix()


def _twist(turn: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """(T,) radians of rotations (T, 3, 3) about an axis (3,), the rest being a swing."""
    unit = axis / np.linalg.norm(axis)
    quaternions = Rotation.from_matrix(turn).as_quat()
    angle = 2 * np.arctan2(quaternions[:, :3] @ unit, quaternions[:, 3])
    return np.unwrap((angle + np.pi) % (2 * np.pi) - np.pi)


def _half_twist(parent: np.ndarray, child: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """(T, 3, 3) half of a child's twist against its parent about an axis at rest."""
    angle = _twist(parent.swapaxes(1, 2) @ child, axis) / 2
    return Rotation.from_rotvec(angle[:, None] * axis / np.linalg.norm(axis)).as_matrix()


def _untwisted(parent: np.ndarray, child: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """(T, 3, 3) a child's rotation less half of its twist against its parent."""
    return child @ _half_twist(parent, child, axis).swapaxes(1, 2)
