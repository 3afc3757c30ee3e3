"""Where a motion is performed: a camera over a ground, and a mark on it that the motion comes to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.spatial.transform import Rotation

from mimo.body.figure import Figure, Poses
from mimo.body.motion import Motion
from mimo.body.rig import SIDES, rig_of
from mimo.body.world import World

TRAVELS = 0.5
"""Metres from beginning to end, or a second, from which somebody goes somewhere."""
FRAMES_AT_ONCE = 500
FIRM = 0.08
"""Metres by which the lower foot's height may differ from what it mostly is."""


@dataclass(frozen=True, eq=False)
class Ground:
    """The ground before a camera; camera space is that of `Motion`.

    Attributes:
        camera: (5,) see `mimo.body.camera`.
        up: (3,) unit normal of the ground, camera space.
        height: metres of the camera above it.
    """

    camera: np.ndarray
    up: np.ndarray
    height: float

    @classmethod
    def of(cls, motion: Motion) -> Ground:
        """The ground of a motion; under its first pose where it is not known."""
        world = World.of(motion)
        lowest = world.level
        if not world.known:
            lowest = float((motion.vertices(first_seen(motion)) @ world.up).min())
        return cls(motion.camera.astype(np.float64), world.up, -lowest)

    def scaled(self, factor: float) -> Ground:
        """The same picture of a larger world, in which people look smaller."""
        return replace(self, height=self.height * factor)

    def under(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) brought down to the ground."""
        return np.asarray(points - (points @ self.up + self.height)[..., None] * self.up)

    def at_pixel(self, x: float, y: float) -> np.ndarray | None:
        """(3,) the place on the ground that a pixel shows; None above the horizon."""
        ray = np.array([*((np.array([x, y]) - self.camera[1:3]) / self.camera[0]), 1.0])
        fall = float(ray @ self.up)
        return ray * (-self.height / fall) if fall < -1e-6 else None

    @cached_property
    def forward(self) -> np.ndarray:
        """(3,) unit vector along the ground, the way the camera looks."""
        return self.along(np.array([0.0, 0.0, 1.0]))

    def turned(self, heading: np.ndarray, degrees: float) -> np.ndarray:
        """A direction along the ground (3,) turned to the left of who goes there."""
        return np.asarray(Rotation.from_rotvec(np.radians(degrees) * self.up).apply(heading))

    def along(self, directions: np.ndarray) -> np.ndarray:
        """Directions (..., 3) brought to the ground, of unit length."""
        flat = directions - (directions @ self.up)[..., None] * self.up
        return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-9))


@dataclass(frozen=True, eq=False)
class Mark:
    """Somebody's place on the ground, and the way he goes: (3,) metres and (3,) unit vector, camera space."""

    place: np.ndarray
    heading: np.ndarray


def marks_of(motion: Motion, ground: Ground, fps: float) -> list[Mark]:
    """Where the person of a motion is in every frame, and where he goes: ahead if he stands.

    Args:
        motion: T frames.
        ground: under it.
        fps: frames a second.
    """
    turn = Rotation.from_rotvec(motion.root_rotation).as_matrix()
    places = places_of(motion, ground)
    facing = ground.along(np.cross(turn[:, :, 0], ground.up))
    window = max(round(fps), 1)
    facing = ground.along(uniform_filter1d(facing, window, axis=0, mode="nearest"))
    half = window // 2
    frames = np.arange(len(places))
    before, after = np.maximum(frames - half, 0), np.minimum(frames + half, len(places) - 1)
    seconds = np.maximum(after - before, 1) / fps
    step = (places[after] - places[before]) / seconds[:, None]
    moving = np.linalg.norm(step, axis=1) > TRAVELS
    headings = np.where(moving[:, None], ground.along(step), facing)
    return [Mark(place, heading) for place, heading in zip(places, headings, strict=True)]


def places_of(motion: Motion, ground: Ground) -> np.ndarray:
    """(T, 3) metres, camera space: the ground between the person's feet.

    Feet are near the ground, so that the place is right even where its tilt is not.
    """
    return ground.under(_ankles(motion).mean(1))


def firm(motion: Motion, ground: Ground) -> np.ndarray:
    """(T,) bool: frames in which the lower foot is as high over the ground as it mostly is.

    Elsewhere the person jumps, or the fit of the body or of the ground is wrong.
    """
    low = (_ankles(motion) @ ground.up + ground.height).min(1)
    return np.asarray(np.abs(low - np.median(low)) < FIRM)


def _ankles(motion: Motion) -> np.ndarray:
    """(T, 2, 3) metres, camera space."""
    figure, world = Figure(motion.body, rig_of(motion.body.topology)), World.of(motion)
    bones = [figure.rig.limbs[f"{side}_ankle"][0] for side in SIDES]
    found = []
    for start in range(0, len(motion), FRAMES_AT_ONCE):
        frames = range(start, min(start + FRAMES_AT_ONCE, len(motion)))
        joints = world.poses(motion, figure, frames)[1]
        found.append((joints[:, bones] + np.array([0, 0, world.level])) @ world.axes)
    return np.concatenate(found)


def mark_at(motion: Motion, ground: Ground, frame: int) -> Mark:
    """Where the person of a motion is in a frame, and where he faces."""
    now = motion.taken(slice(frame, frame + 1))
    turn = Rotation.from_rotvec(now.root_rotation).as_matrix()
    heading = ground.along(np.cross(turn[:, :, 0], ground.up))[0]
    return Mark(ground.under(_hips(now, turn))[0], heading)


def first_seen(motion: Motion) -> int:
    """The first frame in which the person is seen."""
    return int(motion.visible.argmax())


def _hips(motion: Motion, turn: np.ndarray) -> np.ndarray:
    """(T, 3) middle between the hip joints, of a motion with root rotations (T, 3, 3)."""
    joints = rig_of(motion.body.topology).limbs
    heads = motion.rest_bones[[joints["left_hip"][0], joints["right_hip"][0]], :3, 3].mean(0)
    return np.asarray(turn @ heads + motion.translation)


def goes(poses: Poses) -> bool:
    """Whether a motion ends elsewhere than it begins."""
    return bool(np.linalg.norm((poses.hips[-1] - poses.hips[0])[:2]) > TRAVELS)


def bearing(poses: Poses) -> float:
    """Radians about z, from -y, of the way that a motion goes; 0, where it faces at first, if it stays."""
    way = poses.hips[-1] - poses.hips[0]
    return float(np.arctan2(way[0], -way[1])) if goes(poses) else 0.0


def axes_at(ground: Ground, heading: np.ndarray, turned: float) -> np.ndarray:
    """(3, 3) world to camera axes with which a direction of the world is seen along the ground.

    Args:
        ground: z = 0 of the world.
        heading: (3,) unit vector along it, camera space.
        turned: radians about z, from -y, of the direction that is to be seen so.
    """
    facing = np.stack([np.cross(ground.up, heading), -heading, ground.up], 1)
    return np.asarray(facing @ Rotation.from_euler("z", -turned).as_matrix())
