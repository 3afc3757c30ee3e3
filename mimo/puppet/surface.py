"""Sparse operators on a triangle mesh, and smooth interpolation of values known at some places of it."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree


def incidence(faces: np.ndarray, count: int) -> sparse.csr_matrix:
    """(count, F) matrix that sums values of triangles at their corners."""
    columns = np.repeat(np.arange(len(faces)), 3)
    return sparse.csr_matrix((np.ones(faces.size), (faces.ravel(), columns)), shape=(count, len(faces)))


def vertex_normals(points: np.ndarray, faces: np.ndarray, corners: sparse.csr_matrix) -> np.ndarray:
    """(N, 3) outward unit normals; `corners` is the matrix of `incidence`."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    normals = corners @ np.cross(b - a, c - a)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def laplacian(
    vertices: np.ndarray,
    faces: np.ndarray,
    stiffness: np.ndarray | None = None,
    across: np.ndarray | None = None,
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Cotangent Laplacian (positive semi-definite) and vertex areas.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        stiffness: (F,) factor of each triangle's weights.
        across: (V, 3) unit vectors; what is solved for spreads hardly along them, easily across.

    Returns:
        (V, V) stiffness matrix and (V,) areas in squared units of `vertices`.
    """
    count = len(vertices)
    corner = vertices[faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 2
    area = np.maximum(area, 1e-12)
    factor = np.ones(len(faces)) if stiffness is None else stiffness
    rows, columns, weights = [], [], []
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        u, v = corner[:, i] - corner[:, k], corner[:, j] - corner[:, k]
        # Obtuse corners would give negative weights, thin triangles huge ones: both are clamped.
        cotangent = np.clip((u * v).sum(1) / (2 * area), 0.05, 20.0) / 2 * factor
        if across is not None:
            edge = corner[:, j] - corner[:, i]
            edge /= np.maximum(np.linalg.norm(edge, axis=1, keepdims=True), 1e-12)
            cotangent = cotangent * np.maximum(1 - (edge * across[faces[:, i]]).sum(1) ** 2, 0.03)
        rows += [faces[:, i], faces[:, j]]
        columns += [faces[:, j], faces[:, i]]
        weights += [cotangent, cotangent]
    adjacency = sparse.csr_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(count, count)
    )
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    mass = np.zeros(count)
    np.add.at(mass, faces.ravel(), np.repeat(area / 3, 3))
    return sparse.diags(degree) - adjacency, np.maximum(mass, 1e-10)


def solve(system: sparse.spmatrix, right: np.ndarray) -> np.ndarray:
    """Solve a symmetric positive definite sparse system; right side (V,) or (V, C)."""
    return splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right)


def fill(
    stiffness: sparse.csr_matrix, values: np.ndarray, weight: np.ndarray, floor: float = 1e-6
) -> np.ndarray:
    """Spread values smoothly from where they are known over the whole mesh (harmonic interpolation).

    Args:
        stiffness: (V, V) Laplacian.
        values: (V, C), trusted by `weight`.
        weight: (V,) >= 0; where it is 0 the value follows from the neighbours.
        floor: pull to the weighted mean, so that pieces without a known value get that.
    """
    mean = (values * weight[:, None]).sum(0) / max(weight.sum(), 1e-9)
    data = sparse.diags(weight + floor)
    return solve(stiffness + data, weight[:, None] * values + floor * mean)


def nearest_on_main_piece(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V,) for each vertex itself if it lies on the largest connected piece, else the nearest one there.

    Eyes and teeth are pieces of their own, which must follow the skin around them.
    """
    count = len(vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    main = np.flatnonzero(labels == np.bincount(labels).argmax())
    others = np.setdiff1d(np.arange(count), main)
    result = np.arange(count)
    if len(others):
        result[others] = main[cKDTree(vertices[main]).query(vertices[others])[1]]
    return result
