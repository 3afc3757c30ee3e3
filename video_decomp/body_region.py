"""The region of a person that BlazePose's networks look at, and the landmarks that they find in it.

Image coordinates are continuous pixels: pixel (x, y) covers [x, x+1) x [y, y+1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np

Landmark = IntEnum(
    "Landmark",
    "NOSE LEFT_EYE_INNER LEFT_EYE LEFT_EYE_OUTER RIGHT_EYE_INNER RIGHT_EYE RIGHT_EYE_OUTER LEFT_EAR "
    "RIGHT_EAR MOUTH_LEFT MOUTH_RIGHT LEFT_SHOULDER RIGHT_SHOULDER LEFT_ELBOW RIGHT_ELBOW LEFT_WRIST "
    "RIGHT_WRIST LEFT_PINKY RIGHT_PINKY LEFT_INDEX RIGHT_INDEX LEFT_THUMB RIGHT_THUMB LEFT_HIP RIGHT_HIP "
    "LEFT_KNEE RIGHT_KNEE LEFT_ANKLE RIGHT_ANKLE LEFT_HEEL RIGHT_HEEL LEFT_FOOT_INDEX RIGHT_FOOT_INDEX",
    start=0,
)
"""Numbers of the landmarks; left and right are the person's own."""

_ROI_MARGIN = 1.25  # the graph's scale_x and scale_y: the network expects this much room around the body


@dataclass(frozen=True)
class Roi:
    """A rotated square of the image, as the landmark network wants it: the person upright, hips central.

    Attributes:
        x, y: centre, pixels.
        side: length of a side, pixels.
        angle: clockwise rotation of the person as seen in the image, radians.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Map (N, 2) points from the unit square of the region (0..1) to image pixels."""
        offset = (points - 0.5) * self.side
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        rotation = np.array([[cosine, sine], [-sine, cosine]])
        return offset @ rotation + (self.x, self.y)

    def grid_to_image(self, side: int) -> np.ndarray:
        """(2, 3) matrix for `cv2.warpAffine`: pixel indices of the region at `side` to those of the image."""
        corners = self.to_image(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        across, down = (corners[1] - corners[0]) / side, (corners[2] - corners[0]) / side
        linear = np.stack([across, down], axis=1)
        return np.hstack([linear, (corners[0] + linear @ (0.5, 0.5) - 0.5)[:, None]])

    def crop(self, image: np.ndarray, side: int, *, most_shrink: float = 2.0) -> np.ndarray:
        """The region cut out of the image at `side` x `side`; outside the image it is black.

        The image is halved first while the region is more than `most_shrink` times as large as asked,
        against aliasing.
        """
        matrix = self.grid_to_image(side)
        scale = 1.0
        while self.side * scale > most_shrink * side:
            image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            scale /= 2
        matrix = matrix * scale
        matrix[:, 2] += 0.5 * scale - 0.5
        return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)

    def paste(self, patch: np.ndarray, height: int, width: int) -> np.ndarray:
        """Warp a square (S, S) map of the region into an image of zeros, (height, width), same type."""
        pasted = np.zeros((height, width), patch.dtype)
        corners = self.to_image(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width, height))
        right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, (width, height))
        if left < right and top < bottom:
            matrix = self.grid_to_image(patch.shape[0])
            matrix[:, 2] -= (left, top)
            size = (int(right - left), int(bottom - top))
            pasted[top:bottom, left:right] = cv2.warpAffine(patch, matrix, size, flags=cv2.INTER_CUBIC)
        return pasted


def roi_from_box(left: float, top: float, right: float, bottom: float) -> Roi:
    """Region for an upright person of which only the bounding box is known, pixels."""
    return Roi((left + right) / 2, (top + bottom) / 2, _ROI_MARGIN * max(right - left, bottom - top))


def roi_from_landmarks(image: np.ndarray) -> Roi:
    """Region from 33 landmarks, (33, 2 or more) pixels: a circle about the hips that holds all of them.

    For landmarks that were smoothed, interpolated or come from elsewhere; right after a look at the frame
    before, `PoseLandmarks.next_roi` is better.
    """
    points = np.asarray(image, dtype=np.float64)[:, :2]
    hips = points[[Landmark.LEFT_HIP, Landmark.RIGHT_HIP]].mean(axis=0)
    shoulders = points[[Landmark.LEFT_SHOULDER, Landmark.RIGHT_SHOULDER]].mean(axis=0)
    up = shoulders - hips
    reach = np.linalg.norm(points - hips, axis=1).max()
    return roi_from_circle(hips, hips + up / max(np.linalg.norm(up), 1e-6) * reach)


def roi_from_circle(centre: np.ndarray, end: np.ndarray) -> Roi:
    """Region around the circle through `end`, which is straight above the centre for an upright person."""
    across, down = end - centre
    angle = math.pi / 2 - math.atan2(-down, across)
    return Roi(
        float(centre[0]),
        float(centre[1]),
        2 * _ROI_MARGIN * math.hypot(across, down),
        math.remainder(angle, 2 * math.pi),
    )
