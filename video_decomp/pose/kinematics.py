"""Positions of points on the moving body and their derivatives, for many frames at once.

A point is a weighted sum of skinned vertices. What the fit needs of it is, for every moving bone k, the
rest position times the skin weight and the weight itself: ``c_k`` (4,). Its posed position is then
``sum_k A_k (c_k[:3] - c_k[3] h_k) + c_k[3] w_k`` with world rotations A_k, rest heads h_k, posed heads w_k,
and rotating bone b by a small angle about an axis turns the part of it that hangs on b about the head of b.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.model import Topology
from video_decomp.pose.landmark_offsets import landmark_offsets
from video_decomp.pose.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Points:
    """Rest points on a body with a given shape; T is 1 for points that are the same in all frames.

    Attributes:
        parts: (K, T, P, 3) rest positions times skin weight, by moving bone.
        weights: (K, T, P) skin weights.
        basis: (T, P, S, 3) change of the rest position by each shape coefficient.
    """

    parts: np.ndarray
    weights: np.ndarray
    basis: np.ndarray


@dataclass(frozen=True, eq=False)
class State:
    """Unknowns of T frames and one person.

    Attributes:
        angles: (T, D) pose vectors.
        root: (T, 3, 3) rotations, model axes to camera axes.
        translation: (T, 3) metres, camera space.
        shape: (S,) coefficients.
    """

    angles: np.ndarray
    root: np.ndarray
    translation: np.ndarray
    shape: np.ndarray

    def moved(self, step: np.ndarray, shape_step: np.ndarray) -> State:
        """The state after a step (T, D + 6) of angles, root rotation (camera axes) and translation."""
        size = self.angles.shape[1]
        turn = Rotation.from_rotvec(step[:, size : size + 3]).as_matrix()
        return State(
            self.angles + step[:, :size],
            turn @ self.root,
            self.translation + step[:, size + 3 :],
            self.shape + shape_step,
        )

    def part(self, frames: slice) -> State:
        """Some of the frames."""
        return State(self.angles[frames], self.root[frames], self.translation[frames], self.shape)


class Kinematics:
    """Forward kinematics of a skeleton's moving bones."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        topology = skeleton.topology
        moving = {0} | {bone for joint in skeleton.joints for bone in joint.bones}
        self.bones = sorted(moving)
        place = {bone: number for number, bone in enumerate(self.bones)}
        self.group = np.array(_nearest(topology, place))
        self.parents = [-1] + [int(self.group[topology.parents[bone]]) for bone in self.bones[1:]]
        # One row for each (angle, bone) pair: several bones of a chain share an angle.
        pairs = [
            (start + number, place[bone], axis * joint.share)
            for joint, start in zip(skeleton.joints, self._starts(), strict=True)
            for number, axis in enumerate(joint.axes)
            for bone in joint.bones
        ]
        self.pair_angle = np.array([pair[0] for pair in pairs])
        self.pair_bone = np.array([pair[1] for pair in pairs])
        self.pair_axis = np.array([pair[2] for pair in pairs])
        self.gather = np.zeros((len(pairs), skeleton.size))
        self.gather[np.arange(len(pairs)), self.pair_angle] = 1

    def _starts(self) -> list[int]:
        return [self.skeleton.slices[joint.name].start for joint in self.skeleton.joints]

    @cached_property
    def _heads(self) -> tuple[np.ndarray, np.ndarray]:
        topology = self.skeleton.topology
        mean = topology.mean_heads[self.bones].astype(float)
        return mean, topology.head_basis[:, self.bones].astype(float)

    def heads(self, shape: np.ndarray) -> np.ndarray:
        """Rest heads (K, 3) of the moving bones."""
        mean, basis = self._heads
        return mean + np.tensordot(shape, basis, 1)

    def vertex_points(self, vertices: np.ndarray, rest: np.ndarray) -> Points:
        """Single vertices as points.

        Args:
            vertices: (T, P) indices.
            rest: (V, 3) rest vertices of the person, from `rest_vertices`.
        """
        weights = np.moveaxis(self._vertex_weights[vertices], -1, 0)
        return Points(weights[..., None] * rest[vertices], weights, self._vertex_basis[vertices])

    def rest_vertices(self, shape: np.ndarray) -> np.ndarray:
        """(V, 3) float32 rest vertices of a shape."""
        topology = self.skeleton.topology
        return topology.mean_vertices + np.tensordot(shape.astype(np.float32), topology.vertex_basis, 1)

    @cached_property
    def _vertex_weights(self) -> np.ndarray:
        topology = self.skeleton.topology
        fold = np.zeros((len(self.group), len(self.bones)), np.float32)
        fold[np.arange(len(self.group)), self.group] = 1
        return topology.skin_matrix @ fold

    @cached_property
    def _vertex_basis(self) -> np.ndarray:
        return np.ascontiguousarray(self.skeleton.topology.vertex_basis.transpose(1, 0, 2))

    @cached_property
    def _key_point_parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of the average person: parts (K, 33, 3), their change (S, K, 33, 3), weights, basis (33, S, 3)."""
        topology = self.skeleton.topology
        indices, mix = topology.key_point_indices, topology.key_point_weights
        weights = mix[..., None] * self._vertex_weights[indices]
        mean = np.einsum("pvk,pvx->kpx", weights, topology.mean_vertices[indices], optimize=True)
        changes = np.einsum("pvk,pvsx->skpx", weights, self._vertex_basis[indices], optimize=True)
        basis = np.einsum("pv,pvsx->psx", mix, self._vertex_basis[indices], optimize=True)
        return mean.astype(float), changes.astype(float), weights.sum(1).T.astype(float), basis.astype(float)

    def key_points(self, shape: np.ndarray) -> Points:
        """BlazePose's 33 landmarks as points."""
        mean, changes, weights, basis = self._key_point_parts
        parts = mean + np.tensordot(shape, changes, 1) + weights[..., None] * landmark_offsets()
        return Points(parts[:, None], weights[:, None], basis[None])

    def pose(self, state: State) -> Posed:
        """Turn angles into world rotations, posed heads and rotation axes."""
        frames = len(state.angles)
        heads = self.heads(state.shape)
        vectors = np.zeros((frames, len(self.bones), 3))
        pair_vectors = state.angles[:, self.pair_angle, None] * self.pair_axis
        for pair, bone in enumerate(self.pair_bone):
            vectors[:, bone] += pair_vectors[:, pair]
        local = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(frames, -1, 3, 3)
        world = np.empty_like(local)
        posed = np.empty((frames, len(self.bones), 3))
        world[:, 0] = state.root
        posed[:, 0] = state.translation + state.root @ heads[0]
        for bone in range(1, len(self.bones)):
            parent = self.parents[bone]
            world[:, bone] = world[:, parent] @ local[:, bone]
            posed[:, bone] = posed[:, parent] + world[:, parent] @ (heads[bone] - heads[parent])
        above = world[:, self.parents][:, self.pair_bone]
        turned = _left_jacobian(vectors)[:, self.pair_bone] @ self.pair_axis[:, :, None]
        axes = (above @ turned)[..., 0]
        return Posed(self, heads, world, posed, axes)

    def head_shifts(self, posed: Posed) -> np.ndarray:
        """(T, K, S, 3): change of ``w_k - A_k h_k`` by each shape coefficient."""
        basis = self._heads[1].transpose(1, 0, 2)
        frames = len(posed.world)
        shifts = np.empty((frames, *basis.shape))
        shifts[:, 0] = np.einsum("txy,sy->tsx", posed.world[:, 0], basis[0])
        for bone in range(1, len(self.bones)):
            parent = self.parents[bone]
            step = np.einsum("txy,sy->tsx", posed.world[:, parent], basis[bone] - basis[parent])
            shifts[:, bone] = shifts[:, parent] + step
        return shifts - np.einsum("tkxy,ksy->tksx", posed.world, basis)


