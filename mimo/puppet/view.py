"""The warped body as the picture shows it: what is seen where, and which pixels can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mimo.body.model import Topology
from mimo.body.raster import Fragments, fragments
from mimo.puppet.surface import incidence, vertex_normals

STEP = 0.06
"""Difference of depth in metres from which a limb hides another."""
LEAK = 75.0
"""Distance of colours (0..255 each) from which a pixel at the edge is taken for scenery."""


@dataclass(frozen=True)
class Surface:
    """The warped body in the picture, and where the picture shows it.

    Attributes:
        topology: the mesh.
        vertices: (V, 3) in the picture's camera space, metres.
        rest: (V, 3) the same at rest, model axes.
        camera: (5,) of the picture.
        normals: (V, 3), camera space.
        depth: (H, W) of the nearest surface, infinity where there is none.
        part: (H, W) uint8 number of the visible part, see `limbs`; 255 where there is none.
        clear: (H, W) float32 0..1, low next to where one limb hides another.
    """

    topology: Topology
    vertices: np.ndarray
    rest: np.ndarray
    camera: np.ndarray
    normals: np.ndarray
    depth: np.ndarray
    part: np.ndarray
    clear: np.ndarray

    @classmethod
    def of(cls, topology: Topology, vertices: np.ndarray, rest: np.ndarray, camera: np.ndarray) -> Surface:
        """Draw the warped body to learn what the picture shows."""
        normals = vertex_normals(vertices, topology.faces, incidence(topology.faces, len(vertices)))
        seen = fragments(vertices, topology.faces, camera)
        part = np.where(seen.faces >= 0, limbs(topology)[topology.faces[seen.faces, 0]], 255).astype(np.uint8)
        clear = clear_places(seen.depth, camera, vertices)
        clear[_beside_arms(topology, seen, part, float(camera[0] / np.median(vertices[:, 2])))] = 0
        return cls(topology, vertices, rest, camera, normals, seen.depth, part, clear)


def limbs(topology: Topology) -> np.ndarray:
    """(V,) part number, left and right told apart."""
    left = topology.mean_vertices[:, 0] > 0
    paired = ~np.isin(np.array(topology.part_names)[topology.parts], ("head", "torso"))
    return topology.parts * 2 + (left & paired)


def clear_places(depth: np.ndarray, camera: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Trust that a pixel shows the limb it should: low near steps in depth, where the fit may be off.

    The hidden side of a step suffers from any error of the fit and of the limb's outline, the near side less.
    """
    metre = float(camera[0] / np.median(vertices[:, 2]))
    solid = np.isfinite(depth)
    near = np.where(solid, depth, 1e3).astype(np.float32)
    far = np.where(solid, depth, 0).astype(np.float32)
    behind = far - cv2.erode(near, disc(0.045 * metre)) > STEP
    before = cv2.dilate(far, disc(0.012 * metre)) - near > STEP
    trust = np.where(behind, 0.0, np.where(before, 0.25, 1.0)).astype(np.float32)
    return cv2.GaussianBlur(trust, (0, 0), max(0.6, 0.006 * metre))


def _beside_arms(topology: Topology, seen: Fragments, part: np.ndarray, metre: float) -> np.ndarray:
    """(H, W) bool, pixels of the trunk below the armpits that an arm before it might hide after all.

    An arm that lies against the trunk makes no step in depth; the shoulder above must not count.
    """
    names = np.array(topology.part_names)[topology.parts]
    arms = np.isin(part, limbs(topology)[np.isin(names, ("arm", "hand"))])
    side = 2 * max(1, round(0.04 * metre)) + 1
    before = cv2.erode(np.where(arms, seen.depth, 1e3).astype(np.float32), np.ones((side, side), np.uint8))
    armpit = topology.mean_heads[topology.bone("upperarm01.L"), 2] - 0.05
    low = topology.mean_vertices[topology.faces[seen.faces, 0], 2] < armpit
    trunk = np.isin(part, limbs(topology)[names == "torso"])
    return trunk & low & (seen.depth - before > STEP / 2)


def disc(radius: float) -> np.ndarray:
    """Structuring element of at least one pixel's radius."""
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def leaks(surface: Surface, image: np.ndarray, mask: np.ndarray, tall: int) -> np.ndarray:
    """(H, W) bool, pixels near the mask's edge that are like the scenery and unlike the person next to them.

    Not on the head, where hair frames the face, nor on hands and feet, which are too thin to have an inside.
    """
    rim = max(3, round(0.02 * tall))
    solid = (mask > 127).astype(np.uint8)
    core = cv2.erode(solid, disc(rim))
    topology = surface.topology
    spared = np.isin(np.array(topology.part_names)[topology.parts], ("head", "hand", "foot"))
    spared_here = np.isin(surface.part, limbs(topology)[spared]).astype(np.uint8)
    if not core.any():
        return np.zeros(mask.shape, bool)
    own, distance = _nearest_colours(image, core)
    scenery, _ = _nearest_colours(image, 1 - cv2.dilate((mask > 15).astype(np.uint8), disc(2)))
    from_own, from_scenery = (np.linalg.norm(image - colours, axis=2) for colours in (own, scenery))
    unlike = (from_own > LEAK) & (from_scenery < 0.7 * from_own)
    near = (core == 0) & (distance < 1.8 * rim)
    return unlike & near & (solid > 0) & (cv2.dilate(spared_here, disc(rim)) == 0)


def _nearest_colours(image: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour (H, W, 3) around the nearest pixel of a uint8 mask, and the distance to it in pixels."""
    distance, labels = cv2.distanceTransformWithLabels(
        1 - where, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    sums = cv2.blur(np.dstack([image * where[..., None], where * 255]).astype(np.float32), (7, 7))
    table = np.zeros((labels.max() + 1, 3), np.float32)
    table[labels[where > 0]] = (sums[..., :3] / np.maximum(sums[..., 3:] / 255, 1e-3))[where > 0]
    return table[labels], distance


def person_colours(image: np.ndarray, mask: np.ndarray, tall: int) -> tuple[np.ndarray, np.ndarray]:
    """The person's own colours, continued past the edge so that the background never shows; and soft alpha.

    Pixels on the edge mix person and background, so colours are taken a little inside.
    """
    inset = max(2, round(0.006 * tall))
    solid = cv2.erode((mask > 240).astype(np.uint8), np.ones((2 * inset + 1, 2 * inset + 1), np.uint8))
    if not solid.any():
        solid = (mask > 127).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(1 - solid, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros((labels.max() + 1, 3), np.uint8)
    table[labels[solid > 0]] = image[solid > 0]
    spread = cv2.GaussianBlur(table[labels], (0, 0), max(0.8, inset))
    return np.where(solid[..., None] > 0, image, spread), mask.astype(np.float32) / 255
