"""A motion on another body, made in blocks when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import arm, leg
from mimo.body.model import BodyModel
from mimo.body.motion import Motion
from mimo.body.rig import SIDES, rig_of
from mimo.body.world import World
from mimo.retargeting.performing import performed
from mimo.retargeting.standing import NEVER, Standing, standing
from mimo.retargeting.stretch import Stretch

MARGIN = 2.4
"""Seconds around a block that its poses depend on: the sum of what is smoothed one after the other."""
BLOCK = 3
"""Frames of a block, in margins."""
KEPT = 3
"""Blocks that are remembered."""


@dataclass(frozen=True, eq=False)
class Performance:
    """The driver's motion on another body of the same body model.

    Blocks always begin at the same frames, so that a frame is the same whichever others are asked for.

    Attributes:
        motion: the driver's.
        body: who performs it.
        fps: frames a second.
        camera_stands: False where it moves nobody knows how; `Motion.view` tells it of some.
    """

    motion: Motion
    body: BodyModel
    fps: float
    camera_stands: bool = True

    @property
    def up(self) -> np.ndarray:
        """(3,) unit vector away from the ground, camera space."""
        return self._world.up

    def vertices(self, frame: int) -> np.ndarray:
        """(V, 3) float32 body in a frame, camera space."""
        block, index = self.at(frame)
        return block.vertices(index)

    def at(self, frame: int) -> tuple[Motion, int]:
        """The block's motion that holds a frame, and its index there."""
        number, index = divmod(frame, self._frames)
        return self._block(number), index

    def parts(self, frames: range) -> Iterator[Motion]:
        """Motions that follow each other and together are those frames."""
        start = frames.start
        while start < frames.stop:
            block, index = self.at(start)
            stop = min(len(block), index + frames.stop - start)
            yield block.taken(slice(index, stop))
            start += stop - index

    def ground(self, points: np.ndarray) -> float:
        """n . x of the ground under a posed body: the motion's plane, or else its lowest point."""
        return self._world.level if self._world.known else float((points @ self.up).min())

    @property
    def _margin(self) -> int:
        return math.ceil(MARGIN * self.fps)

    @property
    def _frames(self) -> int:
        return BLOCK * self._margin

    @cached_property
    def _world(self) -> World:
        return World.of(self.motion)

    @cached_property
    def _figures(self) -> tuple[Figure, Figure]:
        rig = rig_of(self.body.topology)
        return Figure(self.motion.body, rig), Figure(self.body, rig)

    @cached_property
    def _standing(self) -> Standing:
        followed = self.camera_stands or self.motion.view is not None
        if not (followed and self._world.known):
            return NEVER
        return standing(self.motion, self._figures[0], self._world, self.fps)

    @cached_property
    def _block(self) -> Callable[[int], Motion]:
        return lru_cache(KEPT)(self._made)

    def _made(self, number: int) -> Motion:
        start = number * self._frames
        own = range(start, min(start + self._frames, len(self.motion)))
        around = range(max(start - self._margin, 0), min(own.stop + self._margin, len(self.motion)))
        driver, actor = self._figures
        poses, places = self._world.poses(self.motion, driver, around)
        stretch = Stretch(driver, poses, places, self._standing, around.start, self.fps, self._world.known)
        made = performed(stretch, actor)
        inside = slice(own.start - around.start, own.stop - around.start)
        return self._motion(Poses(made.turns[inside], made.hips[inside]), own)

    def _motion(self, poses: Poses, frames: range) -> Motion:
        """Poses of some frames in camera space; joints of arms and legs alone differ from the driver's."""
        actor, parents = self._figures[1], self.body.parents
        theirs = self.motion.taken(slice(frames.start, frames.stop))
        rotations = theirs.rotations.copy()
        limbs = [limb(actor, side) for limb in (arm, leg) for side in SIDES]
        joints = [bone for limb in limbs for bone in (limb.root, limb.middle, limb.end)]
        for bone in joints + [toe for side in SIDES for toe in actor.rig.limbs[f"{side}_toe"]]:
            local = poses.turns[:, parents[bone]].swapaxes(1, 2) @ poses.turns[:, bone]
            rotations[:, bone] = Rotation.from_matrix(local).as_rotvec()
        roots = actor.places(poses)[:, 0]
        translation = self._world.translation(roots, theirs.root_rotation, actor, frames)
        return replace(
            theirs,
            rest_vertices=self.body.rest_vertices,
            rest_bones=self.body.rest_bones,
            rotations=rotations,
            translation=translation.astype(np.float32),
        )
