"""Rasteriser: triangle meshes to images, with perspective-correct attributes and depth, on the CPU.

Depth test and barycentric coordinates come from `cv2.triangleRasterize` (pixel centres at +0.5), one pass
however many attributes there are; attributes are interpolated only where something was hit.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mimo.body.camera import crop_camera, project, scale_camera

NEAREST = 0.05  # metres; what is nearer to the camera is not drawn


@dataclass(frozen=True, eq=False)
class Fragments:
    """What each pixel's centre sees.

    Attributes:
        faces: (height, width) int32, index of the face, -1 where there is none.
        weights: (height, width, 3) float32, perspective-correct weights of the face's corners, 0 where none.
        depth: (height, width) float32 metres along z, infinite where there is none.
    """

    faces: np.ndarray
    weights: np.ndarray
    depth: np.ndarray

    def interpolate(self, attributes: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """Attributes at each pixel.

        Args:
            attributes: (A, N) of vertices or of texture-coordinate corners.
            corners: (F, 3) int rows of `attributes` of each face's corners: the faces, or `face_uv`.

        Returns:
            (height, width, N) float32, 0 where there is no face.
        """
        hit = self.faces >= 0
        image = np.zeros((*hit.shape, attributes.shape[1]), np.float32)
        rows = corners[self.faces[hit]]
        values = np.asarray(attributes, np.float32)
        image[hit] = np.einsum("pc,pcn->pn", self.weights[hit], values[rows], optimize=False)
        return image


@dataclass(frozen=True, eq=False)
class Raster:
    """A drawn mesh.

    Attributes:
        attributes: (height, width, N) float32; averaged over the covered part of the pixel, 0 where none is.
        depth: (height, width) float32 metres, mean of the covered samples, infinite where there are none.
        coverage: (height, width) float32, covered share of the pixel, 0..1.
    """

    attributes: np.ndarray
    depth: np.ndarray
    coverage: np.ndarray


def fragments(
    vertices: np.ndarray, faces: np.ndarray, camera: np.ndarray, size: tuple[int, int] | None = None
) -> Fragments:
    """Find what each pixel sees.

    Args:
        vertices: (V, 3) metres, camera space.
        faces: (F, 3) int32; both sides are drawn.
        camera: (5,), see `mimo.body.camera`.
        size: (height, width) of the image; the camera's by default.
    """
    height, width = size or (round(float(camera[4])), round(float(camera[3])))
    result = Fragments(
        np.full((height, width), -1, np.int32),
        np.zeros((height, width, 3), np.float32),
        np.full((height, width), np.inf, np.float32),
    )
    left, top, right, bottom = bounds(vertices, camera, width, height)
    if right <= left or bottom <= top:
        return result
    window = crop_camera(camera, left, top, right - left, bottom - top)
    values, depth = _draw(vertices, faces, window, right - left, bottom - top)
    hit = values[..., 2] >= 0
    part = (slice(top, bottom), slice(left, right))
    result.faces[part][hit] = np.round(values[hit, 2]).astype(np.int32)
    first, second = values[hit, 0], values[hit, 1]
    result.weights[part][hit] = np.stack([first, second, 1 - first - second], 1)
    result.depth[part][hit] = depth[hit]
    return result


def rasterise(
    vertices: np.ndarray,
    faces: np.ndarray,
    attributes: np.ndarray,
    camera: np.ndarray,
    size: tuple[int, int] | None = None,
    *,
    samples: int = 1,
) -> Raster:
    """Draw a mesh.

    Args:
        vertices: (V, 3) metres, camera space.
        faces: (F, 3) int32; both sides are drawn.
        attributes: (V, N) values of the vertices.
        camera: (5,), see `mimo.body.camera`.
        size: (height, width) of the image; the camera's by default.
        samples: samples a pixel along each axis: 1 is hard-edged, 2 or 3 is smooth.
    """
    height, width = size or (round(float(camera[4])), round(float(camera[3])))
    fine = fragments(vertices, faces, scale_camera(camera, samples), (height * samples, width * samples))
    values = fine.interpolate(attributes, faces)
    hit = fine.faces >= 0
    if samples == 1:
        return Raster(values, fine.depth, hit.astype(np.float32))
    coverage = _block_means(hit[..., None].astype(np.float32), samples)[..., 0]
    depth = _block_means(np.where(hit, fine.depth, 0)[..., None], samples)[..., 0]
    share = np.maximum(coverage, 1e-6)
    return Raster(
        _block_means(values, samples) / share[..., None],
        np.where(coverage > 0, depth / share, np.inf).astype(np.float32),
        coverage,
    )


def _block_means(image: np.ndarray, samples: int) -> np.ndarray:
    """Means of squares of `samples` pixels; (H, W, N) to (H / samples, W / samples, N)."""
    height, width, channels = image.shape
    blocks = image.reshape(height // samples, samples, width // samples, samples, channels)
    return blocks.mean(axis=(1, 3), dtype=np.float32)


def bounds(vertices: np.ndarray, camera: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Window (left, top, right, bottom) that holds the drawn mesh, within the image; or empty."""
    if not len(vertices) or vertices[:, 2].max() <= NEAREST:
        return 0, 0, 0, 0
    if vertices[:, 2].min() <= NEAREST:
        return 0, 0, width, height
    pixels = project(vertices, camera)
    left, top = np.floor(pixels.min(0)).clip(0, (width, height))
    right, bottom = np.ceil(pixels.max(0)).clip(0, (width, height))
    return int(left), int(top), int(right), int(bottom)


def _draw(
    vertices: np.ndarray, faces: np.ndarray, camera: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """One pass of OpenCV's rasteriser.

    Returns:
        (height, width, 3) float32: weights of a face's first two corners and its index, or -1; and the
        depth (height, width).
    """
    focal, x, y = (float(value) for value in camera[:3])
    # OpenCV's camera looks at the image's middle along -z with y up: a shear moves our centre there.
    moved = np.array(vertices, np.float32)
    moved[:, 0] += moved[:, 2] * ((x - width / 2) / focal)
    moved[:, 1] += moved[:, 2] * ((y - height / 2) / focal)
    moved *= np.array([1, -1, -1], np.float32)
    codes = np.zeros((len(faces), 3, 3), np.float32)
    codes[:, 0, 0] = 1
    codes[:, 1, 1] = 1
    codes[:, :, 2] = np.arange(len(faces), dtype=np.float32)[:, None]
    values = np.full((height, width, 3), -1, np.float32)
    far = max(float(vertices[:, 2].max()) * 1.01, 2 * NEAREST)
    depth = np.full((height, width), far, np.float32)
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    cv2.triangleRasterize(
        moved[faces].reshape(-1, 3),
        np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3),
        codes.reshape(-1, 3),
        values,
        depth,
        np.eye(4, dtype=np.float32),
        2 * float(np.arctan(height / 2 / focal)),
        NEAREST,
        far,
        settings,
    )
    return values, depth
