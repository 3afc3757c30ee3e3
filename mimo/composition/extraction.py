"""The synthesised person without the scene behind them: opacity and colours of their own.

The matte of the improved composition lies over the scene it was made in, where a pixel that person and scene
share may belong to either. Over another scene every such pixel shows. Here the rendered body says, too, where
the person is, neighbours agree, and colours at the outline are freed of the scene, which is known.
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
# Pixels at the outline in which person and scene may be mixed.
_BAND = 2
# Difference of colours from which on the share of each in a mixture can be told.
_TOLD = 25.0


def extracted(image: np.ndarray, background: np.ndarray, sdc: np.ndarray) -> np.ndarray:
    """The person of a synthesised frame.

    Args:
        image: (h, w, 3) float32, 0 to 255, a synthesised frame, its colours matched to the scene's.
        background: (h, w, 3) uint8, the scene behind.
        sdc: (h, w, 3) uint8 motion code of the same place.

    Returns:
        (h, w, 4) float32: colours 0 to 255, multiplied by the opacity, and the opacity, 0 to 1.
    """
    body = clean_mask(body_mask(sdc))
    _, _, _, height = cv2.boundingRect(body)
    if not height:
        return np.zeros((*body.shape, 4), np.float32)
    scene = background.astype(np.float32)
    inside = _where(image, scene, body, height)
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
    return np.dstack([alpha * own + alpha * (freed - alpha * own), alpha])


def _where(image: np.ndarray, scene: np.ndarray, body: np.ndarray, height: int) -> np.ndarray:
    """Pixels that are more likely the person's than the scene's, uint8 0 or 1.

    Likelihoods of the difference and of the place are joined by mean-field inference.
    """
    difference = np.abs(cv2.GaussianBlur(image - scene, (0, 0), 0.7)).max(axis=2)
    # The autoencoder softens fine detail: where the scene has much, a difference says less.
    detail = cv2.GaussianBlur(np.abs(scene - cv2.GaussianBlur(scene, (0, 0), 2.0)).max(axis=2), (0, 0), 2.0)
    noise = _NOISE + 0.5 * detail
    seen = _WEIGHT * (np.minimum(difference / noise, 12) + np.log(2 * noise / _LEVELS))
    depth = cv2.distanceTransform(body, cv2.DIST_L2, 5) - cv2.distanceTransform(255 - body, cv2.DIST_L2, 5)
    place = np.clip(depth / (_OUTLINE * height), -1, 6)
    place = np.where(depth < -_REACH * height, -100, place)
    evidence = seen + place
    agreed = evidence
    for _ in range(_ROUNDS):
        around = cv2.GaussianBlur(np.tanh(agreed / 2), (0, 0), max(1.0, _NEIGHBOURS * height))
        agreed = evidence + _BOND * around
    return _connected((agreed > 0).astype(np.uint8), body)


def _connected(inside: np.ndarray, body: np.ndarray) -> np.ndarray:
    """The parts that touch the body, uint8 0 or 1."""
    count, labels = cv2.connectedComponents(inside)
    touching = np.zeros(count, np.uint8)
    touching[np.unique(labels[body > 0])] = 1
    touching[0] = 0
    return touching[labels]
