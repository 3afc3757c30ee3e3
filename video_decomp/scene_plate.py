"""The empty scene behind a person: registered frames, the person masked out, median over time.

A clip is cut into segments whose registered frames fit one canvas (a static camera has one segment). For
each segment at most `MAX_SAMPLES` frames are held: those which together see every place best, so memory
does not grow with the length of the clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from mimo.video import VideoReader
from video_decomp.light import apply_light, fit_light
from video_decomp.registration import THUMBNAIL_STEP, CameraMotion

MAX_SAMPLES = 40
EVEN_SAMPLES = 12
WANTED_VIEWS = 9
MAX_CANDIDATES = 400
MAX_CANVAS = 2.4
MAX_ZOOM = 1.4
CROSSFADE = 12
BAND = 64


@dataclass(frozen=True)
class Segment:
    """A run of frames that share one canvas.

    Attributes:
        start, stop: the frames, stop exclusive; neighbours in one shot overlap by CROSSFADE frames.
        to_canvas: (3, 3) float64, pixels of the shot's first frame to pixels of the canvas.
        size: (width, height) of the canvas.
        static: the camera stands, the canvas is the frame.
    """

    start: int
    stop: int
    to_canvas: np.ndarray
    size: tuple[int, int]
    static: bool

    def weight(self, index: int, last: int) -> float:
        """Share of this segment in a frame's plate: ramps where neighbours overlap, else 1.

        Args:
            index: the frame, inside the segment.
            last: number of the clip's last frame.
        """
        rise = (index - self.start + 1) / (CROSSFADE + 1) if self.start else 1.0
        fall = (self.stop - index) / (CROSSFADE + 1) if self.stop <= last else 1.0
        return min(1.0, rise, fall)


@dataclass(frozen=True)
class Plate:
    """The empty scene of a segment.

    Attributes:
        image: (h, w, 3) uint8 RGB; black where never seen.
        views: (h, w) uint8, in how many of the held frames the place was seen without the person.
        inside: (h, w) bool, whether any held frame reaches this place at all.
        segment: the canvas.
    """

    image: np.ndarray
    views: np.ndarray
    inside: np.ndarray
    segment: Segment


@dataclass(frozen=True)
class _Sample:
    """A registered frame on a canvas: its colours, and how far (pixels, at most 255) the person is."""

    image: np.ndarray
    clearance: np.ndarray


def segments(motion: CameraMotion) -> list[Segment]:
    """Cut a clip into segments, in order; every frame is in one segment, or in two where they overlap."""
    found = []
    for shot in np.unique(motion.shots):
        frames = np.flatnonzero(motion.shots == shot)
        first, end = int(frames[0]), int(frames[-1]) + 1
        start = first
        while True:
            stop = end if motion.static[start] else _reach(motion, start, end)
            found.append(_segment(motion, start, stop))
            if stop == end:
                break
            start = max(start + 1, stop - CROSSFADE)
    return found


def to_canvas(motion: CameraMotion, segment: Segment, index: int) -> np.ndarray:
    """Homography (3, 3) from pixels of a frame to pixels of a segment's canvas."""
    return segment.to_canvas @ motion.homographies[index]


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], *, mask: bool = False) -> np.ndarray:
    """An image moved by a homography; black (0) where it does not reach.

    Args:
        matrix: pixels of the image to pixels of the result, pixel corners at whole numbers.
        size: (width, height) of the result.
        mask: linear instead of cubic interpolation.
    """
    # OpenCV counts from pixel centres.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    flags = cv2.INTER_LINEAR if mask else cv2.INTER_CUBIC
    return cv2.warpPerspective(image, np.linalg.inv(half) @ matrix @ half, size, flags=flags)


def build_plate(
    frames: VideoReader, masks: VideoReader, motion: CameraMotion, segment: Segment, margin: float
) -> Plate:
    """Masked temporal median of a segment.

    Args:
        margin: pixels around the mask that are not trusted to be free of the person. Twice as far is
            asked for where enough frames allow it, which keeps out soft edges and contact shadows.
    """
    chosen = choose_samples(motion, segment)
    held = list(_samples(frames, masks, motion, segment, chosen))
    _match_exposure(held)
    width, height = segment.size
    image = np.zeros((height, width, 3), np.uint8)
    views = np.zeros((height, width), np.uint8)
    inside = np.zeros((height, width), bool)
    for top in range(0, height, BAND):
        rows = slice(top, top + BAND)
        clearance = np.stack([sample.clearance[rows] for sample in held])
        colours = np.stack([sample.image[rows] for sample in held])
        image[rows], views[rows], inside[rows] = _masked_median(colours, clearance, margin)
    return Plate(image, views, inside, segment)


