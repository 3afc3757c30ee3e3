"""The bodies that motion can be put on: which of their bones play which role."""

from __future__ import annotations

from dataclasses import dataclass

from mimo.body.model import Topology
from mimo.body.smpl import BODY_JOINTS
from mimo.stage import Rejected

SIDES = ("left", "right")
FINGERS = tuple(
    f"{finger}{link}" for finger in ("thumb", "index", "middle", "ring", "pinky") for link in (1, 2, 3)
)
ANNY_LETTERS = {"left": "L", "right": "R"}
ANNY_FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
ANNY_LIMBS: dict[str, tuple[str, ...]] = {
    "hip": ("upperleg01",),
    "knee": ("lowerleg01",),
    "ankle": ("foot",),
    "toe": tuple(f"toe{toe}-1" for toe in range(1, 6)),
    "collar": ("clavicle",),
    "shoulder": ("upperarm01", "upperarm02"),
    "elbow": ("lowerarm01", "lowerarm02"),
    "wrist": ("wrist",),
    "hand": ("finger3-1",),
}
SMPL_LIMBS: dict[str, tuple[str, ...]] = {
    "hip": ("hip",),
    "knee": ("knee",),
    "ankle": ("ankle",),
    "toe": ("foot",),
    "collar": ("collar",),
    "shoulder": ("shoulder",),
    "elbow": ("elbow",),
    "wrist": ("wrist",),
    "hand": ("middle1",),
}


@dataclass(frozen=True)
class Rig:
    """Bones of a body by role.

    Attributes:
        spine: bones from the pelvis up to the one that carries the arms.
        neck: bones from there to the head.
        head: bone.
        limbs: bones by role with its side (``left_knee``): the first one has its head at the joint, further
            ones of arms continue the segment (they take part of its twist), of toes stand beside.
    """

    spine: tuple[int, ...]
    neck: tuple[int, ...]
    head: int
    limbs: dict[str, tuple[int, ...]]

    @property
    def roles(self) -> dict[str, int]:
        """The first bone of each role."""
        return {"head": self.head} | {role: bones[0] for role, bones in self.limbs.items()}


def rig_of(topology: Topology) -> Rig:
    """The rig of a body.

    Raises:
        Rejected: it is neither Anny's nor of the SMPL family.
    """
    names = topology.bone_names
    spine: tuple[str, ...]
    neck: tuple[str, ...]
    if set(BODY_JOINTS) <= set(names):
        spine, neck, limbs = ("spine1", "spine2", "spine3"), ("neck",), _smpl_limbs(names)
    elif "upperleg01.L" in names:
        spine = tuple(f"spine{number:02}" for number in range(5, 0, -1))
        neck, limbs = ("neck01", "neck02", "neck03"), _anny_limbs()
    else:
        raise Rejected(f"body model {topology.model}: its bones are not known; use Anny, SMPL or SMPL-H")
    return Rig(
        tuple(map(names.index, spine)),
        tuple(map(names.index, neck)),
        names.index("head"),
        {role: tuple(map(names.index, bones)) for role, bones in limbs.items()},
    )


def anny_roles(names: tuple[str, ...]) -> dict[str, int]:
    """Roles of Anny's bones."""
    limbs = {role: names.index(bones[0]) for role, bones in _anny_limbs().items()}
    return {"head": names.index("head")} | limbs


def _anny_limbs() -> dict[str, tuple[str, ...]]:
    limbs = {}
    for side in SIDES:
        letter = ANNY_LETTERS[side]
        for role, bones in ANNY_LIMBS.items():
            limbs[f"{side}_{role}"] = tuple(f"{bone}.{letter}" for bone in bones)
        for finger in FINGERS:
            number = ANNY_FINGERS[finger[:-1]]
            limbs[f"{side}_{finger}"] = (f"finger{number}-{finger[-1]}.{letter}",)
    return limbs


def _smpl_limbs(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    limbs = {}
    for side in SIDES:
        for role, bones in SMPL_LIMBS.items():
            if role == "hand" and f"{side}_hand" in names:
                bones = ("hand",)
            limbs[f"{side}_{role}"] = tuple(f"{side}_{bone}" for bone in bones)
        for finger in FINGERS:
            if f"{side}_{finger}" in names:
                limbs[f"{side}_{finger}"] = (f"{side}_{finger}",)
    return limbs
