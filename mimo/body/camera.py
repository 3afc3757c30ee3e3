"""Pinhole cameras as arrays (5,): focal length, centre x, centre y, width, height, all in pixels.

Camera space: metres, x right, y down, z away. Pixel (x, y) covers [x, x+1) x [y, y+1).
"""

from __future__ import annotations

import numpy as np


def project(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Image positions of points in front of the camera.

    Args:
        points: (..., 3) metres, camera space.
        camera: (5,).

    Returns:
        (..., 2) pixels.
    """
    return points[..., :2] / points[..., 2:] * camera[0] + camera[1:3]


def crop_camera(camera: np.ndarray, left: float, top: float, width: int, height: int) -> np.ndarray:
    """The camera of a window of the image, which may reach beyond it."""
    focal, x, y = camera[:3]
    return np.array([focal, x - left, y - top, width, height], np.float32)


def scale_camera(camera: np.ndarray, scale: float) -> np.ndarray:
    """The camera of the image resized by a factor; width and height are rounded."""
    scaled = np.asarray(camera, np.float32) * np.float32(scale)
    scaled[3:] = np.maximum(np.round(scaled[3:]), 1)
    return scaled
