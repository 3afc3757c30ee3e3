"""Reader of Biovision's BVH: a tree of joints with offsets and channels, then one line of numbers a frame.

Rotations are in degrees, applied in the order of the channels. The file says neither unit nor axes nor what
joints mean: unit and vertical are guessed (or given), joints are known by the names of the common families.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.rig import SIDES
from mimo.stage import Rejected
from video_decomp.motion.interface import PAIRED, REQUIRED, SkeletonMotion, Source, leg_length
from video_decomp.motion.joint_names import END, roles_by_name

UNITS = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254, "CMU's": 0.0254 / 0.45}
LEG = 0.85
"""Metres from hip to ankle, of which the guess of the unit comes nearest."""
AXES = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1)}
CHANNELS = ("Xposition", "Yposition", "Zposition", "Xrotation", "Yrotation", "Zrotation")
CLEARLY = 1.5
"""By so much the body must point along z rather than y for z to be taken for the vertical."""


@dataclass
class Tree:
    """What the HIERARCHY says."""

    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[list[str]] = field(default_factory=list)


def recognises(path: Path) -> bool:
    """Whether a file begins as BVH does."""
    if path.suffix.lower() == ".bvh":
        return True
    with path.open("rb") as file:
        return file.read(100).lstrip(b"\xef\xbb\xbf").lstrip().upper().startswith(b"HIERARCHY")


def read(path: Path, source: Source) -> SkeletonMotion:
    """Read a motion; see `video_decomp.motion.interface`.

    Raises:
        Rejected: it is damaged, or its skeleton cannot be mapped: the message names the joints.
    """
    try:
        words = path.read_text("utf-8-sig", errors="replace").split()
        tree, at = _tree(words)
        frames, frame_time, said = _frames(words, at, sum(map(len, tree.channels)))
    except (ValueError, IndexError) as error:
        raise Rejected(f"{path}: not a BVH file, or damaged ({error})") from error
    names = tuple(tree.names)
    parents, offsets = np.array(tree.parents), np.array(tree.offsets)
    roles, family = _roles(names, parents, source, path)
    rotations, moving = _motion(tree, frames)
    kept = _below(_carrier(parents, roles), parents)
    turn, place = _carried(kept[0], parents, offsets, rotations, moving)
    rotations = np.concatenate([turn[:, None], rotations[:, kept[1:]]], 1)
    names, offsets = tuple(names[joint] for joint in kept), offsets[kept]
    parents = np.array([-1, *(kept.index(parents[joint]) for joint in kept[1:])])
    roles = {role: kept.index(joint) for role, joint in roles.items()}
    rest = np.zeros((len(names), 3))
    for joint in range(1, len(names)):
        rest[joint] = rest[parents[joint]] + offsets[joint]
    length = leg_length(rest, roles)
    if length < 1e-9:
        raise Rejected(f"{path}: the legs have no length; it holds no skeleton at rest")
    unit, warnings = _unit(length, source)
    motion = SkeletonMotion(
        names=names,
        parents=parents,
        offsets=np.concatenate([np.zeros((1, 3)), offsets[1:]]) * unit,
        rotations=rotations,
        translation=place * unit,
        fps=source.source_fps or 1 / frame_time,
        up=np.zeros(3),
        roles=roles,
        kind=f"BVH ({family or 'own'} names)",
        warnings=(*said, *warnings),
    )
    up = _up(motion) if source.up is None else _axis(source.up)
    return SkeletonMotion(**(vars(motion) | {"up": up}))


def _tree(words: list[str]) -> tuple[Tree, int]:
    """The joints, and where the words of MOTION begin."""
    if not words or words[0].upper() != "HIERARCHY":
        raise ValueError("it does not begin with HIERARCHY")
    tree, at = Tree(), 1
    line: list[int] = []
    while words[at].upper() != "MOTION":
        word = words[at].upper()
        if word in ("ROOT", "JOINT", "END"):
            if word == "ROOT" and tree.names:
                raise ValueError("it holds several skeletons; keep one of them")
            brace = words.index("{", at)
            name = " ".join(words[at + 1 : brace])
            tree.names.append(tree.names[line[-1]] + END if word == "END" else name)
            tree.parents.append(line[-1] if line else -1)
            tree.offsets.append([0.0, 0.0, 0.0])
            tree.channels.append([])
            line.append(len(tree.names) - 1)
            at = brace + 1
        elif word == "OFFSET":
            tree.offsets[line[-1]] = [float(value) for value in words[at + 1 : at + 4]]
            at += 4
        elif word == "CHANNELS":
            count = int(words[at + 1])
            tree.channels[line[-1]] = [_channel(value) for value in words[at + 2 : at + 2 + count]]
            at += 2 + count
        elif word == "}":
            line.pop()
            at += 1
        else:
            raise ValueError(f"'{words[at]}' where a joint should be")
    if line or not tree.names:
        raise ValueError("its tree of joints is not closed")
    return tree, at + 1


def _channel(word: str) -> str:
    if word.capitalize() not in CHANNELS:
        raise ValueError(f"channel '{word}'; there are {', '.join(CHANNELS)}")
    return word.capitalize()


def _frames(words: list[str], at: int, channels: int) -> tuple[np.ndarray, float, list[str]]:
    """(T, channels) numbers of the whole frames there are, seconds a frame, and what to say about them."""
    if [word.upper() for word in (words[at], words[at + 2], words[at + 3])] != ["FRAMES:", "FRAME", "TIME:"]:
        raise ValueError("MOTION does not say Frames and Frame Time")
    count, frame_time = int(words[at + 1]), float(words[at + 4])
    numbers = np.array(words[at + 5 :], np.float64)
    if count < 1 or frame_time <= 0 or not np.isfinite(numbers).all():
        raise ValueError(f"{count} frames of {frame_time} s, or numbers that are not finite")
    whole, rest = divmod(len(numbers), max(channels, 1))
    if not whole or (rest and whole >= count):
        raise ValueError(f"{len(numbers)} numbers, but {count} frames of {channels} channels")
    said = [] if whole == count else [f"The file says {count} frames and has {whole}: those were taken."]
    return numbers[: whole * channels].reshape(whole, channels), frame_time, said


def _motion(tree: Tree, frames: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Rotations (T, J, 3, 3), and places (T, 3) from the parent of joints that have them; own unit."""
    rotations = np.tile(np.eye(3), (len(frames), len(tree.names), 1, 1))
    moving: dict[int, np.ndarray] = {}
    column = 0
    for joint, channels in enumerate(tree.channels):
        values = frames[:, column : column + len(channels)]
        column += len(channels)
        turning = [at for at, name in enumerate(channels) if name.endswith("rotation")]
        if turning:
            order = "".join(channels[at][0] for at in turning)
            rotations[:, joint] = Rotation.from_euler(order, values[:, turning], degrees=True).as_matrix()
        for at, name in enumerate(channels):
            if name.endswith("position"):
                place = moving.setdefault(joint, np.tile(tree.offsets[joint], (len(frames), 1)))
                place[:, "XYZ".index(name[0])] = values[:, at]
    return rotations, moving


