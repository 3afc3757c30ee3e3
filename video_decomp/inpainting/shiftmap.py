"""Large holes as a labelling: which shifted copy of the image fills each pixel (He & Sun 2012; Pritch 2009).

A few dozen shifts are chosen so that every piece of the hole's rim is continued well by one of them; loopy
belief propagation then gives each pixel a shift so that seams between copies do not show. Copies are large
and keep structure (tables, floor lines), where patch voting falls back to plain wall.
"""

from __future__ import annotations

import cv2
import numpy as np

LABELS = 32
RIM = 4
ITERATIONS = 24
UNUSABLE = 1e4
TRUNCATE = 900.0
# Things at the same height look alike: upright scenes are better continued sideways.
PRIOR_SIDE, PRIOR_HEIGHT = 0.6, 2.0


def choose_shifts(image: np.ndarray, hole: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Shift of the source of every hole pixel.

    Args:
        image: (h, w, 3) float32, a coarse image (the hole some thousand pixels).
        hole, known: (h, w) bool.

    Returns:
        (h, w, 2) int64, rows and columns to add; 0 outside the hole. A source may lie outside `known` where
        nothing better exists.
    """
    features = _features(image)
    pad = max(hole.shape)
    features = np.pad(features, ((pad, pad), (pad, pad), (0, 0)))
    usable = np.pad(known, pad)
    rim = known & (cv2.dilate(hole.astype(np.uint8), np.ones((2 * RIM + 1,) * 2, np.uint8)) > 0)
    shifts = _candidates(features, usable, np.argwhere(rim) + pad, np.argwhere(hole) + pad)
    nodes = np.argwhere(hole | rim)
    labels = _label(features, usable, nodes + pad, hole[tuple(nodes.T)], shifts, hole.shape, pad)
    result = np.zeros((*hole.shape, 2), np.int64)
    result[tuple(nodes.T)] = shifts[labels]
    result[~hole] = 0
    return result


def _features(image: np.ndarray) -> np.ndarray:
    """Colour and gradients, (h, w, 5) float32."""
    gray = image.mean(axis=-1)
    gradients = [cv2.Sobel(gray, cv2.CV_32F, 1, 0) / 4, cv2.Sobel(gray, cv2.CV_32F, 0, 1) / 4]
    return np.dstack([image, *gradients]).astype(np.float32)


def _candidates(features: np.ndarray, usable: np.ndarray, rim: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Shifts (L, 2) that between them continue every piece of the rim well."""
    height, width = hole.max(axis=0) - hole.min(axis=0) + 1
    reach_rows, reach_columns = int(0.4 * height) + 6, int(1.5 * max(width, height / 2)) + 8
    sample = hole[:: max(1, len(hole) // 200)]
    rim = rim[:: max(1, len(rim) // 240)]
    shifts, scores = [], []
    for row in range(-reach_rows, reach_rows + 1):
        for column in range(-reach_columns, reach_columns + 1):
            shift = np.array([row, column])
            if not usable[tuple((sample + shift).T)].any():
                continue
            there = rim + shift
            error = ((features[tuple(there.T)] - features[tuple(rim.T)]) ** 2).sum(axis=1)
            score = np.where(usable[tuple(there.T)], np.clip(TRUNCATE - error, 0, None), 0)
            shifts.append(shift)
            scores.append(score * usable[tuple((sample + shift).T)].mean())
    table = np.array(scores, np.float32)
    covered = np.zeros(len(rim), np.float32)
    chosen: list[int] = []
    while len(chosen) < min(LABELS, len(shifts)):
        gain = np.clip(table - covered, 0, None).sum(axis=1)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        covered = np.maximum(covered, table[best])
    return np.array([shifts[index] for index in chosen])


def _label(
    features: np.ndarray,
    usable: np.ndarray,
    nodes: np.ndarray,
    inside: np.ndarray,
    shifts: np.ndarray,
    shape: tuple[int, ...],
    pad: int,
) -> np.ndarray:
    """Min-sum belief propagation; the label (N,) of every node."""
    sources = nodes[:, None] + shifts
    colours = features[sources[..., 0], sources[..., 1]]
    own = np.minimum(((colours - features[tuple(nodes.T)][:, None]) ** 2).sum(axis=-1), TRUNCATE)
    prior = np.abs(shifts) @ np.array([PRIOR_HEIGHT, PRIOR_SIDE])
    unary = np.where(inside[:, None], prior[None], own)
    unary = np.where(usable[sources[..., 0], sources[..., 1]], unary, UNUSABLE).astype(np.float32)
    index = np.full(np.array(shape) + 2 * pad, -1)
    index[tuple(nodes.T)] = np.arange(len(nodes))
    edges = []
    for step in ((0, 1), (1, 0)):
        other = index[tuple((nodes + step).T)]
        first = np.flatnonzero(other >= 0)
        second = other[first]
        edges.append((first, second, _seams(colours, first, nodes, features, shifts, step)))
    incoming = np.zeros((4, len(nodes), len(shifts)), np.float32)
    for _ in range(ITERATIONS):
        belief = unary + incoming.sum(axis=0)
        for axis, (first, second, seam) in enumerate(edges):
            forward, backward = 2 * axis, 2 * axis + 1
            to_second = (belief[first] - incoming[backward, first])[:, :, None] + seam
            to_first = (belief[second] - incoming[forward, second])[:, None, :] + seam
            incoming[forward, second] = _normalised(to_second.min(axis=1))
            incoming[backward, first] = _normalised(to_first.min(axis=2))
    return (unary + incoming.sum(axis=0)).argmin(axis=1)


def _seams(
    colours: np.ndarray,
    first: np.ndarray,
    nodes: np.ndarray,
    features: np.ndarray,
    shifts: np.ndarray,
    step: tuple[int, int],
) -> np.ndarray:
    """Cost (E, L, L) of the first node taking shift a and its neighbour shift b: both see both places."""
    here = colours[first]
    beside = nodes[first][:, None] + shifts + step
    there = features[beside[..., 0], beside[..., 1]]
    return np.minimum(_distances(here) + _distances(there), 4 * TRUNCATE)


def _distances(values: np.ndarray) -> np.ndarray:
    """Squared distances (E, L, L) between the L vectors (E, L, C) of every row."""
    squares = (values**2).sum(axis=-1)
    return squares[:, :, None] + squares[:, None, :] - 2 * values @ values.transpose(0, 2, 1)


def _normalised(messages: np.ndarray) -> np.ndarray:
    return messages - messages.min(axis=1, keepdims=True)
