"""Which bones move, about which axes and how far: the pose vector of the fit.

A pose is a vector of angles, a few for each joint. The angles of a joint are components of an axis-angle
vector in the joint's own axes (in the reference pose), shared evenly by the bones of a chain such as the
spine. Angles are zero in the reference pose; positive flexion bends the joint.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.model import Topology

LEFT, BACK, UP = np.eye(3)

# Relaxed fingers: they are not observed. Flexion of the three joints of each finger, radians.
FINGER_CURL = (0.35, 0.45, 0.35)
THUMB_CURL = (0.1, 0.2, 0.25)


@dataclass(frozen=True, eq=False)
class Joint:
    """One group of angles.

    Attributes:
        name: such as ``elbow.L``.
        bones: indices of the bones that share the rotation.
        axes: (A, 3) unit vectors in model axes, one for each angle.
        share: part of the rotation that each bone takes: 1 / len(bones) along a chain, 1 for parallel bones.
        low, high: (A,) limits of the angles, radians.
        rest: (A,) the most likely angles.
        spread: (A,) standard deviations around `rest`, radians.
    """

    name: str
    bones: tuple[int, ...]
    axes: np.ndarray
    share: float
    low: np.ndarray
    high: np.ndarray
    rest: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True, eq=False)
class Skeleton:
    """All joints of the fit; the pose vector is their angles one after the other."""

    topology: Topology
    joints: tuple[Joint, ...]

    @staticmethod
    def of(topology: Topology) -> Skeleton:
        """The skeleton of a body topology."""
        return Skeleton(topology, tuple(_joints(topology)))

    @cached_property
    def size(self) -> int:
        """Number of angles."""
        return sum(len(joint.axes) for joint in self.joints)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each joint's angles lie in the pose vector."""
        ends = np.cumsum([len(joint.axes) for joint in self.joints])
        return {
            joint.name: slice(int(end) - len(joint.axes), int(end))
            for joint, end in zip(self.joints, ends, strict=True)
        }

    def stacked(self, field: str) -> np.ndarray:
        """One attribute (`low`, `high`, `rest`, `spread`) of all angles."""
        return np.concatenate([getattr(joint, field) for joint in self.joints])

    def rotations(self, angles: np.ndarray) -> np.ndarray:
        """Axis-angle of every bone (T, J, 3) of pose vectors (T, size), fingers relaxed."""
        rotations = np.zeros((len(angles), len(self.topology.bone_names), 3))
        for joint in self.joints:
            vector = angles[:, self.slices[joint.name]] @ joint.axes * joint.share
            for bone in joint.bones:
                rotations[:, bone] = vector
        return rotations + finger_curl(self.topology)


def finger_curl(topology: Topology) -> np.ndarray:
    """Axis-angle (J, 3) of relaxed fingers; zero for all other bones."""
    rotations = np.zeros((len(topology.bone_names), 3))
    heads = dict(zip(topology.bone_names, topology.mean_heads.astype(float), strict=True))
    for side in "LR":
        across = heads[f"finger2-1.{side}"] - heads[f"finger5-1.{side}"]
        for finger in range(1, 6):
            names = [f"finger{finger}-{link}.{side}" for link in (1, 2, 3)]
            along = heads[names[1]] - heads[names[0]]
            palm = np.cross(across, heads[names[0]] - heads[f"wrist.{side}"])
            axis = _unit(across - _unit(along) * (across @ _unit(along)))
            if finger == 1:
                axis = _unit(np.cross(along, palm))
            # The fingers close towards the palm's side, which faces the thigh in the reference pose.
            inward = np.cross(axis, along) @ (LEFT if side == "R" else -LEFT)
            for name, curl in zip(names, THUMB_CURL if finger == 1 else FINGER_CURL, strict=True):
                rotations[topology.bone(name)] = axis * np.sign(inward) * curl
    return rotations


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _joints(topology: Topology) -> list[Joint]:
    heads = dict(zip(topology.bone_names, topology.mean_heads.astype(float), strict=True))
    joints = [
        _joint(
            topology,
            "lumbar",
            ("spine05", "spine04", "spine03"),
            np.eye(3),
            *_deg((-35, -30, -35), (50, 30, 35), 0, (12, 10, 12)),
        ),
        _joint(
            topology,
            "thorax",
            ("spine02", "spine01"),
            np.eye(3),
            *_deg((-25, -25, -30), (40, 25, 30), 0, (10, 8, 10)),
        ),
        _joint(
            topology,
            "neck",
            ("neck01", "neck02", "neck03"),
            np.eye(3),
            *_deg((-40, -35, -50), (40, 35, 50), 0, (15, 12, 20)),
        ),
        _joint(topology, "head", ("head",), np.eye(3), *_deg((-30, -25, -40), (30, 25, 40), 0, (10, 8, 15))),
    ]
    for side in "LR":
        joints += _arm(topology, heads, side) + _leg(topology, heads, side)
    return joints


