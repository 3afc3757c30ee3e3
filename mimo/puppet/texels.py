"""Texels that lie on the body, and reading pictures at them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mimo.body.model import Topology
from mimo.body.raster import Fragments, fragments


@dataclass(frozen=True)
class Texels:
    """The texels that lie on the surface.

    Attributes:
        topology: the mesh.
        drawn: the mesh laid out flat.
        at: (N, 2) row and column.
    """

    topology: Topology
    drawn: Fragments
    at: np.ndarray

    @classmethod
    def of(cls, topology: Topology, side: int) -> Texels:
        """Lay the mesh out on a square texture of so many pixels a side."""
        flat = np.column_stack([topology.uv, np.ones(len(topology.uv))])
        # A camera one metre before the sheet that sees just the unit square.
        camera = np.array([side, 0, 0, side, side], np.float32)
        drawn = fragments(flat, topology.face_uv, camera)
        return cls(topology, drawn, np.argwhere(drawn.faces >= 0))

    @property
    def side(self) -> int:
        """Width and height of the texture."""
        return len(self.drawn.faces)

    @property
    def first_corners(self) -> np.ndarray:
        """(N,) vertex numbers: the first corner of the triangle that each texel lies on."""
        return self.topology.faces[self.drawn.faces[self.at[:, 0], self.at[:, 1]], 0]

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(N, C) float32 values at the texels of (V, C) values at the vertices."""
        rows, columns = self.at.T
        corners = self.topology.faces[self.drawn.faces[rows, columns]]
        weights = self.drawn.weights[rows, columns]
        values = values.astype(np.float32)
        return sum(values[corners[:, k]] * weights[:, k, None] for k in range(3))  # type: ignore[return-value]

    def at_vertices(self, values: np.ndarray) -> np.ndarray:
        """(V, C) means of (N, C) texel values near each vertex."""
        channels = values.shape[1]
        sheet = np.zeros((self.side, self.side, channels + 1), np.float32)
        sheet[self.at[:, 0], self.at[:, 1], :channels] = values
        sheet[self.at[:, 0], self.at[:, 1], channels] = 1
        sheet = cv2.blur(sheet, (5, 5))
        place = np.clip((self.topology.uv * self.side).astype(int), 0, self.side - 1)
        sums = np.zeros((len(self.topology.mean_vertices), channels + 1))
        corner, vertex = np.unique(
            np.stack([self.topology.face_uv.ravel(), self.topology.faces.ravel()]), axis=1
        )
        np.add.at(sums, vertex, sheet[place[corner, 1], place[corner, 0]])
        return sums[:, :channels] / np.maximum(sums[:, channels:], 1e-6)

    def image(self, colours: np.ndarray) -> np.ndarray:
        """uint8 texture of (N, 3) colours; they are continued past the borders of the charts."""
        sheet = np.zeros((self.side, self.side, 3), np.uint8)
        sheet[self.at[:, 0], self.at[:, 1]] = np.clip(colours + 0.5, 0, 255).astype(np.uint8)
        empty = np.ones((self.side, self.side), np.uint8)
        empty[self.at[:, 0], self.at[:, 1]] = 0
        _, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        table = np.zeros((labels.max() + 1, 3), np.uint8)
        table[labels[empty == 0]] = sheet[empty == 0]
        return table[labels]


def smooth_step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def sample(image: np.ndarray, at: np.ndarray, interpolation: int) -> np.ndarray:
    """Values of an image at (N, 2) continuous pixels."""
    width = 4096  # cv2.remap wants a sheet with short sides
    rows = -(-len(at) // width)
    places = np.full((rows * width, 2), -10, np.float32)
    places[: len(at)] = at - 0.5
    sheet = places.reshape(rows, width, 2)
    result = cv2.remap(image, sheet[..., 0], sheet[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)
    return result.reshape(rows * width, *image.shape[2:])[: len(at)]
