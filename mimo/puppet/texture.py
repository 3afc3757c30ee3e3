"""Paint the warped body with the picture, and complete what the picture does not show.

After "Photo Wake-Up" (Weng et al., CVPR 2019), section 5. In order of trust, a place of the surface takes
its colour from where it is seen; from where its left-right mirror image is seen; from what is seen of the
same limb in front of it (the back takes the front, but the back of the head takes the hair line); else
smoothly from its surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from mimo.body.camera import project
from mimo.body.model import Topology
from mimo.body.raster import Fragments, fragments
from mimo.puppet.light import shade
from mimo.puppet.surface import fill, incidence, laplacian, vertex_normals

LARGE, SMALL = 2048, 1024
"""Sides of the texture for people more, or less, than `SWITCH` pixels tall in the picture."""
SWITCH = 800
PLAIN = 0.05
"""Radius in metres of details that the back does not take over from the front."""
BAND_SAMPLES = 20_000
LEAK = 75.0
"""Distance of colours (0..255 each) from which a pixel at the edge is taken for scenery."""
STEP = 0.06
"""Difference of depth in metres from which a limb hides another."""
GRAZING = (0.08, 0.38)
"""Cosines of the angle of view between which trust grows."""


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
        part: (H, W) uint8 number of the visible part, see `_limbs`; 255 where there is none.
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
        part = np.where(seen.faces >= 0, _limbs(topology)[topology.faces[seen.faces, 0]], 255).astype(
            np.uint8
        )
        clear = _clear(seen.depth, camera, vertices)
        return cls(topology, vertices, rest, camera, normals, seen.depth, part, clear)


def _limbs(topology: Topology) -> np.ndarray:
    """(V,) part number, left and right told apart."""
    left = topology.mean_vertices[:, 0] > 0
    paired = ~np.isin(np.array(topology.part_names)[topology.parts], ("head", "torso"))
    return topology.parts * 2 + (left & paired)


def _clear(depth: np.ndarray, camera: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Trust that a pixel shows the limb it should: low near steps in depth, where the fit may be off.

    The hidden side of a step suffers from any error of the fit and of the limb's outline, the near side less.
    """
    metre = float(camera[0] / np.median(vertices[:, 2]))
    solid = np.isfinite(depth)
    near = np.where(solid, depth, 1e3).astype(np.float32)
    far = np.where(solid, depth, 0).astype(np.float32)
    behind = far - cv2.erode(near, _disc(0.045 * metre)) > STEP
    before = cv2.dilate(far, _disc(0.012 * metre)) - near > STEP
    trust = np.where(behind, 0.0, np.where(before, 0.25, 1.0)).astype(np.float32)
    return cv2.GaussianBlur(trust, (0, 0), max(0.6, 0.006 * metre))


