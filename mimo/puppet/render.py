"""Draw the puppet with smooth edges, and its shadow on the ground."""

from __future__ import annotations

import cv2
import numpy as np

from mimo.body.camera import crop_camera, project, scale_camera
from mimo.body.model import BodyModel
from mimo.body.raster import fragments
from mimo.composition.layers import Layer, shadow_layer
from mimo.puppet.light import shade
from mimo.puppet.surface import incidence, vertex_normals

MARGIN = 12
"""Pixels around the drawn body, for blur."""


class Renderer:
    """Draws one textured body again and again.

    Args:
        body: topology is taken from here.
        texture: uint8 (side, side, 3), row 0 at v = 0.
        camera: (5,) of the video.
        samples: samples per pixel along each axis.
    """

    def __init__(self, body: BodyModel, texture: np.ndarray, camera: np.ndarray, samples: int) -> None:
        self._body = body
        self._camera = camera
        self._samples = samples
        self._levels = [texture]
        while len(self._levels[-1]) > 256:
            self._levels.append(
                cv2.resize(self._levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            )
        self._unfolded = _area(body.uv, body.face_uv)
        self._vertex_of = np.zeros(len(body.uv), int)
        self._vertex_of[body.face_uv.ravel()] = body.faces.ravel()
        self._corners = incidence(body.faces, len(body.rest_vertices)).astype(np.float32)

    def draw(self, points: np.ndarray, light: np.ndarray) -> Layer | None:
        """Draw the posed body.

        Args:
            points: (V, 3) camera space, metres.
            light: (3,) light direction coefficients.

        Returns:
            The layer, or None when the body is outside the picture.
        """
        box = self._box(points)
        if box is None:
            return None
        left, top, right, bottom = box
        window = scale_camera(crop_camera(self._camera, left, top, right - left, bottom - top), self._samples)
        seen = fragments(points, self._body.faces, window)
        hit = seen.faces >= 0
        normals = vertex_normals(points, self._body.faces, self._corners)
        bright = shade(normals, light)[self._vertex_of]
        values = seen.interpolate(np.column_stack([self._body.uv, bright]), self._body.face_uv)
        texture = self._level(points, window)
        side = len(texture)
        x, y = values[..., 0] * side - 0.5, values[..., 1] * side - 0.5
        colour = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(
            np.float32
        )
        colour *= values[..., 2:]
        size = (right - left, bottom - top)
        return Layer(
            left,
            top,
            cv2.resize(colour, size, interpolation=cv2.INTER_AREA),
            cv2.resize(hit.astype(np.float32), size, interpolation=cv2.INTER_AREA),
        )

    def _level(self, points: np.ndarray, window: np.ndarray) -> np.ndarray:
        """The texture at the size that has about one texel a sample."""
        drawn = _area(project(points, window), self._body.faces) / 2  # front and back
        texels = np.sqrt(self._unfolded * len(self._levels[0]) ** 2 / 2 / max(drawn, 1.0))
        level = int(np.clip(np.floor(np.log2(max(texels, 1.0)) + 0.3), 0, len(self._levels) - 1))
        return self._levels[level]

    def _box(self, points: np.ndarray) -> tuple[int, int, int, int] | None:
        """Left, top, right, bottom of the drawn part of the picture."""
        ahead = points[points[:, 2] > 0.1]
        if not len(ahead):
            return None
        pixels = project(ahead, self._camera)
        size = self._camera[3:5]
        low = np.clip(np.floor(pixels.min(axis=0)) - MARGIN, 0, size).astype(int)
        high = np.clip(np.ceil(pixels.max(axis=0)) + MARGIN, 0, size).astype(int)
        if (high - low).min() < 2:
            return None
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _area(points: np.ndarray, faces: np.ndarray) -> float:
    """Sum of the areas of triangles in the plane."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    u, v = b - a, c - a
    return float(np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]).sum() / 2)


def feet(body: BodyModel) -> list[np.ndarray]:
    """Vertex numbers of the left and the right foot."""
    foot = body.topology.parts == body.topology.part_names.index("foot")
    left = body.topology.mean_vertices[:, 0] > 0
    return [np.flatnonzero(foot & left), np.flatnonzero(foot & ~left)]


def contact_shadow(
    points: np.ndarray,
    feet: list[np.ndarray],
    up: np.ndarray,
    ground: float,
    camera: np.ndarray,
    strength: float,
) -> Layer | None:
    """Soft shadow where the feet are near the ground, and a faint one under the body.

    Args:
        points: (V, 3) posed body, camera space, metres.
        feet: vertex numbers of each foot.
        up: (3,) normal of the ground.
        ground: n . x of the ground.
        camera: (5,).
        strength: how dark it is at most, 0..1.

    Returns:
        The shadow, or None when it is outside the picture.
    """
    metre = float(camera[0] / np.median(points[:, 2]))
    blobs = []
    for foot in feet:
        height = points[foot] @ up - ground
        blobs.append((points[foot] - height[:, None] * up, float(np.exp(-max(height.min(), 0) / 0.07))))
    middle = points.mean(axis=0)
    middle = middle - (middle @ up - ground) * up
    side = np.cross(up, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    turn = np.linspace(0, 2 * np.pi, 24)[:, None]
    blobs.append((middle + 0.28 * (np.cos(turn) * side + np.sin(turn) * np.cross(side, up)), 0.35))
    outlines = [(project(blob, camera), dark) for blob, dark in blobs]
    every = np.concatenate([outline for outline, _ in outlines])
    reach = 0.25 * metre
    low = np.clip(np.floor(every.min(axis=0) - reach), 0, camera[3:5]).astype(int)
    high = np.clip(np.ceil(every.max(axis=0) + reach), 0, camera[3:5]).astype(int)
    if (high - low).min() < 2:
        return None
    light = np.ones((high[1] - low[1], high[0] - low[0]), np.float32)
    for number, (outline, dark) in enumerate(outlines):
        blob = np.zeros_like(light)
        hull = cv2.convexHull(((outline - low) * 16).astype(np.int32))
        cv2.fillConvexPoly(blob, hull, 1.0, lineType=cv2.LINE_AA, shift=4)
        soft = 0.1 if number == len(feet) else 0.03
        light *= 1 - dark * cv2.GaussianBlur(blob, (0, 0), max(soft * metre, 0.8))
    return shadow_layer(int(low[0]), int(low[1]), strength * (1 - light))
