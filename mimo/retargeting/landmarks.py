"""Vertices spread over the body that stand for it where it may touch the ground, or itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mimo.body.model import Topology
from mimo.body.rig import SIDES

SUPPORT, BODY, ARM, HAND = 120, 240, 30, 10
"""Numbers of vertices: of all but the feet; of head, torso and legs; of an arm; of a hand."""

TRUNK = ("head", "torso", "leg")


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Vertex numbers.

    Attributes:
        support: spread over all of the body but the feet.
        trunk: those of them that belong to head, torso or thighs and shins.
        body: over head, torso and legs.
        arms, hands: over the left and the right one.
    """

    support: np.ndarray
    trunk: np.ndarray
    body: np.ndarray
    arms: tuple[np.ndarray, np.ndarray]
    hands: tuple[np.ndarray, np.ndarray]


@lru_cache(maxsize=2)
def landmarks(topology: Topology) -> Landmarks:
    """The landmarks of a body model."""
    points = topology.mean_vertices.astype(np.float64)
    names = np.array(topology.part_names)[topology.parts]
    is_left = points[:, 0] > 0

    def of(side: str, part: str, count: int) -> np.ndarray:
        return _spread(points, (names == part) & (is_left == (side == "left")), count)

    support = _spread(points, names != "foot", SUPPORT)
    return Landmarks(
        support,
        support[np.isin(names[support], TRUNK)],
        _spread(points, np.isin(names, TRUNK), BODY),
        (of(SIDES[0], "arm", ARM), of(SIDES[1], "arm", ARM)),
        (of(SIDES[0], "hand", HAND), of(SIDES[1], "hand", HAND)),
    )


def _spread(points: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
    """Vertices far from each other: each next one is the farthest from those before (Gonzalez 1985)."""
    candidates = np.flatnonzero(among)
    own = points[candidates]
    distance = np.linalg.norm(own - own.mean(0), axis=1)
    chosen = []
    for _ in range(min(count, len(candidates))):
        chosen.append(int(distance.argmax()))
        nearer = np.linalg.norm(own - own[chosen[-1]], axis=1)
        distance = np.minimum(distance, nearer) if len(chosen) > 1 else nearer
    return np.sort(candidates[chosen])