def _arm(topology: Topology, heads: dict[str, np.ndarray], side: str) -> list[Joint]:
    sign = 1 if side == "L" else -1
    shoulder, elbow, wrist = (heads[f"{name}.{side}"] for name in ("upperarm01", "lowerarm01", "wrist"))
    upper, fore = _unit(elbow - shoulder), _unit(wrist - elbow)
    hinge = _unit(np.cross(upper, fore))
    bent = np.degrees(np.arccos(upper @ fore))
    across = heads[f"finger2-1.{side}"] - heads[f"finger5-1.{side}"]
    across = _unit(across - fore * (across @ fore))
    palm = np.cross(fore, across)
    # Hanging arms: the reference pose holds them about 45 degrees away from the body.
    return [
        _joint(
            topology,
            f"clavicle.{side}",
            (f"clavicle.{side}", f"shoulder01.{side}"),
            np.array([-sign * BACK, sign * UP]),
            *_deg((-15, -25), (45, 25), 0, (10, 8)),
        ),
        _joint(
            topology,
            f"shoulder.{side}",
            (f"upperarm01.{side}",),
            np.array([-sign * BACK, LEFT, sign * UP]),
            *_deg((-90, -150, -120), (150, 150, 120), (-30, 0, 0), (45, 45, 40)),
        ),
        _joint(
            topology,
            f"elbow.{side}",
            (f"lowerarm01.{side}",),
            hinge[None],
            *_deg((-bent,), (150 - bent,), (20 - bent,), (45,)),
        ),
        _joint(
            topology,
            f"forearm.{side}",
            (f"lowerarm02.{side}",),
            sign * fore[None],
            *_deg((-80,), (80,), 0, (30,)),
        ),
        _joint(
            topology,
            f"wrist.{side}",
            (f"wrist.{side}",),
            np.array([across, palm]),
            *_deg((-60, -30), (60, 30), 0, (15, 10)),
        ),
    ]


def _leg(topology: Topology, heads: dict[str, np.ndarray], side: str) -> list[Joint]:
    sign = 1 if side == "L" else -1
    knee, ankle = heads[f"lowerleg01.{side}"], heads[f"foot.{side}"]
    shin = _unit(ankle - knee)
    hinge = _unit(LEFT - shin * shin[0])
    toes = tuple(f"toe{number}-1.{side}" for number in range(1, 6))
    return [
        _joint(
            topology,
            f"hip.{side}",
            (f"upperleg01.{side}",),
            np.array([-LEFT, -sign * BACK, sign * UP]),
            *_deg((-40, -50, -50), (130, 70, 50), (0, -5, 0), (35, 15, 15)),
        ),
        _joint(
            topology, f"knee.{side}", (f"lowerleg01.{side}",), hinge[None], *_deg((-8,), (145,), (8,), (40,))
        ),
        _joint(
            topology,
            f"shin.{side}",
            (f"lowerleg02.{side}",),
            sign * shin[None],
            *_deg((-25,), (25,), 0, (6,)),
        ),
        _joint(
            topology,
            f"ankle.{side}",
            (f"foot.{side}",),
            np.array([LEFT, -sign * BACK, sign * UP]),
            *_deg((-45, -25, -25), (60, 25, 25), 0, (20, 8, 8)),
        ),
        _joint(topology, f"toes.{side}", toes, -LEFT[None], *_deg((-30,), (60,), 0, (15,)), parallel=True),
    ]


def _joint(
    topology: Topology,
    name: str,
    bones: tuple[str, ...],
    axes: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    rest: np.ndarray,
    spread: np.ndarray,
    *,
    parallel: bool = False,
) -> Joint:
    indices = tuple(topology.bone(bone) for bone in bones)
    share = 1.0 if parallel else 1 / len(bones)
    rest = np.broadcast_to(rest, low.shape)
    return Joint(name, indices, np.asarray(axes, float), share, low, high, rest, spread)


def _deg(
    low: tuple[float, ...],
    high: tuple[float, ...],
    rest: float | tuple[float, ...],
    spread: tuple[float, ...],
) -> tuple[np.ndarray, ...]:
    """Limits, likeliest angles and spreads from degrees."""
    return tuple(np.radians(np.asarray(values, float)) for values in (low, high, rest, spread))


def root_frame() -> Rotation:
    """The body upright and facing the camera: model axes (z up, faces -y) to camera axes (y down, z away)."""
    return Rotation.from_matrix([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