def choose_samples(motion: CameraMotion, segment: Segment) -> list[int]:
    """Frames which together see every place of a canvas often enough without the person, in order."""
    candidates = _candidates(motion, segment)
    visible, person = _visibility(motion, segment, candidates)
    even = np.linspace(0, len(candidates) - 1, min(EVEN_SAMPLES, len(candidates))).round().astype(int)
    chosen = list(dict.fromkeys(even.tolist()))
    flat = visible.reshape(len(candidates), -1)
    weight = np.where(person.ravel(), 1.0, 0.02).astype(np.float32)
    count = flat[chosen].sum(axis=0)
    while len(chosen) < min(MAX_SAMPLES, len(candidates)):
        need = weight * np.clip(WANTED_VIEWS - count, 0, None)
        gain = flat @ need
        gain[chosen] = 0
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        count = count + flat[best]
    return sorted(int(candidates[index]) for index in chosen)


def _candidates(motion: CameraMotion, segment: Segment) -> np.ndarray:
    """The segment's own frames and, around them, those of the shot that see a good part of its canvas."""
    own = np.arange(segment.start, segment.stop)
    shot = np.flatnonzero(motion.shots == motion.shots[segment.start])
    if not segment.static:
        near = shot[(shot < segment.start) | (shot >= segment.stop)]
        reaching = [index for index in near if _share_inside(motion, segment, int(index)) > 0.3]
        own = np.sort(np.concatenate([own, np.array(reaching, int)]))
    if len(own) > MAX_CANDIDATES:
        own = own[np.linspace(0, len(own) - 1, MAX_CANDIDATES).round().astype(int)]
    return own


def _share_inside(motion: CameraMotion, segment: Segment, index: int) -> float:
    """Share of a frame's area that falls on a canvas."""
    corners = _corners(motion.size, to_canvas(motion, segment, index)).astype(np.float32)
    width, height = segment.size
    canvas = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    area, _ = cv2.intersectConvexConvex(corners, canvas)
    return area / max(1.0, abs(cv2.contourArea(corners)))


