"""Take light out of the texture that the direction of light alone does not explain.

A rim that catches the sky, or a far leg in the shade of the near one, would stay on the body as a stripe or a
stain when it turns. Both are told by comparison: with the same height of the same limb seen face on, and with
the other limb of the pair.
"""

from __future__ import annotations

import numpy as np

from mimo.puppet.surface import fill, laplacian
from mimo.puppet.texels import smooth_step
from mimo.puppet.view import Surface, limbs

PAIRS = (
    ("upperleg",),
    ("lowerleg",),
    ("foot", "toe"),
    ("upperarm",),
    ("lowerarm",),
    ("wrist", "finger", "metacarpal"),
)
"""Beginnings of the names of bones whose surroundings are alike on both sides."""
NEARER = 0.08
"""Difference of depth in metres of the sides from which far limbs take the near ones' colours."""
GAINS = (0.6, 1.8)
FACE_ON = (0.35, 0.75)
"""Cosines of the angle of view between which a place comes to be seen face on."""
USUAL = (20, 80)
"""Percentiles of brightness that are common at one height of a limb."""
HEIGHTS = 24
FEWEST = 40
"""Vertices that a comparison needs."""


def gains(surface: Surface, colours: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Factors (V, 3) for the colours that the picture shows.

    Args:
        surface: the warped body.
        colours: (V, 3) as the picture shows them, 0..255.
        trust: (V,) how well it shows each vertex, 0..1.
    """
    pairs = _pair_gains(surface, colours, trust)
    rims = _rim_gains(surface, colours * pairs, trust)
    known = np.where(trust > 0.3, trust, 0)
    stiffness, _ = laplacian(surface.rest, surface.topology.faces)
    return pairs * fill(stiffness, rims[:, None], 5 * known)


def _pair_gains(surface: Surface, colours: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """(V, 3), give the far limb of a pair the mean colours of the near one."""
    topology = surface.topology
    strongest = topology.skin_indices[np.arange(len(colours)), topology.skin_weights.argmax(axis=1)]
    names = np.array(topology.bone_names)
    factors = np.ones((len(names), 3))
    # Limbs swing: hips and shoulders tell which side is the nearer one.
    roots = [np.isin(names, [f"upperleg01.{side}", f"upperarm01.{side}"])[strongest] for side in "LR"]
    depths = [float(surface.vertices[root, 2].mean()) for root in roots]
    if abs(depths[0] - depths[1]) < NEARER:
        return np.ones((len(colours), 3))
    near, far = np.argsort(depths)
    for beginnings in PAIRS:
        bones = [
            [k for k, name in enumerate(names) if name.startswith(beginnings) and name.endswith(side)]
            for side in (".L", ".R")
        ]
        sides = [np.isin(strongest, group) for group in bones]
        shown = [np.flatnonzero(side & (trust > 0.5)) for side in sides]
        if min(map(len, shown)) < FEWEST:
            continue
        means = [np.average(colours[group], axis=0, weights=trust[group]) for group in shown]
        factors[bones[far]] = np.clip((means[near] + 4) / (means[far] + 4), *GAINS)
    return topology.skin_matrix @ factors


def _rim_gains(surface: Surface, colours: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """(V,), keep the brightness of what turns away from the viewer to what is common at its height."""
    topology = surface.topology
    toward = surface.vertices / np.linalg.norm(surface.vertices, axis=1, keepdims=True)
    facing = -(surface.normals * toward).sum(axis=1)
    grey = np.maximum(colours @ (0.299, 0.587, 0.114), 1)
    factors = np.ones(len(grey))
    groups = limbs(topology)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        sure = members[(trust[members] > 0.5) & (facing[members] > FACE_ON[0])]
        if len(sure) < FEWEST:
            continue
        name = topology.part_names[topology.parts[members[0]]]
        along = (
            np.abs(topology.mean_vertices[:, 0]) if name in ("arm", "hand") else topology.mean_vertices[:, 2]
        )
        sure = sure[np.argsort(along[sure])]
        windows = np.array_split(sure, max(1, min(HEIGHTS, len(sure) // FEWEST)))
        places = [float(along[window].mean()) for window in windows]
        limits = [np.percentile(grey[window], USUAL) for window in windows]
        low, high = (np.interp(along[members], places, [limit[k] for limit in limits]) for k in (0, 1))
        factors[members] = np.clip(np.clip(grey[members], low, high) / grey[members], *GAINS)
    return factors ** (1 - smooth_step(facing, *FACE_ON))
