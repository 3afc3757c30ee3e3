"""Place a character of other proportions into the driver's motion: same size, feet on the same ground."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from mimo.body.model import BodyModel
from mimo.body.motion import Motion
from mimo.puppet.hands import relaxed

CONTACT = 0.03
"""Height in metres above the lower foot at which a foot hardly counts as standing."""
SMOOTHING = 1.5
"""Frames, standard deviation, over which what is added to the driver's translation is smoothed."""
_REACH = 6


@dataclass(frozen=True)
class Retarget:
    """A character in the driver's motion.

    Attributes:
        motion: the driver's.
        body: the character's dressed body at rest, at its size in the scene.
        up: (3,) unit vector away from the ground, camera space.
    """

    motion: Motion
    body: BodyModel
    up: np.ndarray

    def vertices(self, frame: int) -> np.ndarray:
        """(V, 3) float32 dressed body in a frame, camera space."""
        return _posed(self.body, self.motion, frame, self.offset(frame))

    def offset(self, frame: int) -> np.ndarray:
        """(3,) metres, what is added to the driver's translation, smoothed over time.

        Computed when it is asked for: a part of a long clip needs few of them.
        """
        near = range(max(0, frame - _REACH), min(len(self.motion), frame + _REACH + 1))
        offsets = np.array([self._standing(other) for other in near])
        smooth = gaussian_filter1d(offsets, SMOOTHING, axis=0, mode="nearest", radius=_REACH)
        return np.asarray(smooth[frame - near.start])

    @cached_property
    def _standing(self) -> Callable[[int], np.ndarray]:
        """What puts the standing foot where the driver's is, by frame; the last few are remembered."""
        return lru_cache(4 * _REACH)(lambda frame: _offset(self.body, self.motion, frame, self.up))

    def ground(self, points: np.ndarray) -> float:
        """n . x of the ground under a posed body: the fitted plane, or else its lowest point."""
        if np.linalg.norm(self.motion.ground[:3]) > 0.5:
            return float(self.motion.ground[3] / np.linalg.norm(self.motion.ground[:3]))
        return float((points @ self.up).min())


def retarget(body: BodyModel, scale: float, motion: Motion) -> Retarget:
    """Put a character into a motion.

    Args:
        body: the character's dressed body.
        scale: the character's size in the scene over its own.
        motion: the driver's.
    """
    bones = body.rest_bones.copy()
    bones[:, :3, 3] *= scale
    scaled = BodyModel(body.topology, body.rest_vertices * np.float32(scale), bones)
    return Retarget(motion, scaled, up_direction(motion))


def up_direction(motion: Motion) -> np.ndarray:
    """Normal of the ground, or straight up in the picture when it is unknown."""
    normal = motion.ground[:3].astype(np.float64)
    return normal / np.linalg.norm(normal) if np.linalg.norm(normal) > 0.5 else np.array([0.0, -1.0, 0.0])


def _posed(body: BodyModel, motion: Motion, frame: int, offset: np.ndarray) -> np.ndarray:
    transforms = body.bone_transforms(relaxed(motion.rotations[frame], body.topology))
    return body.skin(
        body.rest_vertices, transforms, motion.root_rotation[frame], motion.translation[frame] + offset
    )


def feet(body: BodyModel) -> list[np.ndarray]:
    """Vertex numbers of the left and the right foot."""
    foot = body.topology.parts == body.topology.part_names.index("foot")
    left = body.topology.mean_vertices[:, 0] > 0
    return [np.flatnonzero(foot & left), np.flatnonzero(foot & ~left)]


def _offset(body: BodyModel, motion: Motion, frame: int, up: np.ndarray) -> np.ndarray:
    """Translation that puts the character's standing foot where the driver's is."""
    gaps, heights = [], []
    transforms = [
        person.bone_transforms(motion.rotations[frame])[:, :3].reshape(-1, 12)
        for person in (motion.body, body)
    ]
    turn = Rotation.from_rotvec(motion.root_rotation[frame]).as_matrix()
    for chosen in feet(body):
        soles = []
        for person, bones in zip((motion.body, body), transforms, strict=True):
            blended = (body.topology.skin_matrix[chosen] @ bones).reshape(-1, 3, 4)
            points = (
                np.einsum("vij,vj->vi", blended[:, :, :3], person.rest_vertices[chosen]) + blended[:, :, 3]
            )
            points = points @ turn.T
            height = points @ up
            sole = points.mean(axis=0)
            soles.append(sole + up * (height.min() - sole @ up))
        gaps.append(soles[0] - soles[1])
        heights.append(soles[0] @ up)
    weight = np.exp(-(np.array(heights) - min(heights)) / CONTACT)
    return (np.array(gaps) * weight[:, None]).sum(axis=0) / weight.sum()