def _visibility(
    motion: CameraMotion, segment: Segment, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cells of the canvas that each candidate sees, (C, h, w) float32, and the person's cells (h, w) bool."""
    step = THUMBNAIL_STEP
    size = (-(-segment.size[0] // step), -(-segment.size[1] // step))
    scale = np.diag([step, step, 1.0])
    shape = motion.masks.shape[1:]
    visible = np.zeros((len(candidates), size[1], size[0]), np.float32)
    person = np.zeros((size[1], size[0]), bool)
    around = np.ones((3, 3), np.uint8)
    for row, index in enumerate(candidates):
        grown = cv2.dilate(motion.masks[index].astype(np.uint8), around)
        matrix = np.linalg.inv(scale) @ to_canvas(motion, segment, int(index)) @ scale
        covered = warp(grown * 255, matrix, size, mask=True) > 0
        reached = warp(np.full(shape, 255, np.uint8), matrix, size, mask=True) > 127
        visible[row] = reached & ~covered
        if segment.start <= index < segment.stop:
            person |= covered
    return visible, person


def _samples(
    frames: VideoReader, masks: VideoReader, motion: CameraMotion, segment: Segment, chosen: list[int]
) -> Iterator[_Sample]:
    """Read the chosen frames in one pass and lay them on the canvas."""
    wanted = set(chosen)
    window = (chosen[0], chosen[-1] + 1)
    pairs = zip(frames.frames(*window), masks.frames(*window), strict=True)
    for index, (image, mask) in enumerate(pairs, start=window[0]):
        if index not in wanted:
            continue
        free = np.where(mask > 127, 0, 1).astype(np.uint8)
        clearance = cv2.distanceTransform(free, cv2.DIST_L2, 3)
        # 0 is kept for places that the frame does not reach.
        clearance = np.clip(clearance, 1, 255).astype(np.uint8)
        if not segment.static:
            matrix = to_canvas(motion, segment, index)
            image = warp(image, matrix, segment.size)
            # Outside the frame the clearance is 0: never used. The outermost pixels mix with black.
            clearance[[0, 1, -2, -1]] = clearance[:, [0, 1, -2, -1]] = 0
            clearance = warp(clearance, matrix, segment.size, mask=True)
        yield _Sample(image, clearance)


def _match_exposure(held: list[_Sample]) -> None:
    """Bring every sample's channels to the middle sample's light, where both see the scene; in place."""
    step = THUMBNAIL_STEP
    reference = held[len(held) // 2]
    for sample in held:
        both = (sample.clearance[::step, ::step] > 16) & (reference.clearance[::step, ::step] > 16)
        light = fit_light(sample.image[::step, ::step][both], reference.image[::step, ::step][both])
        sample.image[:] = apply_light(sample.image, light)


def _masked_median(
    colours: np.ndarray, clearance: np.ndarray, margin: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median over the samples that see a place, found bit by bit.

    Args:
        colours: (N, h, w, 3) uint8.
        clearance: (N, h, w) uint8, pixels to the person's mask, 0 where the sample does not reach.
        margin: clearance that a sample must have; twice as much where WANTED_VIEWS // 2 samples have it.

    Returns:
        Median (h, w, 3) uint8, number of samples that count (h, w) uint8, and where any sample reaches.
    """
    strict = clearance > 2 * margin + 4
    enough = strict.sum(axis=0) >= WANTED_VIEWS // 2
    usable = (strict & enough) | ((clearance > margin) & ~enough)
    views = np.count_nonzero(usable, axis=0)
    rank = (np.maximum(views, 1) - 1)[..., None] // 2
    median: np.ndarray = np.zeros(colours.shape[1:], np.uint8)
    counted = usable[..., None]
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        trial = median | bit
        below = np.count_nonzero((colours < trial) & counted, axis=0)
        median = np.where(below <= rank, trial, median).astype(np.uint8)
    median[views == 0] = 0
    return median, views.astype(np.uint8), np.any(clearance, axis=0)


def _reach(motion: CameraMotion, start: int, end: int) -> int:
    """First frame after `start` that no longer fits the canvas of the frames before it."""
    width, height = motion.size
    back = np.linalg.inv(motion.homographies[start])
    low, high = np.zeros(2), np.array([width, height], float)
    for index in range(start + 1, end):
        matrix = back @ motion.homographies[index]
        corners = _corners(motion.size, matrix)
        low, high = np.minimum(low, corners.min(axis=0)), np.maximum(high, corners.max(axis=0))
        zoom = np.sqrt(abs(cv2.contourArea(corners.astype(np.float32))) / (width * height))
        too_wide = np.prod(high - low) > MAX_CANVAS * width * height
        if too_wide or not 1 / MAX_ZOOM < zoom < MAX_ZOOM:
            # At least this long, so that a clip has a bounded number of segments.
            return min(end, max(index, start + 2 * CROSSFADE))
    return end


def _segment(motion: CameraMotion, start: int, stop: int) -> Segment:
    """Lay out the canvas of a run of frames, at the resolution of its middle frame."""
    if motion.static[start]:
        return Segment(start, stop, np.eye(3), motion.size, True)
    base = np.linalg.inv(motion.homographies[(start + stop) // 2])
    corners = [_corners(motion.size, base @ motion.homographies[index]) for index in range(start, stop)]
    everything = np.concatenate(corners)
    # A frame may run off to infinity under a bad homography: bound the canvas around the middle frame.
    low = np.maximum(np.floor(everything.min(axis=0)), -2.0 * np.array(motion.size))
    high = np.minimum(np.ceil(everything.max(axis=0)), 3.0 * np.array(motion.size))
    shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]])
    width, height = (high - low).astype(int)
    return Segment(start, stop, shift @ base, (int(width), int(height)), False)


def _corners(size: tuple[int, int], matrix: np.ndarray) -> np.ndarray:
    """Corners (4, 2) of a frame after a homography."""
    width, height = size
    points = np.array([[[0, 0]], [[width, 0]], [[width, height]], [[0, height]]], np.float64)
    return cv2.perspectiveTransform(points, matrix)[:, 0]
