"""Draws a motion in its motion code, the body in colours of its surface on black, as in ``sdc.mp4``."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from mimo.body.camera import crop_camera
from mimo.body.model import Topology
from mimo.body.motion import Motion
from mimo.body.raster import bounds, rasterise

DRAWERS = 4  # threads; drawing leaves Python's lock to others

Drawn = TypeVar("Drawn")


def drawn_motion(
    motion: Motion, colours: np.ndarray | None = None, hands: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw every frame at the motion's camera.

    Args:
        motion: T frames; of a motion without a body, all are black.
        colours: (V, 3) uint8 of the body's vertices; None: the body model's own.
        hands: (T, 2) bool, whether the left and the right hand are drawn; None: both, always.

    Yields:
        (h, w, 3) uint8 RGB, the motion code of the body, black elsewhere; and where the body is (h, w) bool.
    """
    if not motion.rotations.shape[1]:
        width, height = (round(float(value)) for value in motion.camera[3:])
        nothing = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
        yield from itertools.repeat(nothing, len(motion))
        return
    topology = motion.body.topology
    chosen = topology.colours if colours is None else colours
    shown = {drawn: _faces(topology, *drawn) for drawn in itertools.product((False, True), repeat=2)}

    def draw(index: int) -> tuple[np.ndarray, np.ndarray]:
        seen = (True, True) if hands is None else tuple(hands[index].tolist())
        return drawn_body(motion.vertices(index), shown[seen], chosen, motion.camera)

    yield from _in_order(draw, len(motion))


def drawn_body(
    vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray, camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A body in its colours on black (h, w, 3) uint8, and where it is (h, w) bool."""
    width, height = (round(float(value)) for value in camera[3:])
    image, covered = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    left, top, right, bottom = bounds(vertices, camera, width, height)
    if right > left and bottom > top:
        window = crop_camera(camera, left, top, right - left, bottom - top)
        drawn = rasterise(vertices, faces, colours, window)
        image[top:bottom, left:right] = np.round(drawn.attributes).clip(0, 255)
        covered[top:bottom, left:right] = drawn.coverage > 0.5
    return image, covered


def _in_order(draw: Callable[[int], Drawn], count: int) -> Iterator[Drawn]:
    """What a function makes of 0 to `count` - 1, in order, by several threads a little ahead of its use."""
    with ThreadPoolExecutor(DRAWERS) as pool:
        waiting: deque[Future[Drawn]] = deque()
        for index in range(count):
            waiting.append(pool.submit(draw, index))
            if len(waiting) > 2 * DRAWERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _faces(topology: Topology, left: bool, right: bool) -> np.ndarray:
    """The faces to draw: those within a hand only where that hand is."""
    hand = topology.parts == topology.part_names.index("hand")
    side = topology.mean_vertices[:, 0] > 0
    hidden = hand & np.where(side, not left, not right)
    return topology.faces[~hidden[topology.faces].all(1)]
