"""A stretch of the driver's motion: what of it another body keeps to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import minimum_filter1d

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import arm, leg
from mimo.body.rig import SIDES
from mimo.retargeting.contacts import Stance
from mimo.retargeting.feet import driver_foot, sole_points, stretched, within_reach
from mimo.retargeting.hands import Nearness, OnGround, nearness, on_ground
from mimo.retargeting.hips import settled
from mimo.retargeting.landmarks import Landmarks, landmarks
from mimo.retargeting.planting import Foot, eased, faded
from mimo.retargeting.standing import NEVER, Standing, hand_points

TOUCHES = 0.1
"""Metres above the ground from which a foot does not stand."""
TOGETHER = 0.4
"""Seconds within which both hands stand together, as in a cartwheel one after the other."""
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
    def above(self) -> list[np.ndarray]:
        """(T,) metres of each foot above the ground."""
        return [np.maximum(sole[:, :, 2].min(1) - self.ground, 0) for sole in self.soles]

    @cached_property
    def grip(self) -> list[np.ndarray]:
        """(T,) how much each foot stands, fading before and after; by its height where that is unknown."""
        if self.standing is NEVER:
            return [eased(1 - above / TOUCHES) for above in self.above]
        ones = np.ones((len(self.poses), 1))
        return [faded(foot.planted[:, None] * ones, foot.planted, self.fps)[:, 0] for foot in self.feet]

    @cached_property
    def legs_stretched(self) -> list[np.ndarray]:
        """(T,) part of its length by which each leg is stretched."""
        moved = [
            foot.ankle - self.places[:, leg(self.driver, side).end] - self.settled
            for foot, side in zip(self.feet, SIDES, strict=True)
        ]
        return [
            stretched(self.places, self.driver, leg(self.driver, side), by)
            for side, by in zip(SIDES, moved, strict=True)
        ]

    @cached_property
    def arms_stretched(self) -> list[np.ndarray]:
        """(T,) part of its length by which each arm is stretched."""
        return [stretched(self.places, self.driver, arm(self.driver, side)) for side in SIDES]

    @cached_property
    def still_hands(self) -> list[np.ndarray]:
        """(T, 3) what keeps each hand in its place while it stands on the ground; zero elsewhere."""
        return [self._over_stances(number, self._back_to_anchors) for number in range(len(SIDES))]

    @cached_property
    def spread_hands(self) -> list[np.ndarray]:
        """(T, 3) each standing hand's place from the middle between both, where they stand together."""
        return [self._over_stances(number, self._from_middle) for number in range(len(SIDES))]

    def _over_stances(self, number: int, value: Callable[[int, Stance, range], np.ndarray]) -> np.ndarray:
        """(T, 3) a value (N, 2) of a hand's stances, on the ground, fading outside of them."""
        values, inside = np.zeros((len(self.poses), 3)), np.zeros(len(self.poses), bool)
        for stance in self.standing.hands[number]:
            shown = range(
                max(stance.start, self.first), max(min(stance.stop, self.first + len(values)), self.first)
            )
            if len(shown):
                part = slice(shown.start - self.first, shown.stop - self.first)
                values[part, :2], inside[part] = value(number, stance, shown), True
        return faded(values, inside, self.fps)

    def _back_to_anchors(self, number: int, stance: Stance, frames: range) -> np.ndarray:
        own = slice(frames.start - self.first, frames.stop - self.first)
        touches = stance.touches[frames.start - stance.start : frames.stop - stance.start, :, None]
        points = hand_points(self.driver, self.places[own], SIDES[number])
        away = (stance.anchors - points[:, :, :2]) * touches
        return np.asarray(away.sum(1) / touches.sum(1))

    def _from_middle(self, number: int, stance: Stance, _: range) -> np.ndarray:
        others = [
            other.anchors.mean(0)
            for other in self.standing.hands[1 - number]
            if max(other.start - stance.stop, stance.start - other.stop) < TOGETHER * self.fps
        ]
        place = stance.anchors.mean(0)
        return np.asarray((place - np.mean(others, axis=0)) / 2 if others else np.zeros(2))

    @cached_property
    def hands(self) -> list[np.ndarray]:
        """(T, H, 3) vertices of each hand."""
        return [self.driver.skin(self.poses, hand, self.places) for hand in self.landmarks.hands]

    @cached_property
    def hands_on_ground(self) -> list[OnGround]:
        """How each hand is near the ground."""
        return [
            on_ground(hand, hand[:, :, 2] - self.ground[:, None], still, spread)
            for hand, still, spread in zip(self.hands, self.still_hands, self.spread_hands, strict=True)
        ]

    @cached_property
    def hands_on_body(self) -> list[Nearness]:
        """How each hand is near head, torso, legs and the other arm, in this order of vertices."""
        body = self.driver.skin(self.poses, self.landmarks.body, self.places)
        arms = [self.driver.skin(self.poses, vertices, self.places) for vertices in self.landmarks.arms]
        return [
            nearness(hand, np.concatenate([body, other], 1))
            for hand, other in zip(self.hands, arms[::-1], strict=True)
        ]

    @cached_property
    def left_on_right(self) -> Nearness:
        """How the left hand is near the right one."""
        return nearness(*self.hands)
