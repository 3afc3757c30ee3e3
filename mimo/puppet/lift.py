"""Lift a character's picture onto its fitted body: a textured mesh at rest, with bones, clothes and hair.

After Weng, Curless and Kemelmacher-Shlizerman, "Photo Wake-Up: 3D Character Animation from a Single Photo"
(CVPR 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.model import BodyModel
from mimo.body.raster import fragments
from mimo.character import Character
from mimo.puppet.align import align
from mimo.puppet.hands import posed, relaxed
from mimo.puppet.light import LightEstimate
from mimo.puppet.surface import incidence, vertex_normals
from mimo.puppet.texture import bake
from mimo.puppet.view import Surface

STANDS_OFF = {"head": 1.0, "torso": 1.0, "arm": 0.4, "hand": 0.6, "leg": 0.8, "foot": 0.6}
"""How far clothes and hair may stand off each part: sleeves are narrower than coats and plaits."""


@dataclass(frozen=True)
class Puppet:
    """A character that can be posed.

    Attributes:
        body: the dressed body at rest.
        texture: uint8 (side, side, 3), row 0 at v = 0, without the picture's light.
        metrics: how well silhouette and mask agree, and what the texture is made of.
    """

    body: BodyModel
    texture: np.ndarray
    metrics: dict[str, Any]


def lift(character: Character, relight: float) -> Puppet:
    """Make the puppet.

    Args:
        character: picture, mask and body.
        relight: how much of the picture's light direction is taken out, 0..1.
    """
    motion = character.body
    body = motion.body
    topology = body.topology
    transforms = body.bone_transforms(relaxed(motion.rotations[0], topology))
    points = posed(motion, 0)
    rigid = np.isin(np.array(topology.part_names)[topology.parts], ("hand", "foot")).astype(float)
    loose = np.array([STANDS_OFF[name] for name in topology.part_names])[topology.parts]
    alignment = align(points, topology.faces, motion.camera, character.mask, rigid, loose)
    moved = _to_rest(body, transforms, motion.root_rotation[0], alignment.vertices - points)
    dressed = BodyModel(topology, (body.rest_vertices + moved).astype(np.float32), body.rest_bones)
    surface = Surface.of(topology, alignment.vertices, dressed.rest_vertices, motion.camera)
    light = relight * _light(character, surface)
    texture, shares = bake(surface, character.image, character.mask, light)
    metrics = {
        "silhouette_iou_fit": round(alignment.overlap_before, 4),
        "silhouette_iou_lifted": round(alignment.overlap, 4),
        "texture": {name: round(share, 4) for name, share in shares.items()},
        "picture_light": [round(float(value), 3) for value in light],
    }
    return Puppet(dressed, texture, metrics)


def _to_rest(
    body: BodyModel, transforms: np.ndarray, root_rotation: np.ndarray, moved: np.ndarray
) -> np.ndarray:
    """Displacements (V, 3) in camera space, carried back to the rest pose (inverse linear blend skinning)."""
    blended = (body.topology.skin_matrix @ transforms[:, :3, :3].reshape(-1, 9)).reshape(-1, 3, 3)
    turned = Rotation.from_rotvec(root_rotation).as_matrix() @ blended
    # Where bones at an angle blend, the matrix shrinks; its inverse would blow the displacement up.
    left, sizes, right = np.linalg.svd(turned)
    inverse = np.swapaxes(right, 1, 2) @ (np.swapaxes(left, 1, 2) / np.maximum(sizes, 0.6)[:, :, None])
    return np.einsum("vij,vj->vi", inverse, moved)


def _light(character: Character, surface: Surface) -> np.ndarray:
    """Light direction in the picture."""
    topology = surface.topology
    seen = fragments(surface.vertices, topology.faces, surface.camera)
    estimate = LightEstimate(len(topology.bone_names))
    where = (seen.faces >= 0) & (character.mask > 240) & (surface.clear > 0.9)
    labels = albedo_groups(topology.bone_names, topology.skin_indices, topology.skin_weights)
    face_labels = labels[topology.faces[:, 0]]
    normals = seen.interpolate(surface.normals, topology.faces)
    estimate.add(character.image, normals, face_labels[seen.faces], where)
    return estimate.solve()


def albedo_groups(names: tuple[str, ...], indices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(V,) number of the bone that moves each vertex most; left and right bones share a number."""
    plain = [name.removesuffix(".L").removesuffix(".R") for name in names]
    numbers = np.array([plain.index(name) for name in plain])
    return numbers[indices[np.arange(len(indices)), weights.argmax(axis=1)]]


def normals_of(body: BodyModel, points: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals of a posed body."""
    return vertex_normals(points, body.faces, incidence(body.faces, len(points)))
