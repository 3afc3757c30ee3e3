"""Arms and legs: bent so that hand or foot gets where it has to be (inverse kinematics of two segments)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.figure import Figure, Poses

STRAIGHT = 0.9995
"""Part of a limb's length that its ends are apart at most."""
HINT = 0.03
"""How much the direction in which elbows or knees usually point counts against that in which they do point;
it decides for limbs that are stretched."""


@dataclass(frozen=True, eq=False)
class Limb:
    """An arm or a leg.

    Attributes:
        root, middle, end: bones whose heads are shoulder, elbow and wrist, or hip, knee and ankle.
        pole: (3,) where elbow or knee point at rest.
    """

    root: int
    middle: int
    end: int
    pole: np.ndarray


def leg(figure: Figure, side: str) -> Limb:
    """A body's left or right leg."""
    hip, knee, ankle = (figure.rig.limbs[f"{side}_{name}"][0] for name in ("hip", "knee", "ankle"))
    return Limb(hip, knee, ankle, np.array([0, -1.0, 0]))


def arm(figure: Figure, side: str) -> Limb:
    """A body's left or right arm; its elbow points backwards."""
    shoulder, elbow, wrist = (
        figure.rig.limbs[f"{side}_{name}"][0] for name in ("shoulder", "elbow", "wrist")
    )
    return Limb(shoulder, elbow, wrist, np.array([0, 1.0, 0]))


def segments(figure: Figure, limb: Limb) -> tuple[float, float]:
    """Lengths of upper and lower segment, metres."""
    root, middle, end = figure.heads[[limb.root, limb.middle, limb.end]]
    return float(np.linalg.norm(middle - root)), float(np.linalg.norm(end - middle))


def bent(
    poses: Poses,
    places: np.ndarray,
    figure: Figure,
    limb: Limb,
    target: np.ndarray,
    end_turn: np.ndarray | None = None,
    free: np.ndarray | float = STRAIGHT - 1e-3,
) -> Poses:
    """Poses with one limb bent so that its end is where it has to be, as far as it reaches.

    Elbow or knee stay on the side of the line from root to end on which they are.

    Args:
        poses: T of them.
        places: (T, J, 3) of `poses`, from `Figure.places`.
        figure: whose they are.
        limb: which.
        target: (T, 3) of its end.
        end_turn: (T, 3, 3) of the bone at its end, rest to world; None: as it is.
        free: part of the limb's length up to which the target is reached exactly; what is farther is
            approached, so that the joint does not snap where the limb becomes straight.
    """
    root = places[:, limb.root]
    thigh, shin = places[:, limb.middle] - root, places[:, limb.end] - places[:, limb.middle]
    upper, lower = segments(figure, limb)
    along = _unit(thigh + shin)
    pole = poses.turns[:, limb.root] @ limb.pole
    outwards = _unit(_across(thigh / upper, along) + HINT * _unit(_across(pole, along)))
    to = target - root
    distance = np.maximum(np.linalg.norm(to, axis=1), 1e-6)
    direction = to / distance[:, None]
    reached = _softened(distance, np.asarray(free) * (upper + lower), STRAIGHT * (upper + lower))
    reached = np.maximum(reached, 1.05 * abs(upper - lower) + 0.02)
    swing = shortest(along, direction)
    cosine = ((upper**2 + reached**2 - lower**2) / (2 * upper * reached)).clip(-1, 1)[:, None]
    outwards = _turned(swing, outwards)
    new_thigh = upper * (cosine * direction + np.sqrt(1 - cosine**2) * outwards)
    new_shin = reached[:, None] * direction - new_thigh
    first = shortest(_turned(swing, thigh), new_thigh) @ swing
    second = shortest(_turned(first, shin), new_shin) @ first
    turns = poses.turns.copy()
    for top, bottom, turn in ((limb.root, limb.middle, first), (limb.middle, limb.end, second)):
        bones = below(figure, top, bottom)
        turns[:, bones] = turn[:, None] @ poses.turns[:, bones]
    if end_turn is not None:
        bones = below(figure, limb.end)
        change = end_turn @ poses.turns[:, limb.end].swapaxes(1, 2)
        turns[:, bones] = change[:, None] @ poses.turns[:, bones]
    return Poses(turns, poses.hips)


def below(figure: Figure, root: int, end: int = -1) -> list[int]:
    """Bones that hang on `root`, itself included, without those that hang on `end`."""
    parents, found = figure.body.parents, [root]
    for bone in range(root + 1, len(parents)):
        if parents[bone] in found and bone != end:
            found.append(bone)
    return found


def shortest(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rotation (..., 3, 3) on the shortest way from one direction (..., 3) to another."""
    first = first / np.linalg.norm(first, axis=-1, keepdims=True)
    second = second / np.linalg.norm(second, axis=-1, keepdims=True)
    axis = np.cross(first, second)
    sine, cosine = np.linalg.norm(axis, axis=-1), (first * second).sum(-1)
    # Opposite directions: any axis across will do.
    other = np.cross(first, np.where(np.abs(first[..., :1]) < 0.9, [1.0, 0, 0], [0, 1.0, 0]))
    axis = np.where((sine < 1e-8)[..., None], other, axis)
    axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, cosine)[..., None]
    return Rotation.from_rotvec((axis * angle).reshape(-1, 3)).as_matrix().reshape(*first.shape, 3)


def _softened(distance: np.ndarray, free: np.ndarray, most: float) -> np.ndarray:
    """Distances (T,) that approach `most` beyond `free` instead of getting larger than it."""
    free = np.minimum(free, most - 1e-6)
    room = most - free
    beyond = np.maximum(distance - free, 0)
    return np.where(distance > free, free + room * (1 - np.exp(-beyond / room)), distance)


def _across(vectors: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The part (T, 3) of vectors (T, 3) at a right angle to unit vectors."""
    return vectors - along * (vectors * along).sum(1, keepdims=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def _turned(turn: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.asarray((turn @ vectors[..., None])[..., 0])
