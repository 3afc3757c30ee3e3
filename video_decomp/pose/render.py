"""Draws a motion: ``sdc.mp4``, the body in its motion code on black, and how well it covers the mask."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from mimo.body.camera import crop_camera
from mimo.body.model import Topology
from mimo.body.raster import bounds, rasterise
from video_decomp.pose.interface import Estimate

DRAWERS = 4  # threads; drawing leaves Python's lock to others

Drawn = TypeVar("Drawn")


@dataclass
class Coverage:
    """Overlap of the drawn body with the mask, intersection over union of each frame that has a mask."""

    overlaps: list[float] = field(default_factory=list)

    def add(self, drawn: np.ndarray, mask: np.ndarray) -> None:
        """Count one frame: both (h, w) bool."""
        if mask.any():
            self.overlaps.append(float((drawn & mask).sum() / max((drawn | mask).sum(), 1)))

    @property
    def median(self) -> float:
        """Median over the frames; 0 when there are none."""
        return float(np.median(self.overlaps)) if self.overlaps else 0.0


def motion_code(estimate: Estimate, masks: Iterable[np.ndarray], coverage: Coverage) -> Iterator[np.ndarray]:
    """Draw every frame at the video's camera.

    Args:
        estimate: T frames; of a motion without a body, all are black.
        masks: T grey masks (h, w) uint8; drawn into `coverage`.
        coverage: takes the overlap of each frame in which the person was seen.

    Yields:
        (h, w, 3) uint8 RGB; the motion code of the body, black elsewhere.
    """
    motion = estimate.motion
    if not motion.rotations.shape[1]:
        width, height = (round(float(value)) for value in motion.camera[3:])
        yield from itertools.repeat(np.zeros((height, width, 3), np.uint8), len(motion))
        return
    topology = motion.body.topology
    colours = topology.colours if estimate.colours is None else estimate.colours
    shown = {drawn: _faces(topology, *drawn) for drawn in itertools.product((False, True), repeat=2)}

    def draw(index: int) -> tuple[np.ndarray, np.ndarray]:
        hands = (True, True) if estimate.hands is None else tuple(estimate.hands[index].tolist())
        return drawn_body(motion.vertices(index), shown[hands], colours, motion.camera)

    for index, ((image, covered), mask) in enumerate(zip(_in_order(draw, len(motion)), masks, strict=True)):
        if motion.visible[index]:
            coverage.add(covered, mask > 127)
        yield image


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


def _faces(topology: Topology, left: bool, right: bool) -> np.ndarray:
    """The faces to draw: those within a hand only where that hand is."""
    hand = topology.parts == topology.part_names.index("hand")
    side = topology.mean_vertices[:, 0] > 0
    hidden = hand & np.where(side, not left, not right)
    return topology.faces[~hidden[topology.faces].all(1)]
