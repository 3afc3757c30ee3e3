"""Warp the fitted body so that its silhouette is that of the person in the picture.

After Weng, Curless and Kemelmacher-Shlizerman, "Photo Wake-Up: 3D Character Animation from a Single Photo"
(CVPR 2019), section 4: the fitted body is warped to the picture's mask, so that clothes and hair become part
of the surface. They match boundaries and warp maps in the picture plane; here outlines are matched by
position and direction, and the displacement spreads over the *surface*, so that an arm before the torso
moves by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from mimo.body.camera import scale_camera
from mimo.body.raster import fragments
from mimo.puppet.surface import incidence, laplacian, nearest_on_main_piece, solve, vertex_normals

WORKING_HEIGHT = 560
"""Height of the person in pixels at which outlines are compared."""


@dataclass(frozen=True)
class Alignment:
    """The warped body.

    Attributes:
        vertices: (V, 3) camera space, metres.
        overlap_before, overlap: intersection over union of the silhouette and the mask.
    """

    vertices: np.ndarray
    overlap_before: float
    overlap: float


@dataclass(frozen=True)
class Schedule:
    """One step of the warp: how far outlines may lie apart, and the length below which it is smooth."""

    reach: float
    smooth: float


STEPS = (
    Schedule(0.12, 0.14),
    Schedule(0.10, 0.10),
    Schedule(0.08, 0.07),
    Schedule(0.07, 0.05),
    Schedule(0.06, 0.035),
    Schedule(0.05, 0.025),
    Schedule(0.05, 0.02),
)
"""Lengths in units of the person's height in the picture."""
THICKEN = 0.8
"""How much of the outline's gain the surface gains in depth."""


def align(
    vertices: np.ndarray,
    faces: np.ndarray,
    camera: np.ndarray,
    mask: np.ndarray,
    rigid: np.ndarray,
    loose: np.ndarray,
) -> Alignment:
    """Warp a body to a mask.

    Args:
        vertices: (V, 3) fitted body, camera space, metres.
        faces: (F, 3).
        camera: (5,) of the picture.
        mask: uint8 (H, W), 255 = person.
        rigid: (V,) 0..1, parts that keep their form and only move along (hands, feet).
        loose: (V,) how far clothes or hair may stand off, in units of the usual (`STEPS`).
    """
    height = np.ptp(np.flatnonzero((mask > 127).any(axis=1))) + 1
    scale = WORKING_HEIGHT / height
    small = scale_camera(camera, scale)
    size = (int(small[3]), int(small[4]))
    target = _largest(cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127)
    points = vertices.astype(np.float64)
    metre = np.median(points[:, 2]) / small[0]  # length of one working pixel at the body
    stiffness, area = laplacian(points / metre, faces, 1 + 60 * rigid[faces].mean(axis=1))
    bending = stiffness @ sparse.diags(1 / area) @ stiffness
    attach = nearest_on_main_piece(points, faces)
    moved = np.zeros((len(points), 2))
    before = _overlap(points, faces, small, target)
    for step in STEPS:
        rows, goals, weights = _matches(
            _shifted(points, moved, small), faces, small, target, step.reach * loose
        )
        goals += rows @ moved
        data = rows.T @ sparse.diags(weights)
        smooth = (step.smooth * WORKING_HEIGHT) ** 3
        system = data @ rows + smooth * bending + 1e-2 * stiffness + 1e-6 * sparse.eye(len(points))
        moved = solve(system, data @ goals)[attach]
    warped = _shifted(points, moved, small)
    rim = np.minimum(np.asarray(rows.T @ weights).ravel(), 1)
    normals = _smooth_normals(points, faces, stiffness, area, 0.02 / metre)
    gained = rim * (moved * normals[:, :2]).sum(axis=1)
    spread = solve(stiffness + sparse.diags(rim + 1e-3 * rigid + 1e-6), gained)
    # Clothes and hair have depth: what the outline gained sideways, the surface gains in depth too.
    warped[:, 2] += THICKEN * (1 - rigid) * spread * normals[:, 2] * points[:, 2] / small[0]
    warped = warped[attach]
    warped[attach != np.arange(len(points))] += (points - points[attach])[attach != np.arange(len(points))]
    return Alignment(warped.astype(np.float32), before, _overlap(warped, faces, small, target))


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece, specks and pinholes removed."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    clean = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(clean, connectivity=8)
    if count < 2:
        return mask
    return labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()


