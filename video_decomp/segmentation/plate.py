"""The scene without the subject, as far as a still camera shows it: evidence for the mask's edge.

Where the camera stands still, a pixel behind the person is seen before or after them; comparing it with the
frame tells person from background much more finely than the network's mask does. Where the camera or the
background moves, the comparison shows that too (outside the person) and the evidence is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from video_decomp.segmentation.landmark_sightings import OUTLINE_CELL, LandmarkSighting

_MOST_FRAMES = 16
_LEAST_VIEWS = 2  # a background pixel must be seen in this many key frames
_WEIGHTS = np.array([1, 2, 2], np.float32)  # of squared differences in L, a, b: shadows change L most


@dataclass(frozen=True)
class Plate:
    """The background.

    Attributes:
        lab: (height, width, 3) uint8, CIE Lab as OpenCV scales it.
        trust: (height, width) float32 0..1: seen often enough, and the same every time.
    """

    lab: np.ndarray
    trust: np.ndarray


class PlateBuilder:
    """Collects key frames, at most 16 spread over the clip so far, and takes their median."""

    def __init__(self) -> None:
        self._frames: list[tuple[int, np.ndarray]] = []
        self._stride = 1
        self._offered = 0

    def offer(self, index: int, image: np.ndarray) -> None:
        """Take a key frame, uint8 (height, width, 3) RGB; every second one is dropped when full."""
        if self._offered % self._stride == 0:
            self._frames.append((index, image))
        self._offered += 1
        if len(self._frames) > _MOST_FRAMES:
            self._frames = self._frames[::2]
            self._stride *= 2

    def build(self, subject: dict[int, LandmarkSighting]) -> Plate:
        """Median of the frames without the subject.

        Args:
            subject: the sightings to leave out, by frame index.
        """
        height, width = self._frames[0][1].shape[:2]
        lab = np.empty((height, width, 3), np.uint8)
        trust = np.empty((height, width), np.float32)
        hidden = [_cells_of(subject.get(index), height, width) for index, _ in self._frames]
        frames = [image for _, image in self._frames]
        for top in range(0, height, 8 * OUTLINE_CELL):
            rows = slice(top, min(top + 8 * OUTLINE_CELL, height))
            cells = slice(top // OUTLINE_CELL, -(-rows.stop // OUTLINE_CELL))
            lab[rows], trust[rows] = _median(
                np.stack([frame[rows] for frame in frames]), np.stack([mask[cells] for mask in hidden])
            )
        return Plate(cv2.cvtColor(lab, cv2.COLOR_RGB2LAB), trust)


def _cells_of(sighting: LandmarkSighting | None, height: int, width: int) -> np.ndarray:
    """Cells to leave out: the person and a margin of a twentieth of their height; uint8 0 or 1."""
    if sighting is None:
        return np.zeros((-(-height // OUTLINE_CELL), -(-width // OUTLINE_CELL)), np.uint8)
    margin = 2 + round(sighting.height / 20 / OUTLINE_CELL)
    return cv2.dilate(sighting.rough_mask(height, width), _disc(margin))


def _median(frames: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median of what is not hidden, and trust in it.

    Args:
        frames: (N, rows, width, 3) uint8; changed in place.
        hidden: (N, rows / 8 rounded up, width / 8 rounded up) uint8.
    """
    rows, width = frames.shape[1:3]
    mask = hidden.repeat(OUTLINE_CELL, axis=1)[:, :rows].repeat(OUTLINE_CELL, axis=2)[:, :, :width] > 0
    frames[mask] = 255  # sorts last
    seen = (~mask).sum(axis=0)
    frames.sort(axis=0)

    def quantile(share: float) -> np.ndarray:
        place = ((np.maximum(seen, 1) - 1) * share).astype(np.intp)
        return np.take_along_axis(frames, place[None, :, :, None], axis=0)[0]

    spread = quantile(0.75).astype(np.float32) - quantile(0.25)
    trust = np.clip(1.5 - spread.mean(axis=-1) / 16, 0, 1) * (seen >= _LEAST_VIEWS)
    return quantile(0.5), trust.astype(np.float32)


