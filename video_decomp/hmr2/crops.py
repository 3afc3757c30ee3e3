"""From pictures to the networks' square crops, and from their cameras to the picture's, as in 4D-Humans."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 256
FOCAL = 5000.0
"""Focal length in pixels of a picture as large as a crop: nearly weak perspective."""
ASPECT = 192 / 256
PADDING = 0.01
MASK_INSIDE = 127
GAP, SPECK = np.ones((5, 5), np.uint8), np.ones((2, 2), np.uint8)


@dataclass(frozen=True)
class Square:
    """A square part of a picture, which may reach beyond it.

    Attributes:
        x, y: its centre, pixels.
        side: pixels.
        mirrored: read from right to left.
    """

    x: float
    y: float
    side: float
    mirrored: bool = False


def person_box(mask: np.ndarray) -> np.ndarray | None:
    """Box (4,) left, top, right, bottom around a person, with 1% more at each side; None where there is none.

    Args:
        mask: (h, w) uint8; single pixels do not count.
    """
    inside = cv2.morphologyEx((mask > MASK_INSIDE).astype(np.uint8), cv2.MORPH_CLOSE, GAP)
    # Opened by 2 x 2 pixels; with one anchor for both steps OpenCV would shift what is left.
    inside = cv2.dilate(cv2.erode(inside, SPECK, anchor=(0, 0)), SPECK, anchor=(1, 1))
    left, top, width, height = cv2.boundingRect(inside)
    if not width:
        return None
    across, down = int(PADDING * width), int(PADDING * height)
    return np.array(
        [
            max(0, left - across),
            max(0, top - down),
            min(mask.shape[1], left + width + across),
            min(mask.shape[0], top + height + down),
        ],
        np.float64,
    )


def square_around(box: np.ndarray, scale: float = 1.0, mirrored: bool = False) -> Square:
    """The square whose middle three quarters hold a box (4,), scaled about its centre."""
    left, top, right, bottom = (float(value) for value in box)
    side = scale * max(bottom - top, (right - left) / ASPECT)
    return Square((left + right) / 2, (top + bottom) / 2, max(side, 1.0), mirrored)


def cut(image: np.ndarray, square: Square) -> np.ndarray:
    """A square resampled to (256, 256, 3), black outside the picture; uint8, float32 where it was smoothed.

    Large squares are smoothed first against aliasing, as much as 4D-Humans does.

    Args:
        image: (h, w, 3) uint8.
    """
    factor = SIDE / square.side
    sigma = (square.side / SIDE / 2 - 1) / 2
    if sigma > 0.05:
        image, square = _smoothed(image, square, sigma)
    across = -factor if square.mirrored else factor
    matrix = np.array(
        [[across, 0, SIDE / 2 - across * square.x], [0, factor, SIDE / 2 - factor * square.y]], np.float64
    )
    return np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR))


def _smoothed(image: np.ndarray, square: Square, sigma: float) -> tuple[np.ndarray, Square]:
    """The part of the picture around a square, smoothed, float32; and the square in it."""
    radius = int(4 * sigma + 0.5)
    reach = square.side / 2 + radius + 2
    left, top = max(0, int(square.x - reach)), max(0, int(square.y - reach))
    part = image[top : max(0, int(square.y + reach)) + 1, left : max(0, int(square.x + reach)) + 1]
    if part.size and radius:
        kernel = (2 * radius + 1, 2 * radius + 1)
        part = cv2.GaussianBlur(part.astype(np.float32), kernel, sigma, borderType=cv2.BORDER_REPLICATE)
    elif not part.size:
        part, left, top = image, 0, 0
    return part, Square(square.x - left, square.y - top, square.side, square.mirrored)


def picture_camera(width: int, height: int) -> np.ndarray:
    """The picture's camera (5,) float32 as 4D-Humans assumes it; see `mimo.body.camera`."""
    return np.array([FOCAL / SIDE * max(width, height), width / 2, height / 2, width, height], np.float32)


def in_picture(cameras: np.ndarray, squares: list[Square], camera: np.ndarray) -> np.ndarray:
    """Translations (N, 3) float64, metres, that put a crop's body into the picture's camera space.

    Args:
        cameras: (N, 3) weak-perspective cameras of the network.
        squares: the N crops' squares.
        camera: (5,) the picture's.
    """
    focal, middle_x, middle_y = (float(value) for value in camera[:3])
    places = np.array([[square.x, square.y, square.side] for square in squares]).reshape(-1, 3)
    # A person who fills less than a twentieth of the own box cannot be.
    size = places[:, 2] * np.maximum(cameras[:, 0], 0.05)
    return np.stack(
        [
            2 * (places[:, 0] - middle_x) / size + cameras[:, 1],
            2 * (places[:, 1] - middle_y) / size + cameras[:, 2],
            2 * focal / size,
        ],
        1,
    )