def _overlap(points: np.ndarray, faces: np.ndarray, camera: np.ndarray, target: np.ndarray) -> float:
    """Intersection over union of a body's silhouette with a mask."""
    covered = fragments(points, faces, camera).faces >= 0
    return float((covered & target).sum() / max((covered | target).sum(), 1))


def _shifted(points: np.ndarray, moved: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Points displaced by (V, 2) pixels in the picture plane, at their depth."""
    result = points.copy()
    result[:, :2] += moved * points[:, 2:] / camera[0]
    return result


def _outline(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Border pixels (N, 2) as x, y and their outward unit normals (N, 2); holes count too."""
    solid = mask.astype(np.uint8)
    border = mask & (cv2.erode(solid, np.ones((3, 3), np.uint8), borderValue=0) == 0)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2.5)
    rows, columns = np.nonzero(border)
    normals = -np.stack(
        [cv2.Sobel(soft, cv2.CV_32F, 1, 0)[border], cv2.Sobel(soft, cv2.CV_32F, 0, 1)[border]], axis=1
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.stack([columns, rows], axis=1).astype(np.float64), normals / np.maximum(length, 1e-9)


def _matches(
    points: np.ndarray, faces: np.ndarray, camera: np.ndarray, target: np.ndarray, reach: np.ndarray
) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Where the body's outline should go.

    Returns:
        (M, V) matrix that takes the outline's places from the vertices, (M, 2) displacements in pixels
        still missing there, and (M,) weights.
    """
    seen = fragments(points, faces, camera).faces
    body_at, body_normal = _outline(seen >= 0)
    mask_at, mask_normal = _outline(target)
    own_face = seen[body_at[:, 1].astype(int), body_at[:, 0].astype(int)]
    turn = 0.07 * WORKING_HEIGHT  # a quarter turn counts as about this distance
    body_tree = cKDTree(np.hstack([body_at, turn * body_normal]))
    mask_tree = cKDTree(np.hstack([mask_at, turn * mask_normal]))
    to_mask = mask_tree.query(body_tree.data)[1]
    to_body = body_tree.query(mask_tree.data)[1]
    source = np.concatenate([np.arange(len(body_at)), to_body])
    goal = np.concatenate([to_mask, np.arange(len(mask_at))])
    gap = mask_at[goal] - body_at[source]
    normal = mask_normal[goal]
    weight = np.where((body_normal[source] * normal).sum(axis=1) > 0.4, 1.0, 0.0)
    corners = faces[own_face[source]]
    weight *= np.linalg.norm(gap, axis=1) < reach[corners[:, 0]] * WORKING_HEIGHT
    # The picture's frame cuts people off: its border is no outline of the person.
    inside = (mask_at[goal] > 1).all(axis=1) & (mask_at[goal] < np.array(target.shape[::-1]) - 2).all(axis=1)
    weight *= inside
    # Along the outline the match is arbitrary: only a fifth of that part of the gap is asked for.
    across = normal * (gap * normal).sum(axis=1, keepdims=True)
    kept = weight > 0
    corners = corners[kept]
    rows = np.repeat(np.arange(kept.sum()), 3)
    shape = (int(kept.sum()), len(points))
    matrix = sparse.csr_matrix((np.full(corners.size, 1 / 3), (rows, corners.ravel())), shape=shape)
    return matrix, (across + 0.2 * (gap - across))[kept], weight[kept]


def _smooth_normals(
    points: np.ndarray, faces: np.ndarray, stiffness: sparse.csr_matrix, area: np.ndarray, length: float
) -> np.ndarray:
    """(V, 3) normals without lips, fingers and other detail smaller than `length` (working pixels)."""
    normals = vertex_normals(points, faces, incidence(faces, len(points)))
    smooth = solve(sparse.diags(area) + length**2 * stiffness, area[:, None] * normals)
    return smooth / np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-9)
