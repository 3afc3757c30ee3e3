"""Which joint of a named skeleton plays which role: tables of the families in use, and how names are read."""

from __future__ import annotations

import re

from mimo.body.rig import FINGERS, SIDES
from video_decomp.motion.interface import PAIRED, REQUIRED

FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    # MotionBuilder's names: CMU (cgspeed), Mixamo, LAFAN1, Perception Neuron, 100STYLE, ZeroEGGS.
    "MotionBuilder": {
        "hip": ("upleg",),
        "knee": ("leg", "lowleg"),
        "ankle": ("foot",),
        "toe": ("toebase", "toe", "foottoe"),
        "collar": ("shoulder", "collar"),
        "shoulder": ("arm", "uparm"),
        "elbow": ("forearm",),
        "wrist": ("hand",),
        "hand": ("handmiddle1", "handindex1", "fingerbase", "handindex"),
    },
    "Rokoko": {
        "hip": ("thigh", "upperleg"),
        "knee": ("shin", "lowerleg"),
        "ankle": ("foot",),
        "toe": ("toe", "toes", "toebase"),
        "collar": ("shoulder", "clavicle", "collar"),
        "shoulder": ("arm", "upperarm"),
        "elbow": ("forearm", "lowerarm"),
        "wrist": ("hand",),
        "hand": ("fingermiddle1", "middlefinger1", "handmiddle1", "middleproximal"),
    },
    "joints": {  # SMPL, Xsens, Truebones' humans and others that name joints, not limbs.
        "hip": ("hip",),
        "knee": ("knee",),
        "ankle": ("ankle",),
        "toe": ("toes", "toe", "foot", "ball"),
        "collar": ("collar", "clavicle", "scapula"),
        "shoulder": ("shoulder",),
        "elbow": ("elbow",),
        "wrist": ("wrist",),
        "hand": ("middle1", "hand", "index1"),
    },
    "Poser": {  # also DAZ: lThigh, lShin, lShldr.
        "hip": ("thigh", "thighbend"),
        "knee": ("shin",),
        "ankle": ("foot",),
        "toe": ("toe", "metatarsals"),
        "collar": ("collar",),
        "shoulder": ("shldr", "shldrbend"),
        "elbow": ("forearm", "forearmbend"),
        "wrist": ("hand",),
        "hand": ("mid1",),
    },
    "Biped": {  # 3ds Max: Bip01 L Thigh; also Truebones' and Unreal's (thigh_l, calf_l).
        "hip": ("thigh",),
        "knee": ("calf",),
        "ankle": ("foot",),
        "toe": ("toe0", "toe", "ball"),
        "collar": ("clavicle",),
        "shoulder": ("upperarm",),
        "elbow": ("forearm", "lowerarm"),
        "wrist": ("hand",),
        "hand": ("finger2", "middle01"),
    },
}
HEADS = ("head",)
NECKS = ("neck", "neck1", "neck2")
FINGER_NAMES = ("hand{finger}{link}", "{finger}{link}", "finger{finger}{link}", "{finger}finger{link}")
END = " end"
"""What the name of a joint ends with that is only the end of its parent."""


def sided(name: str) -> tuple[str, str]:
    """Side (``left``, ``right`` or empty) and the rest of a joint's name, without prefixes and separators.

    ``mixamorig:LeftUpLeg``, ``lThigh``, ``Bip01 L Thigh``, ``thigh_l``, ``L_Hip``, ``Hand.R`` are understood.
    """
    name = re.sub(r"^.*[:|]", "", name.strip())
    name = re.sub(
        r"^(bip\s?\d+|mixamorig\d*|character\d*|jbip|j_bip|b|bn|joint)[\s_\-]+", "", name, flags=re.I
    )
    found = re.match(r"^(left|right)(.*)$", name, re.I) or re.match(r"^(.*)(left|right)$", name, re.I)
    side, rest = "", name
    if found:
        words = found.groups()
        side = next(word for word in words if word.lower() in SIDES)
        rest = next(word for word in words if word is not side)
    elif match := re.match(r"^([lr])(?:[\s_.\-](.+)|([A-Z].*))$", name):
        side, rest = match[1], match[2] or match[3]
    elif match := re.match(r"^([LR])[\s_.\-](.+)$", name):
        side, rest = match[1], match[2]
    elif match := re.match(r"^(.+)[\s_.\-]([lrLR])$", name):
        side, rest = match[2], match[1]
    elif match := re.match(r"^([LR])([A-Z][a-z].*)$", name):
        side, rest = match[1], match[2]
    side = {"l": "left", "r": "right"}.get(side.lower(), side.lower())
    return side, re.sub(r"[\s_.\-]", "", rest).lower()


def roles_by_name(names: tuple[str, ...], own: dict[str, str]) -> tuple[dict[str, int], str]:
    """Roles of a skeleton's joints by their names.

    Args:
        names: of the joints.
        own: names by role, which win; they must be among `names`.

    Returns:
        Joint by role, of the family that fits best, and the family's name. Roles may be missing.
    """
    known: dict[tuple[str, str], int] = {}
    for joint, name in enumerate(names):
        known.setdefault(sided(name), joint)
    best: tuple[dict[str, int], str] = ({}, "")
    for family, table in FAMILIES.items():
        roles = _of_family(known, table)
        if len([role for role in REQUIRED if role in roles]) > len(
            [role for role in REQUIRED if role in best[0]]
        ):
            best = roles, family
    return best[0] | {role: names.index(name) for role, name in own.items()}, best[1]


def _of_family(known: dict[tuple[str, str], int], table: dict[str, tuple[str, ...]]) -> dict[str, int]:
    roles: dict[str, int] = {}
    for side in SIDES:
        for role in PAIRED:
            _put(roles, f"{side}_{role}", [known.get((side, name)) for name in table[role]])
        for finger in FINGERS:
            spelled = [form.format(finger=finger[:-1], link=finger[-1]) for form in FINGER_NAMES]
            _put(roles, f"{side}_{finger}", [known.get((side, name)) for name in spelled])
    _put(roles, "head", [known.get(("", name)) for name in (*HEADS, *NECKS)])
    return roles


def _put(roles: dict[str, int], role: str, candidates: list[int | None]) -> None:
    found = [joint for joint in candidates if joint is not None]
    if found:
        roles[role] = found[0]