def apply_plate(plate: Plate, lab: np.ndarray, soft: np.ndarray, cell: float) -> np.ndarray:
    """Correct a soft mask by comparing each pixel with the background.

    Args:
        plate: cut to the same place as the others.
        lab: (height, width, 3) uint8, the frame in OpenCV's Lab.
        soft: (height, width) float32 0..1.
        cell: size in pixels of one cell of the network's mask, the scale of its errors.

    Returns:
        (height, width) float32 0..1; as it was where the plate gives no evidence.
    """
    inside = (soft > 0.5).astype(np.uint8)
    far = (cv2.dilate(inside, _square(round(6 * cell))) == 0) & (plate.trust > 0)
    outside = far.astype(np.float32)
    colours = lab.astype(np.float32)
    # The light may have changed since: shift the plate by the smooth difference around the person.
    background = plate.lab.astype(np.float32)
    background += _local_mean(colours - background, outside, 12 * cell)
    change = _distance(colours, background)
    still = np.clip(1.5 - _local_mean(change, outside, 12 * cell) / 12, 0, 1)
    trust = plate.trust * still
    soft = soft * (1 - _uncovered(colours, background, change, cell) * trust)
    return _sharpen(colours, background, soft, trust, cell)


def _uncovered(colours: np.ndarray, background: np.ndarray, change: np.ndarray, cell: float) -> np.ndarray:
    """Where the background is seen: its texture is there (normalised cross-correlation), and its colours.

    Colours alone would take bites out of a person dressed like the background; its texture is not on clothes.

    Returns:
        (height, width) float32, 0 (nothing said) to 1 (background).
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), 1.5 * cell)

    here, there = np.ascontiguousarray(colours[..., 0]), np.ascontiguousarray(background[..., 0])
    mean_here, mean_there = mean(here), mean(there)
    variance_here = np.maximum(mean(here * here) - mean_here**2, 0)
    variance_there = np.maximum(mean(there * there) - mean_there**2, 0)
    covariance = mean(here * there) - mean_here * mean_there
    correlation = covariance / np.sqrt((variance_here + 4) * (variance_there + 4))
    textured = np.clip((correlation - 0.6) / 0.2, 0, 1)
    return textured * np.clip(2 - mean(change) / 10, 0, 1)


def _sharpen(
    colours: np.ndarray, background: np.ndarray, soft: np.ndarray, trust: np.ndarray, cell: float
) -> np.ndarray:
    """Near the mask's edge: how far each pixel is from the background towards the person's colour near by."""
    inside = (soft > 0.5).astype(np.uint8)
    core = (cv2.erode(inside, _disc(round(2 * cell))) > 0).astype(np.float32)
    person = _local_mean(colours, core, 3 * cell)
    contrast = _distance(person, background)
    towards = ((colours - background) * (person - background)) @ _WEIGHTS
    alpha = np.clip(towards / np.maximum(contrast**2, 1), 0, 1)
    reach = cv2.dilate(core, _square(round(6 * cell))) > 0
    weight = trust * reach * np.clip(contrast / 40, 0, 1)
    band = _disc(round(2 * cell))
    unsure = (cv2.dilate(inside, band) > cv2.erode(inside, band)) | ((soft > 0.1) & (soft < 0.9))
    return np.where(unsure, soft + weight * (alpha - soft), soft).astype(np.float32)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt((a - b) ** 2 @ _WEIGHTS)


def _local_mean(values: np.ndarray, weights: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean of (height, width[, C]) float32 values where the weights are, on fewer pixels."""
    step = max(1.0, sigma / 3)
    small = (max(1, round(weights.shape[1] / step)), max(1, round(weights.shape[0] / step)))
    weighted = values * (weights[..., None] if values.ndim == 3 else weights)

    def blur(field: np.ndarray) -> np.ndarray:
        shrunk = cv2.resize(field, small, interpolation=cv2.INTER_AREA)
        return cv2.resize(cv2.GaussianBlur(shrunk, (0, 0), sigma / step), weights.shape[::-1])

    total, weight = blur(weighted), np.maximum(blur(weights), 1e-4)
    return total / (weight[..., None] if values.ndim == 3 else weight)


def _square(radius: int) -> np.ndarray:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def _disc(radius: int) -> np.ndarray:
    size = 2 * max(1, radius) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
