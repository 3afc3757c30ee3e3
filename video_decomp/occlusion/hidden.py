"""Where the fitted body should be seen and is not, frame by frame, apart from errors of the fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from mimo.body.camera import scale_camera
from mimo.body.motion import Motion
from mimo.body.raster import fragments
from mimo.video import VideoReader

WORKING_SHORT_SIDE = 360


@dataclass(frozen=True)
class View:
    """One frame at working resolution.

    Attributes:
        index: number of the frame.
        body: (h, w) bool, silhouette of the fitted body.
        person: (h, w) bool, the person's visible pixels.
        hidden: (h, w) bool, deep inside the body, away from the person's visible pixels, and not made up
            for by person outside the body beside it.
        share: hidden area over the area of the body in the frame, 0..1.
        height: of the body in the frame, pixels.
    """

    index: int
    body: np.ndarray
    person: np.ndarray
    hidden: np.ndarray
    share: float
    height: int


def working_scale(size: tuple[int, int]) -> float:
    """Factor from pixels of the clip to pixels of working resolution."""
    return min(1.0, WORKING_SHORT_SIDE / min(size))


def views(
    masks: VideoReader, motion: Motion, tolerance: float, start: int = 0, stop: int | None = None
) -> Iterator[View]:
    """The frames of a clip, one after the other.

    Args:
        tolerance: error of the fit that is expected, as a share of the body's height.
    """
    width, height = masks.info.width, masks.info.height
    scale = working_scale((width, height))
    size = (round(height * scale), round(width * scale))
    camera = scale_camera(motion.camera, scale)
    for index, mask in enumerate(masks.frames(start, stop), start=start):
        body = silhouette(motion, index, camera, size)
        small = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_AREA)
        yield look(index, body, small > 127, tolerance)


def silhouette(motion: Motion, index: int, camera: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The body of a frame as seen by a camera (5,), (height, width) bool."""
    return fragments(motion.vertices(index), motion.body.faces, camera, size).faces >= 0


def look(index: int, body: np.ndarray, person: np.ndarray, tolerance: float) -> View:
    """Compare one frame's fitted body with the person that is seen, both (h, w) bool."""
    rows = np.flatnonzero(body.any(axis=1))
    height = int(rows[-1] - rows[0] + 1) if len(rows) else 0
    reach = max(2.0, tolerance * height)
    inside = _inner_distance(body)
    deep = inside > reach
    away = _distance(person) > max(2.0, reach / 3)
    hidden = _without_misfit(deep & away, body, person, reach)
    share = float(hidden.sum()) / max(1.0, float(body.sum()))
    return View(index, body, person, hidden, share, height)


def _without_misfit(hidden: np.ndarray, body: np.ndarray, person: np.ndarray, reach: float) -> np.ndarray:
    """Drop regions that are small or whose area is seen outside the body, next to where it is missing.

    A limb that the fit puts beside where it is leaves a hidden region *and* person outside the body.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(hidden.astype(np.uint8), connectivity=4)
    beyond = person & (_distance(body) > reach)
    kept = np.zeros_like(hidden)
    smallest = max(12.0, (1.5 * reach) ** 2)
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in boxes[label])
        if area < smallest:
            continue
        pad = int(max(width, height) * 0.5 + 3 * reach)
        beside = beyond[max(0, top - pad) : top + height + pad, max(0, left - pad) : left + width + pad]
        if area > 1.5 * beside.sum():
            kept |= labels == label
    return kept


def _distance(area: np.ndarray) -> np.ndarray:
    """Pixels to the nearest pixel of an area, (h, w) float32."""
    if not area.any():
        return np.full(area.shape, 1e6, np.float32)
    return np.asarray(cv2.distanceTransform((~area).astype(np.uint8), cv2.DIST_L2, 3))


def _inner_distance(body: np.ndarray) -> np.ndarray:
    """Pixels from inside an area to its edge; the image's own border is no edge."""
    # A body that leaves the frame goes on outside it.
    padded = np.pad(body, 1, mode="edge").astype(np.uint8)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 3))[1:-1, 1:-1]
