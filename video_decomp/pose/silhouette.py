"""Matches between the outline of the drawn body and the outline of the mask."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from mimo.body.camera import crop_camera, project, scale_camera
from mimo.body.model import BodyModel
from mimo.body.raster import fragments
from video_decomp.pose.objective import Matches
from video_decomp.pose.observations import Outline

DRAWN_HEIGHT = 280  # pixels of the drawn body: one pixel is 0.4 % of the height
NORMAL_WEIGHT = 0.5  # matching: opposite normals count as this part of `reach` times two


@dataclass(frozen=True, eq=False)
class Rim:
    """Outline of the drawn body: vertices, their pixels (N, 2) and outward normals (N, 2)."""

    vertices: np.ndarray
    points: np.ndarray
    normals: np.ndarray


def match(
    bodies: list[np.ndarray],
    body: BodyModel,
    outlines: tuple[Outline, ...],
    camera: np.ndarray,
    reach: float,
    usable: np.ndarray,
) -> Matches:
    """Pair the body's outline with the mask's in every frame, in both directions.

    Args:
        bodies: posed vertices (V, 3) of each frame, camera space.
        body: for faces.
        outlines: the masks' outlines.
        camera: (5,).
        reach: largest distance of a pair, pixels.
        usable: (V,) bool, vertices that may be paired (not the fingers, which are not fitted).
    """
    rows = [
        _pairs(rim(vertices, body.faces, camera, usable), edge, reach)
        for vertices, edge in zip(bodies, outlines, strict=True)
    ]
    width = max([len(row[0]) for row in rows] + [1])
    frames = len(rows)
    result = Matches(
        np.zeros((frames, width), np.int64),
        np.zeros((frames, width, 2)),
        np.zeros((frames, width, 2)),
        np.zeros((frames, width)),
    )
    for number, (vertices, targets, normals) in enumerate(rows):
        count = len(vertices)
        result.vertices[number, :count] = vertices
        result.targets[number, :count] = targets
        result.normals[number, :count] = normals
        result.weights[number, :count] = 1
    return result


def rim(vertices: np.ndarray, faces: np.ndarray, camera: np.ndarray, usable: np.ndarray) -> Rim:
    """Draw the body small and walk around it."""
    pixels = project(vertices, camera)
    low, high = pixels.min(0), pixels.max(0)
    scale = DRAWN_HEIGHT / max(float((high - low).max()), 1.0)
    margin = 4 / scale
    window = crop_camera(camera, low[0] - margin, low[1] - margin, 0, 0)
    side = np.ceil((high - low + 2 * margin) * scale).astype(int)
    small = scale_camera(window, scale)
    drawn = fragments(vertices, faces, small, (int(side[1]), int(side[0])))
    hit = (drawn.faces >= 0).astype(np.uint8)
    chains, _ = cv2.findContours(hit, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    places = [chain[::7, 0] for chain in chains if len(chain) >= 12]
    if not places:
        return Rim(np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 2)))
    place = np.concatenate(places)
    smooth = cv2.GaussianBlur(hit.astype(np.float32), (0, 0), 1.5)
    slope = np.stack([cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)], 2)
    normal = -slope[place[:, 1], place[:, 0]]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    corners = faces[drawn.faces[place[:, 1], place[:, 0]]]
    # Of a face that is just inside, the corner that reaches out furthest.
    outermost = np.einsum("pcx,px->pc", pixels[corners], normal).argmax(1)
    chosen = corners[np.arange(len(corners)), outermost]
    keep = usable[chosen]
    return Rim(chosen[keep], pixels[chosen[keep]], normal[keep])


def _pairs(body: Rim, edge: Outline, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices and the mask's points and normals they belong to."""
    if not len(body.vertices) or not len(edge.points):
        return np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 2))
    stretch = NORMAL_WEIGHT * reach
    body_places = np.hstack([body.points, stretch * body.normals])
    edge_places = np.hstack([edge.points, stretch * edge.normals])
    limit = 1.2 * reach
    outward, to_edge = cKDTree(edge_places).query(body_places, distance_upper_bound=limit)
    inward, to_body = cKDTree(body_places).query(edge_places, distance_upper_bound=limit)
    first, second = np.isfinite(outward), np.isfinite(inward)
    vertices = np.concatenate([body.vertices[first], body.vertices[to_body[second]]])
    chosen = np.concatenate([to_edge[first], np.flatnonzero(second)])
    return vertices, edge.points[chosen], edge.normals[chosen]
