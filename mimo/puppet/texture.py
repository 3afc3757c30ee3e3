"""Paint the warped body with the picture, and complete what the picture does not show.

After "Photo Wake-Up" (Weng et al., CVPR 2019), section 5. In order of trust, a place of the surface takes
its colour from where it is seen; from where its left-right mirror image is seen; from what is seen of the
same limb in front of it (the back takes the front, but the back of the head takes the hair line); else
smoothly from its surroundings.
"""

from __future__ import annotations

import cv2
import numpy as np

from mimo.body.camera import project
from mimo.puppet.completion import GRAZING, Colours, copied_layer, hair_layer, shows_limb, smoothed_base
from mimo.puppet.even import gains
from mimo.puppet.light import shade
from mimo.puppet.texels import Texels, sample, smooth_step
from mimo.puppet.view import Surface, leaks, person_colours

LARGE, SMALL = 2048, 1024
"""Sides of the texture for people more, or less, than `SWITCH` pixels tall in the picture."""
SWITCH = 800


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
    mask = np.where(leaks(surface, image, mask, tall), 0, mask)
    source, alpha = person_colours(image, mask, tall)
    topology = surface.topology
    texels = Texels.of(topology, side)
    layers = [
        seen_layer(surface, texels, source, alpha, light, np.arange(len(surface.vertices))),
        seen_layer(surface, texels, source, alpha, light, topology.mirror),
        copied_layer(surface, texels, source, alpha, light),
    ]
    layers = _evened(surface, texels, layers)
    hair = hair_layer(surface, texels, layers[:2])
    layers[2] = (
        layers[2][0] * (1 - hair[1][:, None]) + hair[0] * hair[1][:, None],
        np.maximum(layers[2][1] * (1 - hair[1]), hair[1]),
    )
    base = smoothed_base(surface, texels, layers)
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


def _evened(surface: Surface, texels: Texels, layers: list[Colours]) -> list[Colours]:
    """Layers without rims and shades of the picture's light; see `mimo.puppet.even`."""
    shown, trust = layers[0]
    known = texels.at_vertices(np.column_stack([shown * trust[:, None], trust]))
    factors = gains(surface, known[:, :3] / np.maximum(known[:, 3:], 1e-3), np.clip(known[:, 3], 0, 1))
    own, mirrored = texels.spread(factors), texels.spread(factors[surface.topology.mirror])
    return [
        (colours * factor, weight)
        for (colours, weight), factor in zip(layers, (own, mirrored, own), strict=True)
    ]


def seen_layer(
    surface: Surface,
    texels: Texels,
    source: np.ndarray,
    alpha: np.ndarray,
    light: np.ndarray,
    stand_in: np.ndarray,
) -> Colours:
    """Colours (N, 3) and trust (N,) of texels where the picture shows their `stand_in` vertices (V,)."""
    toward = surface.vertices / np.linalg.norm(surface.vertices, axis=1, keepdims=True)
    facing = -(surface.normals * toward).sum(axis=1)
    values = np.column_stack([surface.vertices, facing, surface.normals])[stand_in]
    spread = texels.spread(values)
    at = project(spread[:, :3], surface.camera)
    nearest = sample(np.where(np.isfinite(surface.depth), surface.depth, 1e3).astype(np.float32), at, 0)
    visible = (spread[:, 2] < nearest + 0.025) & shows_limb(surface, texels, at, stand_in)
    weight = visible * smooth_step(spread[:, 3], *GRAZING)
    weight *= smooth_step(sample(surface.clear, at, 1), 0.3, 0.9) * smooth_step(
        sample(alpha, at, 1), 0.3, 0.8
    )
    colours = sample(source, at, cv2.INTER_CUBIC).astype(np.float32)
    return colours / shade(spread[:, 4:], light)[:, None], weight.astype(np.float32)