def _carrier(parents: np.ndarray, roles: dict[str, int]) -> int:
    """The lowest joint that carries all joints with a role: what is above it only moves the whole person."""
    lines = []
    for joint in roles.values():
        lines.append([joint])
        while parents[lines[-1][-1]] >= 0:
            lines[-1].append(int(parents[lines[-1][-1]]))
    shared = set(lines[0]).intersection(*lines[1:])
    return next(joint for joint in lines[0] if joint in shared)


def _below(root: int, parents: np.ndarray) -> list[int]:
    """A joint and all that hang on it."""
    kept = [root]
    for joint in range(root + 1, len(parents)):
        if parents[joint] in kept:
            kept.append(joint)
    return kept


def _carried(
    joint: int,
    parents: np.ndarray,
    offsets: np.ndarray,
    rotations: np.ndarray,
    moving: dict[int, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (T, 3, 3) and place (T, 3) of a joint in the file's world.

    Places of the joints below, which some files repeat in every frame, are taken as those at rest.
    """
    turn, place = np.eye(3), np.zeros(3)
    line = [joint]
    while parents[line[-1]] >= 0:
        line.append(int(parents[line[-1]]))
    for step in reversed(line):
        own = moving.get(step, np.tile(offsets[step], (len(rotations), 1)))
        place = place + np.einsum("...ij,...j->...i", turn, own)
        turn = turn @ rotations[:, step]
    return turn, place


def _roles(
    names: tuple[str, ...], parents: np.ndarray, source: Source, path: Path
) -> tuple[dict[str, int], str]:
    """Joints by role, and the family of names.

    Raises:
        Rejected: a role that is needed has no joint, or limbs do not hang together.
    """
    known = {"head", *(f"{side}_{role}" for side in SIDES for role in PAIRED)}
    for role, name in source.joints.items():
        if role not in known:
            raise Rejected(f"joints: no role '{role}' (there is {', '.join(sorted(known))})")
        if name not in names:
            raise Rejected(f"{path}: joints: {role}: no joint '{name}' in the file")
    roles, family = roles_by_name(names, source.joints)
    lacking = [role for role in REQUIRED if role not in roles]
    if lacking:
        used = {names[joint] for joint in roles.values()}
        left = [name for name in names if name not in used and not name.endswith(END)]
        raise Rejected(
            f"{path}: no joint known as {', '.join(lacking)}; joints of the file that were not mapped: "
            f"{', '.join(left) or 'none'}. Say which is which: --joints '{{{lacking[0]}: NAME}}'"
        )
    for side in SIDES:
        for line in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")):
            for upper, lower in itertools.pairwise(line):
                above, joint = roles[f"{side}_{upper}"], int(parents[roles[f"{side}_{lower}"]])
                while joint not in (above, -1):
                    joint = int(parents[joint])
                if joint < 0:
                    raise Rejected(
                        f"{path}: {names[roles[f'{side}_{lower}']]} ({side} {lower}) does not hang on "
                        f"{names[above]} ({side} {upper}); say which joint is which with --joints"
                    )
    return roles, family


def _unit(length: float, source: Source) -> tuple[float, list[str]]:
    """Metres of one unit, and what to say about the guess."""
    if source.unit is not None:
        return source.unit, []
    name = min(UNITS, key=lambda known: abs(np.log(length * UNITS[known] / LEG)))
    metres = length * UNITS[name]
    doubtful = not 0.6 < metres < 1.1
    said = f"The unit of length was guessed: {name}; the legs are then {metres:.2f} m long (see --unit)."
    return UNITS[name], [said] if doubtful else []


def _up(motion: SkeletonMotion) -> np.ndarray:
    """The axis that the trunk points along in the mean: y, or z where that is clear."""
    places = motion.places()
    hips = (places[:, motion.roles["left_hip"]] + places[:, motion.roles["right_hip"]]) / 2
    trunk = (places[:, motion.roles["head"]] - hips).mean(0)
    axis = 2 if abs(trunk[2]) > CLEARLY * abs(trunk[1]) else 1
    up = np.zeros(3)
    up[axis] = -1.0 if trunk[axis] < -CLEARLY * abs(trunk[3 - axis]) else 1.0
    return up


def _axis(name: str) -> np.ndarray:
    return np.array(AXES[name[-1]], float) * (-1 if name[0] == "-" else 1)
