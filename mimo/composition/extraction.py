"""The synthesised person without the scene behind them: opacity and colours of their own.

The matte of the improved composition lies over the scene it was made in, where a pixel that person and scene
share may belong to either. Over another scene every such pixel shows. Here the rendered body says, too, where
the person is, neighbours agree, and colours at the outline are freed of the scene, which is known. Where the
ground is the scene's, only darker, lies a shadow.
"""

from __future__ import annotations

import cv2
import numpy as np

from mimo.composition.regions import body_mask, clean_mask
from mimo.composition.transparency import spread

# Noise of a synthesised background, in levels, beside what the autoencoder softens.
_NOISE = 3.0
# Density of the person's difference from the background: any level up to about this one.
_LEVELS = 80.0
# How far clothes and hair may reach past the rendered body; how exactly its outline is known; over what
# distance neighbours agree. Shares of the body's height.
_REACH, _OUTLINE, _NEIGHBOURS = 0.12, 0.012, 0.006
# How strongly neighbours agree, and rounds in which they do.
_BOND, _ROUNDS = 4.0, 8
# What a difference weighs beside the place.
_WEIGHT = 2.0
# Shadows: the share of the scene's light that is left in the darkest; what is too faint to tell from noise;
# how far they reach above the body's lowest point, and around all of it, as shares of its height; pixels over
# which they are even at an outline, and in the end; levels of a scene too dark to show any.
_DARKEST, _FAINT, _ABOVE, _AROUND, _LOCAL, _SMOOTH, _DIM = 0.35, 0.04, 0.4, 0.35, 1.5, 4.0, 10.0
# Pixels at the outline in which person and scene may be mixed.
_BAND = 2
# Difference of colours from which on the share of each in a mixture can be told.
_TOLD = 25.0


def extracted(image: np.ndarray, background: np.ndarray, sdc: np.ndarray) -> np.ndarray:
    """The person of a synthesised frame, and their shadow.

    Args:
        image: (h, w, 3) float32, 0 to 255, a synthesised frame, its colours matched to the scene's.
        background: (h, w, 3) uint8, the scene behind.
        sdc: (h, w, 3) uint8 motion code of the same place.

    Returns:
        (h, w, 5) float32: colours 0 to 255, multiplied by the opacity; the opacity, 0 to 1; darkness of the
        shadow, 0 to 1.
    """
    body = clean_mask(body_mask(sdc))
    _, top, _, height = cv2.boundingRect(body)
    if not height:
        return np.zeros((*body.shape, 5), np.float32)
    scene = background.astype(np.float32)
    depth = cv2.distanceTransform(body, cv2.DIST_L2, 5) - cv2.distanceTransform(255 - body, cv2.DIST_L2, 5)
    rows = np.arange(len(body), dtype=np.float32)[:, None]
    ground = np.clip((rows - top) / height - (1 - _ABOVE), 0, 0.05) / 0.05
    ground = ground * np.clip((depth / height + _AROUND) / 0.1, 0, 1)
    evidence = _evidence(image, scene, ground > 0, depth / height)
    inside = _connected(_agreed(evidence, max(1.0, _NEIGHBOURS * height)), body)
    darkness = ground * _darkness(image, scene, inside)
    return np.dstack([_freed(image, scene * (1 - darkness[..., None]), inside), darkness])


def _freed(image: np.ndarray, scene: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The person's colours, multiplied by their opacity, and that: (h, w, 4) float32."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _BAND + 1, 2 * _BAND + 1))
    core = cv2.erode(inside, disc).astype(np.float32)
    near = cv2.dilate(inside, disc).astype(np.float32)
    own = spread(image * core[..., None], core)
    away = own - scene
    length = (away**2).sum(axis=2)
    share = np.clip(((image - scene) * away).sum(axis=2) / np.maximum(length, 1.0), 0, 1)
    plain = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.8)
    told = np.minimum(length / _TOLD**2, 1)
    alpha = np.where(core > 0, 1, near * (plain + told * (share - plain)))[..., None].astype(np.float32)
    freed = np.clip(image - (1 - alpha) * scene, 0, 255 * alpha)
    # The less of the person is in a mixture, the more noise is in what is freed of it.
    return np.dstack([alpha * (freed + (1 - alpha) * own), alpha])


def _evidence(image: np.ndarray, scene: np.ndarray, ground: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """How much more likely a pixel is the person's than the scene's, by its colour and its place.

    Args:
        image, scene: as for `extracted`, both float32.
        ground: (h, w) bool, where a shadow may lie.
        depth: (h, w) how deep in the body a pixel lies, negative outside; shares of the body's height.

    Returns:
        (h, w) logarithm of the ratio of likelihoods.
    """
    difference = _difference(image, scene)
    shaded = scene * _gain(image, scene, np.ones_like(depth), _LOCAL)[..., None]
    difference = np.where(ground & (depth < _OUTLINE), _difference(image, shaded), difference)
    # The autoencoder softens fine detail: where the scene has much, a difference says less.
    detail = cv2.GaussianBlur(np.abs(scene - cv2.GaussianBlur(scene, (0, 0), 2.0)).max(axis=2), (0, 0), 2.0)
    noise = _NOISE + 0.5 * detail
    seen = _WEIGHT * (np.minimum(difference / noise, 12) + np.log(2 * noise / _LEVELS))
    return np.asarray(seen + np.where(depth < -_REACH, -100, np.clip(depth / _OUTLINE, -1, 6)))


def _agreed(evidence: np.ndarray, reach: float) -> np.ndarray:
    """Pixels that are the person's, uint8 0 or 1, once neighbours within `reach` pixels agree.

    By mean-field inference in a Markov random field.
    """
    agreed = evidence
    for _ in range(_ROUNDS):
        agreed = evidence + _BOND * cv2.GaussianBlur(np.tanh(agreed / 2), (0, 0), reach)
    return (agreed > 0).astype(np.uint8)


def _difference(image: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """(h, w) levels, of the channel that differs most."""
    return np.asarray(np.abs(cv2.GaussianBlur(image - scene, (0, 0), 0.7)).max(axis=2))


def _gain(image: np.ndarray, scene: np.ndarray, weight: np.ndarray, reach: float) -> np.ndarray:
    """What is left of the scene's light, (h, w) from `_DARKEST` to 1: least squares within `reach` pixels."""
    sums = (image * scene).sum(axis=2), (scene * scene).sum(axis=2)
    # What is dark anyway tells little, and is taken for lit.
    both, alone = (cv2.GaussianBlur((one + 3 * _DIM**2) * weight, (0, 0), reach) for one in sums)
    return np.clip(both / np.maximum(alone, 1.0), _DARKEST, 1)


def _darkness(image: np.ndarray, scene: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Darkness of a shadow around the person, and carried on under them, (h, w) float32, 0 to 1."""
    free = 1 - cv2.dilate(inside, np.ones((2 * _BAND + 3, 2 * _BAND + 3))).astype(np.float32)
    dark = 1 - _gain(image, scene, free, _SMOOTH)
    dark = np.maximum(dark - _FAINT, 0) * (1 / (1 - _FAINT))
    return np.asarray(spread(dark[..., None] * free[..., None].repeat(3, axis=2), free)[..., 0], np.float32)


def _connected(inside: np.ndarray, body: np.ndarray) -> np.ndarray:
    """The parts that touch the body, uint8 0 or 1."""
    count, labels = cv2.connectedComponents(inside)
    touching = np.zeros(count, np.uint8)
    touching[np.unique(labels[body > 0])] = 1
    touching[0] = 0
    return touching[labels]
