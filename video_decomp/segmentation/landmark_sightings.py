"""People as the BlazePose networks see them, for the backend `mediapipe`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from video_decomp.blazepose import LandmarkNetwork, PersonDetector, PoseLandmarks
from video_decomp.body_region import Landmark, Roi
from video_decomp.segmentation.subject import Sighting, colour_histogram, overlap

_HEAD = (Landmark.NOSE, Landmark.LEFT_EAR, Landmark.RIGHT_EAR)
_HIPS = (Landmark.LEFT_HIP, Landmark.RIGHT_HIP)
_FEET = (
    Landmark.LEFT_ANKLE,
    Landmark.RIGHT_ANKLE,
    Landmark.LEFT_HEEL,
    Landmark.RIGHT_HEEL,
    Landmark.LEFT_FOOT_INDEX,
    Landmark.RIGHT_FOOT_INDEX,
)
MIN_SCORE = 0.5
"""Below this presence score of the landmark network, a region holds no person."""
OUTLINE_CELL = 8
"""Pixels of the image to a cell of a sighting's outline."""


@dataclass(frozen=True)
class LandmarkSighting(Sighting):
    """One person in one frame, with what the landmark network needs to look again.

    Attributes:
        roi: region for the landmark network.
        outline: the rough mask, packed bits of a grid of `OUTLINE_CELL` pixels (see `rough_mask`).
    """

    roi: Roi
    outline: np.ndarray

    def rough_mask(self, height: int, width: int) -> np.ndarray:
        """The person in the image's grid of cells, (height / 8, width / 8) uint8 0 or 1, rounded up."""
        shape = (-(-height // OUTLINE_CELL), -(-width // OUTLINE_CELL))
        return np.unpackbits(self.outline, count=shape[0] * shape[1]).reshape(shape)


def sight(image: np.ndarray, frame: int, landmarks: PoseLandmarks) -> LandmarkSighting | None:
    """Turn what the network saw into a sighting; nothing if it saw no person inside the image."""
    height, width = image.shape[:2]
    mask = landmarks.mask_in_image(height, width) > 0.5
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if landmarks.score < MIN_SCORE or not rows.size:
        return None
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
    area = float((box[2:] - box[:2]).prod()) / (height * width)
    cells = (-(-width // OUTLINE_CELL), -(-height // OUTLINE_CELL))
    rough = cv2.resize(mask.astype(np.uint8) * 255, cells, interpolation=cv2.INTER_AREA) > 0
    return LandmarkSighting(
        frame=frame,
        roi=landmarks.next_roi,
        score=landmarks.score,
        box=box,
        area=area,
        in_full=_in_full(landmarks, width, height),
        colours=person_colours(image, landmarks),
        outline=np.packbits(rough),
    )


def _in_full(landmarks: PoseLandmarks, width: int, height: int) -> bool:
    """Whether head, hips and feet are in the image and not hidden."""
    x, y = landmarks.image[:, 0], landmarks.image[:, 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    seen = inside & (landmarks.visibility > 0.5) & (landmarks.presence > 0.5)
    return all(bool(seen[list(part)].any()) for part in (_HEAD, _HIPS, _FEET))


def person_colours(image: np.ndarray, landmarks: PoseLandmarks) -> np.ndarray:
    """Histogram of the colours of a person's pixels (see `colour_histogram`)."""
    side = 128
    inside = (cv2.resize(landmarks.mask, (side, side)) > 0.5).astype(np.uint8)
    return colour_histogram(landmarks.roi.crop(image, side), inside)


def find_people(
    image: np.ndarray,
    frame: int,
    detector: PersonDetector,
    network: LandmarkNetwork,
    *,
    thorough: bool = False,
    most: int = 6,
) -> list[LandmarkSighting]:
    """People in an image that both networks agree on, the largest first; at most `most`.

    Small people beside a large one are looked for only if `thorough`, at some cost.
    """
    found: list[LandmarkSighting] = []
    for detection in detector.detect_small(image, thorough=thorough)[: 2 * most]:
        sighting = sight(image, frame, network.run_twice(image, detection.roi))
        if sighting and all(overlap(sighting.box, other.box) < 0.6 for other in found):
            found.append(sighting)
    return sorted(found, key=lambda s: -s.area)[:most]
