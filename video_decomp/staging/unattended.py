"""The place of a motion in a picture or video in which nobody shows the way."""

from __future__ import annotations

from functools import partial

from mimo.body.camera import project
from video_decomp.motion.placing import Ground, Mark, goes
from video_decomp.staging.camera import ground_by_hand, spot
from video_decomp.staging.driver import Driver, Performance
from video_decomp.staging.interface import Placed, Wishes
from video_decomp.staging.placement import TURNS, Candidate, place_at, put, turned

STANDING = 20
"""Degrees to the left of the way to the camera that a motion faces which stays where it is."""
GOING = (60, -60, 90, -90, 45, -45, 120, -120, 150, -150, 180)
"""The same for one that goes somewhere: across the picture, where there is room."""
DEEPER = (1, 1.3, 1.7, 2.2, 3)
"""How much further away, if there is not room enough."""
AWAY = 0.1
"""Cost of standing twice as far away (see `video_decomp.staging.placement.put`)."""


def by_hand(size: tuple[int, int], focal: float, wishes: Wishes, pixel: float, driver: Driver) -> Ground:
    """See `ground_by_hand`; the person is the driver."""
    tall = float(driver.motion.rest_vertices[:, 2].max() - driver.motion.rest_vertices[:, 2].min())
    return ground_by_hand(size, focal, wishes, pixel, tall)


def view(ground: Ground, wishes: Wishes, pixel: float) -> partial[Placed]:
    """How a performance is put on a ground on which nobody was seen; see `Scene.view`."""
    return partial(_view, ground=ground, wishes=wishes, pixel=pixel)


def _view(performance: Performance, ground: Ground, wishes: Wishes, pixel: float) -> Placed:
    size = (int(ground.camera[3]), int(ground.camera[4]))
    x, y = spot(size, wishes, pixel)
    place = place_at(ground, x, y)
    turns = (
        (GOING if goes(performance.poses) else (STANDING, *TURNS)) if wishes.turn is None else (wishes.turn,)
    )
    if wishes.at is not None:
        return put(performance, ground, turned(ground, Mark(place, -ground.forward), "start", turns))
    candidates: list[Candidate] = []
    for factor in DEEPER:
        there = ground.under(place + (factor - 1) * (place @ ground.forward) * ground.forward)
        # Straight ahead of the camera, not of the picture's middle at another depth.
        middle = place_at(ground, x, float(project(there, ground.camera)[1]))
        candidates += turned(ground, Mark(middle, -ground.forward), "middle", turns, AWAY * (factor - 1))
    return put(performance, ground, candidates)
