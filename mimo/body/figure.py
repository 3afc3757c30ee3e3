"""A body posed over many frames at once: where its bones, and points of its skin, are.

World axes are the model's at rest: metres, x to the left of who stands at the start, y back, z up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mimo.body.model import BodyModel
from mimo.body.rig import SIDES, Rig

HEEL = 0.25
"""Part of the foot's length, from behind, whose lowest points count as the heel."""


@dataclass(frozen=True, eq=False)
class Poses:
    """T poses of a body in the world.

    Attributes:
        turns: (T, J, 3, 3) rotation of each bone from rest to the world.
        hips: (T, 3) metres, middle between both hip joints.
    """

    turns: np.ndarray
    hips: np.ndarray

    def __len__(self) -> int:
        return len(self.turns)

    def moved(self, by: np.ndarray) -> Poses:
        """Carried by (T, 3) or (3,) metres."""
        return replace(self, hips=self.hips + by)


@dataclass(frozen=True, eq=False)
class Figure:
    """A person's body with its rig."""

    body: BodyModel
    rig: Rig

    @cached_property
    def heads(self) -> np.ndarray:
        """(J, 3) bones' heads at rest."""
        return self.body.rest_bones[:, :3, 3].astype(np.float64)

    @cached_property
    def hips_at_rest(self) -> np.ndarray:
        """(3,) middle between the hip joints."""
        limbs = self.rig.limbs
        return self.heads[[limbs[f"{side}_hip"][0] for side in SIDES]].mean(0)

    def places(self, poses: Poses) -> np.ndarray:
        """(T, J, 3) bones' heads in the world."""
        heads, parents = self.heads, self.body.parents
        places = np.zeros((len(poses), len(heads), 3))
        for bone in range(1, len(heads)):
            parent = parents[bone]
            step = poses.turns[:, parent] @ (heads[bone] - heads[parent])
            places[:, bone] = places[:, parent] + step
        return places + (poses.hips - self.hips(places))[:, None]

    def hips(self, places: np.ndarray) -> np.ndarray:
        """(T, 3) middle between the hip joints of `places` (T, J, 3)."""
        return np.asarray(places[:, [self.rig.limbs[f"{side}_hip"][0] for side in SIDES]].mean(1))

    def skin(self, poses: Poses, vertices: np.ndarray, places: np.ndarray | None = None) -> np.ndarray:
        """(T, N, 3) some vertices in the world."""
        places = self.places(poses) if places is None else places
        points = self.body.rest_vertices[vertices].astype(np.float64)
        result = np.zeros((len(poses), len(vertices), 3))
        for column in range(self.body.skin_indices.shape[1]):
            bones = self.body.skin_indices[vertices, column]
            weights = self.body.skin_weights[vertices, column].astype(np.float64)
            used = np.flatnonzero(weights > 0)
            for bone in np.unique(bones[used]):
                own = used[bones[used] == bone]
                posed = (points[own] - self.heads[bone]) @ poses.turns[:, bone].swapaxes(1, 2)
                result[:, own] += weights[own, None] * (posed + places[:, bone, None])
        return result

    @cached_property
    def sample(self) -> np.ndarray:
        """(N,) vertices spread over the body, those of hands and feet denser."""
        topology = self.body.topology
        ends = np.isin(topology.parts, [topology.part_names.index(name) for name in ("hand", "foot", "head")])
        return np.sort(np.concatenate([np.flatnonzero(~ends)[::20], np.flatnonzero(ends)[::12]]))

    @cached_property
    def is_foot(self) -> np.ndarray:
        """(N,) bool, which of `sample` belong to a foot."""
        topology = self.body.topology
        return np.asarray(topology.parts[self.sample] == topology.part_names.index("foot"))

    def sole(self, side: str) -> float:
        """z of a foot's sole at rest; of bodies with clothes, those of both feet may differ a little."""
        return float(self.foot_vertices(side)[:, 2].min())

    def foot_vertices(self, side: str) -> np.ndarray:
        """(N, 3) a foot's vertices at rest."""
        topology = self.body.topology
        foot = topology.parts == topology.part_names.index("foot")
        left = topology.mean_vertices[:, 0] > 0
        return self.body.rest_vertices[foot & (left == (side == "left"))].astype(np.float64)

    def contacts(self, side: str) -> np.ndarray:
        """(2, 3) at rest: what stands still while a foot rolls: under the heel, and the toes' joint."""
        foot = self.foot_vertices(side)
        back, front = foot[:, 1].max(), foot[:, 1].min()
        heel = foot[foot[:, 1] > back - HEEL * (back - front)]
        heel = heel[heel[:, 2] < heel[:, 2].min() + 0.01].mean(0)
        toes = self.heads[list(self.rig.limbs[f"{side}_toe"])].mean(0)
        return np.array([[heel[0], heel[1], self.sole(side)], toes])

    def clearance(self, side: str) -> np.ndarray:
        """(2,) metres of `contacts` above the ground when they touch it."""
        return np.asarray(self.contacts(side)[:, 2] - self.sole(side))

    def foot_points(self, poses: Poses, places: np.ndarray, side: str) -> np.ndarray:
        """(T, 2, 3) heel and ball of a foot in the world, z = 0 where they touch the ground."""
        foot = self.rig.limbs[f"{side}_ankle"][0]
        points = self.contacts(side) - self.heads[foot]
        points = points @ poses.turns[:, foot].swapaxes(1, 2) + places[:, foot, None]
        return points - self.clearance(side)[:, None] * np.array([0, 0, 1.0])
