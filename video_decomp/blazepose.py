"""MediaPipe's body networks (BlazePose) on LiteRT: person detector, landmarks in 2D and 3D, person mask.

After Bazarevsky et al., "BlazePose: On-device real-time body pose tracking" (2020) and Grishchenko et al.,
"BlazePose GHUM holistic" (2022); geometry and decoding as in MediaPipe's ``pose_landmark`` graph. Image
coordinates are continuous pixels: pixel (x, y) covers [x, x+1) x [y, y+1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mimo import weights
from video_decomp.body_region import Roi, roi_from_circle

_DETECTOR_SIDE = 224
_LANDMARK_SIDE = 256


@dataclass(frozen=True)
class Detection:
    """A person found in an image.

    Attributes:
        score: 0..1.
        box: left, top, right, bottom of the *head and torso*, pixels.
        points: (4, 2) alignment points, pixels: middle of the hips, point on the full body's circle,
            middle of the shoulders, point on the upper body's circle.
    """

    score: float
    box: np.ndarray
    points: np.ndarray

    @property
    def roi(self) -> Roi:
        """Region for the landmark network."""
        return roi_from_circle(self.points[0], self.points[1])


@dataclass(frozen=True)
class PoseLandmarks:
    """What the landmark network says about one person.

    Attributes:
        score: probability that the region holds a person, 0..1.
        image: (33, 3) float32: x, y in pixels; z in the same scale, 0 at the hips, smaller is nearer.
        world: (33, 3) float32 metres, origin at the middle of the hips, x right, y down, z away.
        visibility: (33,) float32 0..1, in the image and not hidden.
        presence: (33,) float32 0..1, inside the region.
        roi: the region it was found in.
        next_roi: the region to use in the next frame, from the network's own alignment points.
        mask: (256, 256) float32 0..1, the person, on the region's grid.
    """

    score: float
    image: np.ndarray
    world: np.ndarray
    visibility: np.ndarray
    presence: np.ndarray
    roi: Roi
    next_roi: Roi
    mask: np.ndarray

    def mask_in_image(self, height: int, width: int) -> np.ndarray:
        """The soft mask as a (height, width) float32 map of the image, 0..1; 0 outside the region."""
        return np.clip(self.roi.paste(self.mask, height, width), 0.0, 1.0)

    @property
    def box(self) -> np.ndarray:
        """Left, top, right, bottom of all landmarks, pixels."""
        return np.concatenate([self.image[:, :2].min(axis=0), self.image[:, :2].max(axis=0)])


class PersonDetector:
    """Finds people by head and torso.

    Args:
        threads: CPU threads of the network.

    Raises:
        mimo.weights.WeightsError: the network has not been fetched.
    """

    def __init__(self, threads: int = 2) -> None:
        self._network = _Network(weights.path("blazepose-detector"), threads)

    def detect(self, image: np.ndarray, min_score: float = 0.5) -> list[Detection]:
        """People in an image, the surest first.

        The network sees 224 x 224 pixels: people smaller than about a fifth of the long side are missed
        (see `detect_small`).

        Args:
            image: uint8 (height, width, 3) RGB.
            min_score: keep those at least this sure, 0..1.
        """
        return _suppress(self._candidates(image, 0, 0, min_score))

    def detect_small(
        self, image: np.ndarray, min_score: float = 0.5, *, thorough: bool = False
    ) -> list[Detection]:
        """Like `detect`, but looks at overlapping squares of the image too, so finds smaller people.

        The squares have the image's short side, and 0.6 of it if nobody is found in those or if `thorough`.
        """
        height, width = image.shape[:2]
        found = self._candidates(image, 0, 0, min_score)
        for scale in (1.0, 0.6):
            side = round(min(height, width) * scale)
            for top in _steps(height, side):
                for left in _steps(width, side):
                    square = image[top : top + side, left : left + side]
                    found += self._candidates(square, left, top, min_score)
            if found and not thorough:
                break
        return _suppress(found)

    def _candidates(self, image: np.ndarray, left: int, top: int, min_score: float) -> list[Detection]:
        height, width = image.shape[:2]
        side = max(height, width)
        roi = Roi(width / 2, height / 2, side)
        # The detector was trained on plainly subsampled images: smoothed ones lower its scores.
        pixels = roi.crop(image, _DETECTOR_SIDE, most_shrink=8).astype(np.float32) / 127.5 - 1
        outputs = self._network(pixels)
        scores = _sigmoid(outputs[(2254, 1)][:, 0])
        chosen = np.flatnonzero(scores >= min_score)
        # Rows: box centre, box size, then four points; offsets from the anchor in pixels of the network.
        rows = outputs[(2254, 12)][chosen].reshape(-1, 6, 2) / _DETECTOR_SIDE
        rows[:, [0, 2, 3, 4, 5]] += _ANCHORS[chosen, None]
        detections = []
        for score, row in zip(scores[chosen], rows, strict=True):
            points = roi.to_image(row[[0, 2, 3, 4, 5]]) + np.array([left, top])
            half = row[1] * side / 2
            box = np.concatenate([points[0] - half, points[0] + half])
            detections.append(Detection(float(score), box, points[1:]))
        return _blend(detections)


class LandmarkNetwork:
    """Landmarks and mask of the person in a region.

    Args:
        name: ``full``, or ``heavy`` (twice the time; fetched only when asked for).
        threads: CPU threads of the network.

    Raises:
        mimo.weights.WeightsError: the network has not been fetched.
    """

    def __init__(self, name: str = "full", threads: int = 2) -> None:
        self.weights_name = f"blazepose-landmarks-{name}"
        self._network = _Network(weights.path(self.weights_name), threads)

    def run(self, image: np.ndarray, roi: Roi) -> PoseLandmarks:
        """Look at one region.

        Args:
            image: uint8 (height, width, 3) RGB.
            roi: from a detection, a box (`roi_from_box`), or ``next_roi`` of the frame before.
        """
        crop = roi.crop(image, _LANDMARK_SIDE)
        outputs = self._network(crop.astype(np.float32) / 255)
        rows = outputs[(195,)].reshape(39, 5).astype(np.float64)
        unit = _refine(rows[:, :2] / _LANDMARK_SIDE, outputs[(64, 64, 39)])
        points = roi.to_image(unit)
        depth = rows[:, 2:3] / _LANDMARK_SIDE * roi.side
        world = outputs[(117,)].reshape(39, 3)[:33].astype(np.float64)
        cosine, sine = math.cos(roi.angle), math.sin(roi.angle)
        world[:, :2] = world[:, :2] @ np.array([[cosine, sine], [-sine, cosine]])
        return PoseLandmarks(
            score=float(outputs[(1,)][0]),
            image=np.hstack([points, depth])[:33].astype(np.float32),
            world=world.astype(np.float32),
            visibility=_sigmoid(rows[:33, 3]).astype(np.float32),
            presence=_sigmoid(rows[:33, 4]).astype(np.float32),
            roi=roi,
            next_roi=roi_from_circle(points[33], points[34]),
            mask=_sigmoid(outputs[(256, 256, 1)][..., 0]),
        )

    def mask(self, image: np.ndarray, roi: Roi, *, mirrored: bool = False) -> np.ndarray:
        """Only the soft mask of a region, (256, 256) float32 0..1; `mirrored`: seen in a mirror.

        Looks at slightly different regions make independent small errors: their mean is a better mask.
        """
        crop = roi.crop(image, _LANDMARK_SIDE).astype(np.float32) / 255
        if mirrored:
            return np.ascontiguousarray(self._soft_mask(crop[:, ::-1])[:, ::-1])
        return self._soft_mask(crop)

    def _soft_mask(self, crop: np.ndarray) -> np.ndarray:
        return _sigmoid(self._network(np.ascontiguousarray(crop))[(256, 256, 1)][..., 0])

    def run_twice(self, image: np.ndarray, roi: Roi) -> PoseLandmarks:
        """Look at a rough region, then at the region that the first look proposes."""
        return self.run(image, self.run(image, roi).next_roi)


def _refine(points: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
    """Move points to the centre of gravity of their heat map, 7 x 7 cells around them.

    Args:
        points: (39, 2) in the unit square.
        heatmaps: (64, 64, 39) logits.
    """
    cells = heatmaps.shape[0]
    refined = points.copy()
    for number, point in enumerate(points):
        column, row = (point * cells).astype(int)
        if not (0 <= column < cells and 0 <= row < cells):
            continue
        top, left = max(row - 3, 0), max(column - 3, 0)
        heat = _sigmoid(heatmaps[top : row + 4, left : column + 4, number])
        if heat.max() >= 0.5:
            rows, columns = np.mgrid[top : top + heat.shape[0], left : left + heat.shape[1]]
            refined[number] = np.array([(columns * heat).sum(), (rows * heat).sum()]) / heat.sum() / cells
    return refined


def _blend(detections: list[Detection], overlap: float = 0.3) -> list[Detection]:
    """Merge detections whose boxes overlap to their mean, weighted by score (MediaPipe's weighted NMS)."""
    rest = sorted(detections, key=lambda found: -found.score)
    blended = []
    while rest:
        best = rest[0]
        same = [found for found in rest if found is best or _box_iou(best.box, found.box) > overlap]
        rest = [found for found in rest if all(found is not other for other in same)]
        scores = [found.score for found in same]
        box = np.average([found.box for found in same], axis=0, weights=scores)
        points = np.average([found.points for found in same], axis=0, weights=scores)
        blended.append(Detection(best.score, box, points))
    return blended


def _suppress(detections: list[Detection], overlap: float = 0.3) -> list[Detection]:
    """Keep the surest of detections whose boxes overlap, best first."""
    kept: list[Detection] = []
    for candidate in sorted(detections, key=lambda found: -found.score):
        if all(_box_iou(candidate.box, other.box) <= overlap for other in kept):
            kept.append(candidate)
    return kept


def _box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    size = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    common = float(size.prod())
    return common / max(float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - common, 1e-9)


def _steps(length: int, side: int) -> list[int]:
    """Starts of windows of `side` that cover `length` and overlap by about half."""
    count = 1 + math.ceil((length - side) / (side / 2))
    return [round(start) for start in np.linspace(0, length - side, count)]


def _anchors() -> np.ndarray:
    """(2254, 2) anchor centres in the unit square: two a cell at stride 8 and 16, six at 32."""
    layers = []
    for stride, per_cell in ((8, 2), (16, 2), (32, 6)):
        cells = _DETECTOR_SIDE // stride
        rows, columns = np.mgrid[:cells, :cells]
        centres = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) / cells
        layers.append(np.repeat(centres, per_cell, axis=0))
    return np.concatenate(layers)


_ANCHORS = _anchors()


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -80, 80)))


class _Network:
    """A LiteRT network with one image in; outputs by their shape without the batch axis."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        self._threads = threads

    @cached_property
    def _interpreter(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(self._path), num_threads=self._threads)
        interpreter.allocate_tensors()
        return interpreter

    def __call__(self, image: np.ndarray) -> dict[tuple[int, ...], np.ndarray]:
        interpreter = self._interpreter
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        outputs = (interpreter.get_tensor(detail["index"])[0] for detail in interpreter.get_output_details())
        return {output.shape: output for output in outputs}
