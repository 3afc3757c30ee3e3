"""The scene without the subject, as far as a still camera shows it: evidence for the mask's edge.

Where the camera stands still, a pixel behind the person is seen before or after them; comparing it with the
frame tells person from background much more finely than the network's mask does. Where the camera or the
background moves, the comparison shows that too (outside the person) and the evidence is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from video_decomp.segmentation.subject import OUTLINE_CELL, Sighting

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

    def build(self, subject: dict[int, Sighting]) -> Plate:
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


def _cells_of(sighting: Sighting | None, height: int, width: int) -> np.ndarray:
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
    """Sharpen a soft mask's edge by comparing each pixel with the background and the person's colour near by.

    Args:
        plate: cut to the same place as the others.
        lab: (height, width, 3) float32, the frame in OpenCV's 8-bit Lab.
        soft: (height, width) float32 0..1.
        cell: size in pixels of one cell of the network's mask, the scale of its errors.

    Returns:
        (height, width) float32 0..1; as it was where the plate gives no evidence.
    """
    inside = (soft > 0.5).astype(np.uint8)
    background = plate.lab.astype(np.float32)
    far = (cv2.dilate(inside, _square(round(6 * cell))) == 0) & (plate.trust > 0)
    outside = far.astype(np.float32)
    # The light may have changed since: shift the plate by the smooth difference around the person.
    background += _local_mean(lab - background, outside, 12 * cell)
    surprise = _local_mean(_distance(lab, background), outside, 12 * cell)
    core = (cv2.erode(inside, _disc(round(2 * cell))) > 0).astype(np.float32)
    person = _local_mean(lab, core, 3 * cell)
    contrast = _distance(person, background)
    towards = ((lab - background) * (person - background)) @ _WEIGHTS
    alpha = np.clip(towards / np.maximum(contrast**2, 1), 0, 1)
    reach = cv2.dilate(core, _square(round(6 * cell))) > 0
    trust = plate.trust * reach * np.clip(contrast / 40, 0, 1) * np.clip(1.5 - surprise / 12, 0, 1)
    band = _disc(round(2 * cell))
    unsure = (cv2.dilate(inside, band) > cv2.erode(inside, band)) | ((soft > 0.1) & (soft < 0.9))
    return np.where(unsure, soft + trust * (alpha - soft), soft).astype(np.float32)


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
