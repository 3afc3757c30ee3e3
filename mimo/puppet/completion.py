"""Colours for what the picture does not show: the back from the front, hair, and smooth filling.

After "Photo Wake-Up" (Weng et al., CVPR 2019), section 5.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import cKDTree

from mimo.body.camera import project
from mimo.body.model import Topology
from mimo.puppet.light import shade
from mimo.puppet.surface import fill, laplacian
from mimo.puppet.texels import Texels, sample, smooth_step
from mimo.puppet.view import Surface, limbs

Colours = tuple[np.ndarray, np.ndarray]
"""(N, 3) colours of the texels and how far each is trusted, (N,) 0..1."""
GRAZING = (0.12, 0.45)
"""Cosines of the angle of view between which trust grows."""
PLAIN = 0.08
"""Radius in metres of details that the back does not take over from the front."""
BAND_SAMPLES = 20_000
"""Pixels of the hair line that the back of the head is painted from, at most."""


def copied_layer(
    surface: Surface, texels: Texels, source: np.ndarray, alpha: np.ndarray, light: np.ndarray
) -> Colours:
    """Colours and trust of hidden texels that lie behind a visible place of the same limb."""
    toward = surface.vertices / np.linalg.norm(surface.vertices, axis=1, keepdims=True)
    facing = np.abs((surface.normals * toward).sum(axis=1))
    spread = texels.spread(np.column_stack([surface.vertices, surface.normals, facing]))
    at = project(spread[:, :3], surface.camera)
    weight = shows_limb(surface, texels, at, np.arange(len(surface.vertices))) * smooth_step(
        spread[:, 6], *GRAZING
    )
    weight *= smooth_step(sample(surface.clear, at, 1), 0.3, 0.9) * smooth_step(
        sample(alpha, at, 1), 0.3, 0.8
    )
    normals = np.column_stack([spread[:, 3:5], -np.abs(spread[:, 5])])
    # Details of the front (chest, buttons, a navel) have no place on the back: only the garments stay.
    metre = float(surface.camera[0] / np.median(surface.vertices[:, 2]))
    plain = cv2.medianBlur(source, 2 * max(1, round(PLAIN * metre)) + 1)
    colours = sample(plain, at, cv2.INTER_LINEAR).astype(np.float32)
    return colours / shade(normals, light)[:, None], weight.astype(np.float32)


def shows_limb(surface: Surface, texels: Texels, at: np.ndarray, stand_in: np.ndarray) -> np.ndarray:
    """(N,) bool, the picture shows the texels' own limb at the pixels (N, 2), or that of their `stand_in`."""
    own = limbs(surface.topology)[stand_in][texels.first_corners]
    return sample(surface.part, at, 0) == own


def hair_layer(surface: Surface, texels: Texels, layers: list[Colours]) -> Colours:
    """Colours and weight for the back of the head, from the seen band above the forehead.

    The band is stretched down the back, so that hair or a cap keeps its look and no second face appears.
    """
    topology = surface.topology
    rest = texels.spread(topology.mean_vertices)
    head = texels.spread((topology.parts == topology.part_names.index("head"))[:, None])[:, 0]
    skull = topology.mean_vertices[topology.skin_matrix[:, topology.bone("head")].toarray()[:, 0] > 0.5]
    low, high = skull[:, 2].min(), skull[:, 2].max()
    front, back = skull[:, 1].min(), skull[:, 1].max()
    height = (rest[:, 2] - low) / (high - low)
    behind = (rest[:, 1] - front) / (back - front)
    colours, weight = layers[0]
    mirrored, mirror_weight = layers[1]
    seen = np.maximum(weight, mirror_weight) > 0.5
    known = np.flatnonzero((head > 0.9) & (height > 0.85) & seen)
    back_of_head = (head * smooth_step(behind, 0.45, 0.6) * smooth_step(height, 0.05, 0.25)).astype(
        np.float32
    )
    # When the picture shows enough of the back of the head itself, the rest follows from that.
    if len(known) < 30 or seen[back_of_head > 0.5].mean() > 0.25:
        return colours, np.zeros_like(back_of_head)
    known = known[:: max(1, len(known) // BAND_SAMPLES)]
    band = np.where((weight >= mirror_weight)[known, None], colours[known], mirrored[known])
    tree = cKDTree(np.column_stack([rest[known, 0] / 0.1, (height[known] - 0.85) / 0.15]))
    wanted = back_of_head > 0
    place = np.column_stack([rest[wanted, 0] / 0.1, np.clip(height[wanted], 0, 1)])
    nearest = tree.query(place, k=4)[1]
    result = np.zeros_like(colours)
    result[wanted] = band[nearest].mean(axis=1)
    return result, back_of_head


def smoothed_base(surface: Surface, texels: Texels, layers: list[Colours]) -> np.ndarray:
    """(N, 3) colours spread over the surface from wherever something is known."""
    colour = np.zeros((len(texels.at), 3), np.float32)
    total = np.zeros(len(texels.at), np.float32)
    for (values, weight), trust in zip(layers, (1.0, 0.6, 0.3), strict=True):
        part = weight * trust * (1 - total)
        colour += values * part[:, None]
        total += part
    known = texels.at_vertices(np.column_stack([colour, total]))
    faces = surface.topology.faces
    corners = limbs(surface.topology)[faces]
    # Colours hardly pass from limb to limb: sleeves and skin stay apart from the trunk.
    border = (corners != corners[:, :1]).any(axis=1)
    axes = _limb_axes(surface.topology)
    stiffness, _ = laplacian(surface.rest, faces, np.where(border, 0.02, 1.0), axes)
    weight = np.clip(known[:, 3], 0, 1)
    values = known[:, :3] / np.maximum(weight, 1e-3)[:, None]
    return texels.spread(fill(stiffness, values, np.where(weight > 0.5, 20 * weight**2, 0)))


def _limb_axes(topology: Topology) -> np.ndarray:
    """(V, 3) unit vectors along the limb: hems and waistbands run across, so colours spread across."""
    heads = topology.mean_heads
    axes = np.tile([0.0, 0.0, 1.0], (len(heads), 1))
    for bone, parent in enumerate(topology.parents):
        if topology.bone_names[bone].startswith(("upperarm", "lowerarm", "wrist", "upperleg", "lowerleg")):
            children = heads[topology.parents == bone]
            axes[bone] = (
                children.mean(axis=0) if len(children) else 2 * heads[bone] - heads[parent]
            ) - heads[bone]
    axes /= np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-9)
    strongest = topology.skin_indices[
        np.arange(len(topology.skin_indices)), topology.skin_weights.argmax(axis=1)
    ]
    return axes[strongest]
