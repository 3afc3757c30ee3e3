"""The place of a motion in a picture or video, of which nobody said where it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from mimo.body.camera import project
from video_decomp.motion.placing import Ground, Mark, goes, places_of
from video_decomp.staging.camera import ground_by_hand, spot
from video_decomp.staging.driver import Driver, Performance
from video_decomp.staging.guide import Guide, find_guide
from video_decomp.staging.interface import Placed, Wishes
from video_decomp.staging.placement import TURNS, Candidate, place_at, put, turned

STANDING = 20
"""Degrees to the left of the way to the camera that a motion faces which stays where it is."""
GOING = (60, -60, 90, -90, 45, -45, 120, -120, 150, -150, 180)
"""The same for one that goes somewhere: across the picture, where there is room."""
DEEPER = (1, 1.3, 1.7, 2.2, 3)
"""How much further away, if there is not room enough."""
ASIDE, NEARER = (0.8, -0.8, 1.2, -1.2, 1.8, -1.8, 0.0), (0.0, 0.5, 1.0, -0.7)
"""Metres to the right of somebody who is seen, and nearer to the camera, where another one is put."""
AWAY = 0.1
"""Cost of standing twice as far away (see `video_decomp.staging.placement.put`)."""


@dataclass(frozen=True, eq=False)
class Unattended:
    """What is known about the ground of a picture.

    Attributes:
        ground: at the scale of who is put on it.
        source: what told: ``person``, ``hand`` or ``guess``.
        guide: somebody who is seen there.
    """

    ground: Ground
    source: str
    guide: Guide | None = None

    @classmethod
    def of(cls, image: np.ndarray, focal: float, wishes: Wishes, pixel: float, driver: Driver) -> Unattended:
        """Find the ground of a picture.

        Args:
            image: (h, w, 3) uint8.
            focal: focal length, pixels.
            wishes: what is said by hand.
            pixel: pixels of the picture for each of the scene as it was given.
            driver: who is put there.
        """
        said = wishes.height is not None or wishes.horizon is not None
        guide = find_guide(image, focal) if wishes.people and not said else None
        if guide is not None:
            return cls(Ground.of(guide.motion).scaled(1 / wishes.scale), "person", guide)
        size = (image.shape[1], image.shape[0])
        return cls(by_hand(size, focal, wishes, pixel, driver), "hand" if said else "guess")

    def view(self, wishes: Wishes, pixel: float) -> partial[Placed]:
        """How a performance is put there; see `Scene.view`."""
        return partial(_view, ground=self.ground, wishes=wishes, pixel=pixel, guide=self.guide)


def by_hand(size: tuple[int, int], focal: float, wishes: Wishes, pixel: float, driver: Driver) -> Ground:
    """See `ground_by_hand`; the person is the driver."""
    return ground_by_hand(size, focal, wishes, pixel, float(np.ptp(driver.motion.rest_vertices[:, 2])))


def view(ground: Ground, wishes: Wishes, pixel: float) -> partial[Placed]:
    """How a performance is put on a ground on which nobody was seen; see `Scene.view`."""
    return Unattended(ground, "hand").view(wishes, pixel)


def _view(
    performance: Performance, ground: Ground, wishes: Wishes, pixel: float, guide: Guide | None
) -> Placed:
    turns = (
        (GOING if goes(performance.poses) else (STANDING, *TURNS)) if wishes.turn is None else (wishes.turn,)
    )
    front = None if guide is None else guide.mask
    if wishes.at is not None:
        x, y = spot((int(ground.camera[3]), int(ground.camera[4])), wishes, pixel)
        mark = Mark(place_at(ground, x, y), -ground.forward)
        return put(performance, ground, turned(ground, mark, "start", turns), front)
    candidates: list[Candidate] = []
    for place, cost in _middle(ground, wishes, pixel) if guide is None else _beside(ground, guide):
        candidates += turned(ground, Mark(place, -ground.forward), "middle", turns, cost)
    return put(performance, ground, candidates, front)


def _middle(ground: Ground, wishes: Wishes, pixel: float) -> Iterator[tuple[np.ndarray, float]]:
    """Places in the middle of the picture, further and further away, and what that costs."""
    x, y = spot((int(ground.camera[3]), int(ground.camera[4])), wishes, pixel)
    place = place_at(ground, x, y)
    for factor in DEEPER:
        there = ground.under(place + (factor - 1) * (place @ ground.forward) * ground.forward)
        # Straight ahead of the camera, not of the picture's middle at another depth.
        yield place_at(ground, x, float(project(there, ground.camera)[1])), AWAY * (factor - 1)


def _beside(ground: Ground, guide: Guide) -> Iterator[tuple[np.ndarray, float]]:
    """Places beside and before somebody who is seen, at his scale, and what they cost."""
    own = Ground.of(guide.motion)
    place = places_of(guide.motion, own)[0] * (ground.height / own.height)
    right = np.cross(ground.forward, ground.up)
    for nearer in NEARER:
        for aside in ASIDE:
            yield place + aside * right - nearer * ground.forward, AWAY * (nearer + abs(aside)) / 2
