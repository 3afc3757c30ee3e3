"""What every reader of 3D motion gives: a moving skeleton, its joints known by role.

A reader is a module of `video_decomp.motion.readers` with ``recognises(path) -> bool`` and
``read(path, source: Source) -> SkeletonMotion``; `video_decomp.motion.reading` lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from mimo.body.rig import SIDES
from mimo.stage import StageSettings

PAIRED = ("hip", "knee", "ankle", "toe", "collar", "shoulder", "elbow", "wrist", "hand")
REQUIRED = (
    "head",
    *(f"{side}_{name}" for side in SIDES for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")),
)
"""Roles without which a skeleton cannot move a body. Pelvis, spine and neck follow from how these hang
together."""


class Source(StageSettings):
    """How to understand the file."""

    source_fps: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="frames a second of the file; null: as it says (PHALP's says nothing: 30)",
    )
    unit: float | None = Field(
        None,
        gt=0,
        le=100,
        description="metres of one unit of length (BVH); null: guessed from the legs' length",
    )
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = Field(
        None, description="axis that points up (BVH); null: guessed from how the person holds itself"
    )
    joints: dict[str, str] = Field(
        {},
        description="joints of an unusual BVH skeleton by role, such as {left_knee: shin_01}: docs/motion.md",
    )
    track: int | None = Field(None, description="number (tid) of the person (PHALP); null: seen longest")


class Reader(Protocol):
    """A module that reads one kind of file."""

    recognises: Callable[[Path], bool]
    read: Callable[[Path, Source], SkeletonMotion]


@dataclass(frozen=True, eq=False)
class SkeletonMotion:
    """A skeleton and how it moves, in the file's own axes.

    With all rotations at identity the skeleton is at rest: joints are apart by `offsets`.

    Attributes:
        names: J names, as in the file.
        parents: (J,) int, -1 for the root; parents come before children.
        offsets: (J, 3) metres, from the parent at rest.
        rotations: (T, J, 3, 3) of each joint in its parent's axes; of the root to the file's world.
        translation: (T, 3) metres, place of the root.
        fps: frames a second.
        up: (3,) unit vector that points up in the file's world.
        roles: joint by role, at least `REQUIRED`.
        kind: what was read, for the record.
        rest_of: the body whose rest pose this is: ``smpl`` (the family), a `Topology.model`, or empty.
        shape: shape coefficients of that body, if the file gives them.
        warnings: one sentence each, for the user.
    """

    names: tuple[str, ...]
    parents: np.ndarray
    offsets: np.ndarray
    rotations: np.ndarray
    translation: np.ndarray
    fps: float
    up: np.ndarray
    roles: dict[str, int]
    kind: str
    rest_of: str = ""
    shape: np.ndarray | None = None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rotations)

    def world_rotations(self) -> np.ndarray:
        """(T, J, 3, 3) of each joint from rest to the file's world."""
        world = np.empty_like(self.rotations)
        for joint, parent in enumerate(self.parents):
            own = self.rotations[:, joint]
            world[:, joint] = own if parent < 0 else world[:, parent] @ own
        return world

    def places(self, world: np.ndarray | None = None) -> np.ndarray:
        """(T, J, 3) metres, of each joint in the file's world.

        Args:
            world: result of `world_rotations`, if it is there already.
        """
        world = self.world_rotations() if world is None else world
        places = np.empty((len(self), len(self.parents), 3))
        for joint, parent in enumerate(self.parents):
            if parent < 0:
                places[:, joint] = self.translation
            else:
                places[:, joint] = places[:, parent] + world[:, parent] @ self.offsets[joint]
        return places

    def rest_places(self) -> np.ndarray:
        """(J, 3) metres, joints at rest, the root at zero."""
        places = np.zeros((len(self.parents), 3))
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                places[joint] = places[parent] + self.offsets[joint]
        return places

    def ancestors(self, joint: int) -> list[int]:
        """A joint, its parent, and so on to the root."""
        line = [joint]
        while self.parents[line[-1]] >= 0:
            line.append(int(self.parents[line[-1]]))
        return line

    def common_ancestor(self, first: str, second: str) -> int:
        """The lowest joint that two roles' joints hang on."""
        line = self.ancestors(self.roles[first])
        others = set(self.ancestors(self.roles[second]))
        return next(joint for joint in line if joint in others)

    def chain(self, top: int, bottom: int) -> list[int]:
        """Joints from just below `bottom` up to `top`, which hangs on it; only `top` if it does not."""
        line = self.ancestors(top)
        return line[: line.index(bottom)][::-1] if bottom in line else [top]

    def with_frames(self, rotations: np.ndarray, translation: np.ndarray, fps: float) -> SkeletonMotion:
        """The same skeleton in other frames."""
        return replace(self, rotations=rotations, translation=translation, fps=fps)


def leg_length(places: np.ndarray, roles: dict[str, int]) -> float:
    """Mean length of both legs from hip over knee to ankle, in the units of `places` (J, 3)."""
    total = 0.0
    for side in SIDES:
        line = [places[roles[f"{side}_{name}"]] for name in ("hip", "knee", "ankle")]
        total += float(np.linalg.norm(line[1] - line[0]) + np.linalg.norm(line[2] - line[1]))
    return total / 2
