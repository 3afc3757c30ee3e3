"""A motion in a world that stands upright: from the camera's axes to the ground's, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.figure import Figure, Poses
from mimo.body.motion import Motion

KNOWN = 0.5
"""Length of a motion's ground normal below which its ground is unknown."""


@dataclass(frozen=True, eq=False)
class World:
    """Axes whose third points up; camera space is that of `Motion`.

    Attributes:
        axes: (3, 3) world to camera, or (T, 3, 3) where the camera moves.
        shift: (3,) metres, or (T, 3), added then.
        up: (3,) unit vector away from the ground, camera space.
        level: metres, n·x of the ground, which is z = 0 in the world; 0 where it is unknown.
        known: the ground is.
    """

    axes: np.ndarray
    shift: np.ndarray
    up: np.ndarray
    level: float
    known: bool

    @classmethod
    def of(cls, motion: Motion) -> World:
        """The world of a motion; where its ground is unknown, up is up in the picture."""
        normal = motion.ground[:3].astype(np.float64)
        length = float(np.linalg.norm(normal))
        known = length > KNOWN
        up = normal / length if known else np.array([0.0, -1.0, 0.0])
        level = float(motion.ground[3]) / length if known else 0.0
        if motion.view is not None:
            view = motion.view.astype(np.float64)
            return cls(view[:, :, :3], view[:, :, 3], up, level, known)
        across = np.cross(up, [0.0, 0.0, 1.0] if abs(up[2]) < 0.9 else [0.0, 1.0, 0.0])
        across /= np.linalg.norm(across)
        return cls(np.stack([across, np.cross(up, across), up], 1), level * up, up, level, known)

    def poses(self, motion: Motion, figure: Figure, frames: range) -> tuple[Poses, np.ndarray]:
        """Some frames of a motion.

        Args:
            motion: of `figure`'s body.
            figure: whose motion it is.
            frames: which.

        Returns:
            N poses, and where their bones are, (N, J, 3) as from `Figure.places`.
        """
        part = slice(frames.start, frames.stop)
        rotations, (axes, shift) = motion.rotations[part], self._camera(frames)
        local = Rotation.from_rotvec(rotations.reshape(-1, 3)).as_matrix().reshape(*rotations.shape, 3)
        seen = Rotation.from_rotvec(motion.root_rotation[part]).as_matrix()
        first = seen @ figure.heads[0] + motion.translation[part] - shift
        root = axes.swapaxes(-1, -2) @ seen
        turns = np.empty_like(local)
        for bone, parent in enumerate(figure.body.parents):
            turns[:, bone] = (root if parent < 0 else turns[:, parent]) @ local[:, bone]
        places = figure.places(Poses(turns, np.zeros((len(frames), 3))))
        places += (np.einsum("...ji,...j->...i", axes, first) - places[:, 0])[:, None]
        return Poses(turns, figure.hips(places)), places

    def translation(
        self, roots: np.ndarray, root_rotation: np.ndarray, figure: Figure, frames: range
    ) -> np.ndarray:
        """`Motion.translation` (N, 3) of a body in some frames.

        Args:
            roots: (N, 3) where the root bone's head is in the world.
            root_rotation: (N, 3) axis-angle, model axes to camera axes.
            figure: whose body it is.
            frames: which.
        """
        axes, shift = self._camera(frames)
        turned = Rotation.from_rotvec(root_rotation).apply(figure.heads[0])
        return np.asarray(np.einsum("...ij,...j->...i", axes, roots) + shift - turned)

    def _camera(self, frames: range) -> tuple[np.ndarray, np.ndarray]:
        """World to camera in some frames."""
        if self.axes.ndim == 2:
            return self.axes, self.shift
        return self.axes[frames.start : frames.stop], self.shift[frames.start : frames.stop]