def _disc(radius: float) -> np.ndarray:
    """Structuring element of at least one pixel's radius."""
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def bake(
    surface: Surface, image: np.ndarray, mask: np.ndarray, light: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """Make the texture.

    Args:
        surface: the warped body.
        image: uint8 (H, W, 3).
        mask: uint8 (H, W), 255 = person.
        light: (3,) light direction coefficients of the picture (see `mimo.puppet.light`), taken out.

    Returns:
        uint8 (side, side, 3), row 0 at v = 0, and the shares of the surface that were seen, mirrored,
        copied from the front and smoothed.
    """
    tall = int(np.ptp(np.flatnonzero((mask > 127).any(axis=1)))) + 1
    side = LARGE if tall > SWITCH else SMALL
    mask = np.where(_leaks(surface, image, mask, tall), 0, mask)
    source, alpha = _source(image, mask, tall)
    topology = surface.topology
    texels = _Texels.of(topology, side)
    layers = [
        _seen(surface, texels, source, alpha, light, np.arange(len(surface.vertices))),
        _seen(surface, texels, source, alpha, light, topology.mirror),
        _copied(surface, texels, source, alpha, light),
    ]
    hair = _hair(surface, texels, layers[:2])
    layers[2] = (
        layers[2][0] * (1 - hair[1][:, None]) + hair[0] * hair[1][:, None],
        np.maximum(layers[2][1] * (1 - hair[1]), hair[1]),
    )
    base = _smoothed(surface, texels, layers)
    shares = {}
    left = np.ones(len(base), np.float32)
    result = np.zeros_like(base)
    for name, (colours, weight) in zip(("seen", "mirrored", "copied"), layers, strict=True):
        result += colours * (left * weight)[:, None]
        shares[name] = float((left * weight).mean())
        left = left * (1 - weight)
    result += base * left[:, None]
    shares["smoothed"] = float(left.mean())
    return texels.image(result), shares


def _leaks(surface: Surface, image: np.ndarray, mask: np.ndarray, tall: int) -> np.ndarray:
    """(H, W) bool, pixels near the mask's edge that look like scenery: quite unlike the person next to them.

    Not on the head, where hair frames the face, and not on parts too thin to have an inside.
    """
    rim = max(3, round(0.02 * tall))
    solid = (mask > 127).astype(np.uint8)
    core = cv2.erode(solid, _disc(rim))
    head = np.isin(surface.part, _limbs(surface.topology)[surface.topology.parts == 0]).astype(np.uint8)
    if not core.any():
        return np.zeros(mask.shape, bool)
    distance, labels = cv2.distanceTransformWithLabels(
        1 - core, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    smooth = cv2.blur(np.dstack([image * core[..., None], core * 255]).astype(np.float32), (7, 7))
    table = np.zeros((labels.max() + 1, 3), np.float32)
    table[labels[core > 0]] = (smooth[..., :3] / np.maximum(smooth[..., 3:] / 255, 1e-3))[core > 0]
    unlike = np.linalg.norm(image - table[labels], axis=2) > LEAK
    near = (core == 0) & (distance < 1.8 * rim)
    return unlike & near & (solid > 0) & (cv2.dilate(head, _disc(rim)) == 0)


def _source(image: np.ndarray, mask: np.ndarray, tall: int) -> tuple[np.ndarray, np.ndarray]:
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


@dataclass(frozen=True)
class _Texels:
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
    def of(cls, topology: Topology, side: int) -> _Texels:
        flat = np.column_stack([topology.uv, np.ones(len(topology.uv))])
        # A camera one metre before the sheet that sees just the unit square.
        camera = np.array([side, 0, 0, side, side], np.float32)
        drawn = fragments(flat, topology.face_uv, camera)
        return cls(topology, drawn, np.argwhere(drawn.faces >= 0))

    @property
    def side(self) -> int:
        """Width and height of the texture."""
        return len(self.drawn.faces)

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


def _step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _sample(image: np.ndarray, at: np.ndarray, interpolation: int) -> np.ndarray:
    """Values of an image at (N, 2) continuous pixels."""
    width = 4096  # cv2.remap wants a sheet with short sides
    rows = -(-len(at) // width)
    places = np.full((rows * width, 2), -10, np.float32)
    places[: len(at)] = at - 0.5
    sheet = places.reshape(rows, width, 2)
    result = cv2.remap(image, sheet[..., 0], sheet[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)
    return result.reshape(rows * width, *image.shape[2:])[: len(at)]


def _seen(
    surface: Surface,
    texels: _Texels,
    source: np.ndarray,
    alpha: np.ndarray,
    light: np.ndarray,
    stand_in: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3) and trust (N,) of texels where the picture shows their `stand_in` vertices (V,)."""
    toward = surface.vertices / np.linalg.norm(surface.vertices, axis=1, keepdims=True)
    facing = -(surface.normals * toward).sum(axis=1)
    values = np.column_stack([surface.vertices, facing, surface.normals])[stand_in]
    spread = texels.spread(values)
    at = project(spread[:, :3], surface.camera)
    nearest = _sample(np.where(np.isfinite(surface.depth), surface.depth, 1e3).astype(np.float32), at, 0)
    visible = spread[:, 2] < nearest + 0.025
    weight = visible * _step(spread[:, 3], *GRAZING)
    weight *= _sample(surface.clear, at, 1) * _step(_sample(alpha, at, 1), 0.3, 0.8)
    colours = _sample(source, at, cv2.INTER_CUBIC).astype(np.float32)
    return colours / shade(spread[:, 4:], light)[:, None], weight.astype(np.float32)


def _copied(
    surface: Surface, texels: _Texels, source: np.ndarray, alpha: np.ndarray, light: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colours and trust of hidden texels that lie behind a visible place of the same limb."""
    toward = surface.vertices / np.linalg.norm(surface.vertices, axis=1, keepdims=True)
    facing = np.abs((surface.normals * toward).sum(axis=1))
    spread = texels.spread(np.column_stack([surface.vertices, surface.normals, facing]))
    at = project(spread[:, :3], surface.camera)
    own = texels.spread(_limbs(surface.topology)[:, None])[:, 0]
    same = _sample(surface.part, at, 0) == np.round(own).astype(np.uint8)
    weight = same * _step(spread[:, 6], *GRAZING)
    weight *= _sample(surface.clear, at, 1) * _step(_sample(alpha, at, 1), 0.3, 0.8)
    normals = np.column_stack([spread[:, 3:5], -np.abs(spread[:, 5])])
    # Details of the front (chest, buttons, a navel) have no place on the back: only the garments stay.
    metre = float(surface.camera[0] / np.median(surface.vertices[:, 2]))
    plain = cv2.medianBlur(source, 2 * max(1, round(PLAIN * metre)) + 1)
    colours = _sample(plain, at, cv2.INTER_LINEAR).astype(np.float32)
    return colours / shade(normals, light)[:, None], weight.astype(np.float32)


def _hair(
    surface: Surface, texels: _Texels, layers: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
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
    back_of_head = (head * _step(behind, 0.45, 0.6) * _step(height, 0.05, 0.25)).astype(np.float32)
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


def _smoothed(surface: Surface, texels: _Texels, layers: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(N, 3) colours spread over the surface from wherever something is known."""
    colour = np.zeros((len(texels.at), 3), np.float32)
    total = np.zeros(len(texels.at), np.float32)
    for (values, weight), trust in zip(layers, (1.0, 0.6, 0.3), strict=True):
        part = weight * trust * (1 - total)
        colour += values * part[:, None]
        total += part
    known = texels.at_vertices(np.column_stack([colour, total]))
    faces = surface.topology.faces
    limbs = _limbs(surface.topology)[faces]
    # Colours hardly pass from limb to limb: sleeves and skin stay apart from the trunk.
    border = (limbs != limbs[:, :1]).any(axis=1)
    axes = _limb_axes(surface.topology)
    stiffness, _ = laplacian(surface.rest, faces, np.where(border, 0.02, 1.0), axes)
    weight = np.clip(known[:, 3], 0, 1)
    values = known[:, :3] / np.maximum(weight, 1e-3)[:, None]
    return texels.spread(fill(stiffness, values, np.where(weight > 0.25, 20 * weight, 0)))
