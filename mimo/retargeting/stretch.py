"""A stretch of the driver's motion: what of it another body keeps to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import minimum_filter1d

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import leg
from mimo.body.rig import SIDES
from mimo.retargeting.feet import driver_foot, sole_points, within_reach
from mimo.retargeting.hands import Nearness, OnGround, nearness, on_ground
from mimo.retargeting.hips import settled
from mimo.retargeting.landmarks import Landmarks, landmarks
from mimo.retargeting.planting import Foot, faded
from mimo.retargeting.standing import Standing, hand_points

LOWEST_WITHIN = 0.5
"""Seconds to both sides within which the body's lowest point is the ground, where that is not known."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """Some frames of the driver.

    Attributes:
        driver: whose motion it is.
        poses, places: T frames of it, see `World.poses`.
        standing: stances of the whole motion.
        first: frame of the motion with which the stretch begins.
        fps: frames a second.
        ground_known: z = 0 is the ground.
    """

    driver: Figure
    poses: Poses
    places: np.ndarray
    standing: Standing
    first: int
    fps: float
    ground_known: bool

    @property
    def landmarks(self) -> Landmarks:
        """Vertices to look at."""
        return landmarks(self.driver.body.topology)

    @cached_property
    def feet(self) -> list[Foot]:
        """The driver's feet, still while they stand, as far as its legs reach."""
        return [
            within_reach(foot, self.driver, side, self.places, self.settled)
            for foot, side in zip(self._held, SIDES, strict=True)
        ]

    @cached_property
    def _held(self) -> list[Foot]:
        return [
            driver_foot(self.poses, self.places, self.driver, side, stances, self.fps, self.first)
            for side, stances in zip(SIDES, self.standing.feet, strict=True)
        ]

    @cached_property
    def settled(self) -> np.ndarray:
        """(T, 3) what the driver's hips are moved by since its standing feet are held."""
        moved = [
            foot.ankle - self.places[:, leg(self.driver, side).end]
            for foot, side in zip(self._held, SIDES, strict=True)
        ]
        return settled(moved, [foot.planted for foot in self._held], self.fps)

    @cached_property
    def soles(self) -> list[np.ndarray]:
        """(T, 2, 3) under heel and ball of each foot."""
        return [sole_points(foot, self.driver, side) for foot, side in zip(self.feet, SIDES, strict=True)]

    @cached_property
    def support(self) -> np.ndarray:
        """(T, S, 3) points that may touch the ground."""
        skin = self.driver.skin(self.poses, self.landmarks.support, self.places)
        soles = [self.driver.foot_points(self.poses, self.places, side) for side in SIDES]
        return np.concatenate([skin, *soles], 1)

    @cached_property
    def ground(self) -> np.ndarray:
        """(T,) z of the ground."""
        lowest = self.support[:, :, 2].min(1)
        if self.ground_known:
            return np.zeros(len(lowest))
        return minimum_filter1d(lowest, 2 * round(LOWEST_WITHIN * self.fps) + 1, mode="nearest")

    @cached_property
    def still_hands(self) -> list[np.ndarray]:
        """(T, 3) what keeps each hand in its place while it stands on the ground; zero elsewhere."""
        result = []
        for side, stances in zip(SIDES, self.standing.hands, strict=True):
            points = hand_points(self.driver, self.places, side)
            moved, inside = np.zeros((len(points), 3)), np.zeros(len(points), bool)
            for stance in stances:
                start = max(stance.start - self.first, 0)
                stop = max(min(stance.stop - self.first, len(points)), start)
                touches = stance.touches[start + self.first - stance.start :][: stop - start, :, None]
                away = (stance.anchors - points[start:stop, :, :2]) * touches
                moved[start:stop, :2] = away.sum(1) / np.maximum(touches.sum(1), 1)
                inside[start:stop] = True
            result.append(faded(moved, inside, self.fps))
        return result

    @cached_property
    def hands(self) -> list[np.ndarray]:
        """(T, H, 3) vertices of each hand."""
        return [self.driver.skin(self.poses, hand, self.places) for hand in self.landmarks.hands]

    @cached_property
    def hands_on_ground(self) -> list[OnGround]:
        """How each hand is near the ground."""
        return [
            on_ground(hand, hand[:, :, 2] - self.ground[:, None], still)
            for hand, still in zip(self.hands, self.still_hands, strict=True)
        ]

    @cached_property
    def hands_on_body(self) -> list[Nearness]:
        """How each hand is near head, torso, legs and the other arm, in this order of vertices."""
        body = self.driver.skin(self.poses, self.landmarks.body, self.places)
        arms = [self.driver.skin(self.poses, arm, self.places) for arm in self.landmarks.arms]
        return [
            nearness(hand, np.concatenate([body, other], 1))
            for hand, other in zip(self.hands, arms[::-1], strict=True)
        ]

    @cached_property
    def left_on_right(self) -> Nearness:
        """How the left hand is near the right one."""
        return nearness(*self.hands)