@dataclass(frozen=True, eq=False)
class Posed:
    """Posed bones of T frames.

    Attributes:
        kinematics: what they belong to.
        world: (T, K, 3, 3) rotations, model axes to camera axes.
        heads: (T, K, 3) positions in camera space; `rest_heads` (K, 3) at rest.
        axes: (T, pairs, 3) rotation axes of the (angle, bone) pairs, camera axes.
    """

    kinematics: Kinematics
    rest_heads: np.ndarray
    world: np.ndarray
    heads: np.ndarray
    axes: np.ndarray

    def hanging(self, points: Points) -> np.ndarray:
        """(K, T, P, 3): the part of each point that moves with each bone."""
        kind = points.parts.dtype
        world = self.world.transpose(1, 0, 3, 2).astype(kind)
        shift = (self.heads - np.einsum("tkxy,ky->tkx", self.world, self.rest_heads)).transpose(1, 0, 2)
        return points.parts @ world + points.weights[..., None] * shift[:, :, None].astype(kind)

    def positions(self, points: Points) -> np.ndarray:
        """(T, P, 3) metres, camera space."""
        return self.hanging(points).sum(0)

    def levers(self, points: Points, hanging: np.ndarray) -> np.ndarray:
        """(K, T, P, 3): for each bone, all that hangs on it, from its head, times its share; in place."""
        parents = self.kinematics.parents
        share = np.array(np.broadcast_to(points.weights, hanging.shape[:3]))
        for bone in range(len(parents) - 1, 0, -1):
            hanging[parents[bone]] += hanging[bone]
            share[parents[bone]] += share[bone]
        hanging -= share[..., None] * self.heads.transpose(1, 0, 2)[:, :, None].astype(hanging.dtype)
        return hanging

    def derivatives(self, points: Points, positions: np.ndarray, levers: np.ndarray) -> np.ndarray:
        """(T, P, 3, D + 6): derivatives of positions by angles, root rotation (camera axes), translation."""
        kinematics = self.kinematics
        frames, count = positions.shape[:2]
        size = kinematics.skeleton.size
        moved = np.cross(self.axes.transpose(1, 0, 2)[:, :, None], levers[kinematics.pair_bone])
        result = np.zeros((frames, count, 3, size + 6))
        result[..., :size] = np.moveaxis(moved, 0, -1) @ kinematics.gather
        arm = levers[0]
        result[..., 0, size + 1], result[..., 0, size + 2] = arm[..., 2], -arm[..., 1]
        result[..., 1, size], result[..., 1, size + 2] = -arm[..., 2], arm[..., 0]
        result[..., 2, size], result[..., 2, size + 1] = arm[..., 1], -arm[..., 0]
        result[..., :, size + 3 :] = np.eye(3)
        return result

    def projected_derivatives(self, levers: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(T, P, D + 6): derivatives of the positions' components along directions (T, P, 3)."""
        kinematics = self.kinematics
        size = kinematics.skeleton.size
        directions = directions.astype(levers.dtype)
        torque = np.empty_like(levers)
        for axis in range(3):
            following, last = (axis + 1) % 3, (axis + 2) % 3
            np.multiply(levers[..., following], directions[..., last], out=torque[..., axis])
            torque[..., axis] -= levers[..., last] * directions[..., following]
        result = np.zeros((*directions.shape[:2], size + 6), levers.dtype)
        axes = self.axes.astype(levers.dtype)
        for pair, (angle, bone) in enumerate(zip(kinematics.pair_angle, kinematics.pair_bone, strict=True)):
            result[..., angle] += (torque[bone] @ axes[:, pair, :, None])[..., 0]
        result[..., size : size + 3] = torque[0]
        result[..., size + 3 :] = directions
        return result

    def shape_derivatives(self, points: Points) -> np.ndarray:
        """(T, P, 3, S): derivatives by the shape, of points as if skinned by their own mean weights."""
        frames = len(self.world)
        kind = points.weights.dtype
        weights = np.moveaxis(
            np.broadcast_to(points.weights, (*points.weights.shape[:1], frames, points.weights.shape[2])),
            0,
            -1,
        )
        world = self.world.reshape(frames, -1, 9).astype(kind)
        blended = (weights @ world).reshape(frames, -1, 3, 3)
        own = blended @ np.broadcast_to(points.basis, (frames, *points.basis.shape[1:])).swapaxes(-1, -2)
        shifts = self.kinematics.head_shifts(self).astype(kind)
        moved = weights @ shifts.reshape(frames, shifts.shape[1], -1)
        return own + moved.reshape(frames, weights.shape[1], -1, 3).swapaxes(-1, -2)


def _nearest(topology: Topology, place: dict[int, int]) -> list[int]:
    """Number of the moving bone that each bone follows."""
    group: list[int] = []
    for bone, parent in enumerate(topology.parents):
        group.append(place[bone] if bone in place else group[parent])
    return group


def _left_jacobian(vectors: np.ndarray) -> np.ndarray:
    """(..., 3, 3): rotation of the frame by a change of the axis-angle vector (..., 3)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    small = angle < 1e-4
    safe = np.where(small, 1, angle)
    first = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    second = np.where(small, 1 / 6 - angle**2 / 120, (safe - np.sin(safe)) / safe**3)
    cross = np.zeros((*vectors.shape, 3))
    cross[..., 0, 1], cross[..., 0, 2] = -vectors[..., 2], vectors[..., 1]
    cross[..., 1, 0], cross[..., 1, 2] = vectors[..., 2], -vectors[..., 0]
    cross[..., 2, 0], cross[..., 2, 1] = -vectors[..., 1], vectors[..., 0]
    return np.eye(3) + first * cross + second * cross @ cross
