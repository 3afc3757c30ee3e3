r"""The camera and the ground of a picture, from what is seen: a horizon, and how tall people are.

A pinhole camera without roll whose optical axis goes through the middle of the picture, focal length f
(pixels). Looking down by an angle t, it sees the horizon in the row

    horizon = centre_y - f tan(t),   so   up = (0, -cos t, -sin t)   in camera space.

A person of h metres who stands where a pixel is seen, with the ray
r = ((x - centre_x) / f, (y - centre_y) / f, 1), has the feet at s r and the head at s r + h up. The head is
seen p pixels higher, in the row with Y = (y - p - centre_y) / f, if

    s = h (Y up_z - up_y) / (r_y - Y),   and the camera is   H = -s (r . up)   above the ground.

For a level camera that is H / h = (y - horizon) / p: who stands lower in the picture is larger.
"""

from __future__ import annotations

import numpy as np

from mimo.stage import Rejected
from video_decomp.motion.placing import Ground
from video_decomp.staging.interface import Wishes

LENS = 1.0
"""Focal length in widths of the longer side where nothing is known; a phone has 0.7, a portrait 2."""
HORIZON = 0.45
"""Row of the horizon, in heights of the picture: photographers look a little down."""
EYES = 1.6
"""Metres above the ground at which cameras are held."""
STANDS = 0.9
"""Row, in heights of the picture, where somebody stands by default."""
LOWEST = 0.05
"""Heights of the picture between horizon and feet at least."""
SHARE = 2
"""Heights up to this are in heights of the picture, larger ones in pixels."""


def ground_by_hand(
    size: tuple[int, int], focal: float, wishes: Wishes, pixel: float, person: float
) -> Ground:
    """The ground of a picture, from what is said about it and defaults.

    Args:
        size: width and height.
        focal: focal length, pixels.
        wishes: what is said.
        pixel: pixels of the picture for each of the scene as it was given.
        person: metres, of the person who is put into it.

    Raises:
        Rejected: feet and horizon do not go together.
    """
    width, height = size
    horizon = (HORIZON if wishes.horizon is None else wishes.horizon) * height
    tilt = np.arctan2(height / 2 - horizon, focal)
    camera = np.array([focal, width / 2, height / 2, width, height])
    up = np.array([0.0, -np.cos(tilt), -np.sin(tilt)])
    x, y = spot(size, wishes, pixel)
    if y - horizon < LOWEST * height:
        raise Rejected(
            f"feet in row {y / pixel:.0f}, horizon in row {horizon / pixel:.0f} of the scene: nobody stands "
            "so near the horizon; give `at` lower in the picture, or a higher `horizon`"
        )
    above = EYES
    if wishes.height is not None:
        above = camera_height(camera, up, (x, y), pixels(wishes.height, height, pixel), person)
    return Ground(camera, up, above / wishes.scale)


def spot(size: tuple[int, int], wishes: Wishes, pixel: float) -> tuple[float, float]:
    """Pixel (x, y) of the feet: as said, or in the middle of the lower edge.

    Raises:
        Rejected: it is not in the picture.
    """
    width, height = size
    if wishes.at is None:
        horizon = (HORIZON if wishes.horizon is None else wishes.horizon) * height
        return width / 2, max(STANDS * height, horizon + 2 * LOWEST * height)
    x, y = (value * pixel for value in wishes.at)
    if not (0 <= x <= width and 0 <= y <= height):
        raise Rejected(
            f"at {list(wishes.at)}: not in the scene of {width / pixel:.0f}x{height / pixel:.0f} pixels"
        )
    return x, y


def pixels(wish: float, height: int, pixel: float) -> float:
    """A person's height in pixels of the picture, which is `height` pixels high."""
    return wish * height if wish <= SHARE else wish * pixel


def camera_height(
    camera: np.ndarray, up: np.ndarray, at: tuple[float, float], tall: float, person: float
) -> float:
    """Metres of a camera above the ground, from how tall somebody is seen; see the module's formulas.

    Args:
        camera: (5,).
        up: (3,) camera space.
        at: pixel of the feet.
        tall: pixels from the feet up to the head.
        person: metres of whoever stands there.

    Raises:
        Rejected: nobody can be seen so.
    """
    ray = np.array([*((np.array(at) - camera[1:3]) / camera[0]), 1.0])
    top = (at[1] - tall - camera[2]) / camera[0]
    away = person * (top * up[2] - up[1]) / (ray[1] - top)
    above = -away * float(ray @ up)
    if away <= 0 or above <= 0:
        raise Rejected(
            f"a person of {tall:.0f} pixels with feet in row {at[1]:.0f}: impossible with this horizon; give "
            "another height, at or horizon"
        )
    return float(above)
