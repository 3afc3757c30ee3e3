"""Exemplar fill of holes: space-time completion's image case (Wexler et al. 2007) by PatchMatch.

Coarse to fine: every patch that touches the hole looks for its most similar patch in the known image
(PatchMatch, Barnes et al. 2009: random starts, propagation from neighbours, shrinking random search), and
the hole's pixels become the weighted vote of the patches over them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from video_decomp.inpainting.shiftmap import choose_shifts

RADIUS = 3
COARSEST_HOLE = 2500
ROUNDS = 2
RANDOM_REACH = 2
CONTEXT = 1.0


def fill_hole(image: np.ndarray, hole: np.ndarray, known: np.ndarray, seed: int) -> np.ndarray:
    """Fill the holes of an image with plausible content from around them.

    Args:
        image: (h, w, 3) uint8.
        hole: (h, w) bool, what to fill.
        known: (h, w) bool, what may be copied from; disjoint from the hole.
        seed: of the random search; the same input gives the same output.

    Returns:
        (h, w, 3) uint8, equal to `image` outside the hole.
    """
    result = image.copy()
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(
        cv2.dilate(hole.astype(np.uint8), np.ones((15, 15), np.uint8))
    )
    for label in range(1, count):
        left, top, width, height, _ = (int(value) for value in boxes[label])
        pad_x, pad_y = (
            int(CONTEXT * side) + 48 for side in (max(width, height // 2), max(height, width // 2))
        )
        box = (
            slice(max(0, top - pad_y), top + height + pad_y),
            slice(max(0, left - pad_x), left + width + pad_x),
        )
        part = hole[box] & (labels[box] == label)
        if known[box].sum() > part.sum() // 4 + 200:
            result[box] = _fill(result[box], part, known[box], np.random.default_rng(seed))
        else:
            result[box] = cv2.inpaint(result[box], part.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    return result


@dataclass
class _Level:
    """One scale of the problem: image (h, w, 3) float32, hole and known (h, w) bool."""

    image: np.ndarray
    hole: np.ndarray
    known: np.ndarray


def _fill(image: np.ndarray, hole: np.ndarray, known: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Fill one hole of a crop, coarse to fine."""
    pyramid = _pyramid(image, hole, known)
    coarsest = pyramid[-1]
    shifts = choose_shifts(coarsest.image, coarsest.hole, coarsest.known)
    rows, columns = np.indices(coarsest.hole.shape)
    limits = np.array(coarsest.hole.shape) - 1
    at = np.clip(np.dstack([rows, columns]) + shifts, 0, limits)
    current = coarsest.image[at[..., 0], at[..., 1]]
    field: _Field | None = None
    for level in reversed(pyramid):
        if current.shape != level.image.shape:
            current = cv2.resize(current, level.image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        current = np.where(level.hole[..., None], current, level.image)
        field = _Field(level, random, field, shifts)
        for _ in range(ROUNDS):
            field.improve(current, RANDOM_REACH)
            current = field.vote(current)
    result = image.copy()
    result[hole] = np.clip(np.round(current[hole]), 0, 255).astype(np.uint8)
    return result


def _pyramid(image: np.ndarray, hole: np.ndarray, known: np.ndarray) -> list[_Level]:
    """Halved again and again until the hole is a few pixels thick; finest first."""
    levels = [_Level(image.astype(np.float32), hole, known)]
    while True:
        last = levels[-1]
        if last.hole.sum() <= COARSEST_HOLE or min(last.hole.shape) < 12 * RADIUS:
            return levels
        size = (last.hole.shape[1] // 2, last.hole.shape[0] // 2)
        weight = last.known.astype(np.float32)
        share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        colour = cv2.resize(last.image * weight[..., None], size, interpolation=cv2.INTER_AREA)
        open_ = cv2.resize(last.hole.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        colour = colour / np.maximum(share, 1e-3)[..., None]
        levels.append(_Level(colour, open_ > 0, (share > 0.99) & (open_ == 0)))


class _Field:
    """Matches from the patches that touch a level's hole (targets) to its known patches (sources).

    Attributes:
        targets: (N, 2) rows and columns of patch centres.
        match: (N, 2) centres of the patches they are like.
    """

    def __init__(
        self, level: _Level, random: np.random.Generator, coarse: _Field | None, shifts: np.ndarray
    ) -> None:
        self._random = random
        self._limits = np.array(level.hole.shape)
        side = 2 * RADIUS + 1
        kernel = np.ones((side, side), np.uint8)
        inner = np.zeros(level.hole.shape, bool)
        inner[RADIUS:-RADIUS, RADIUS:-RADIUS] = True
        whole = inner & (cv2.erode(level.known.astype(np.uint8), kernel) > 0)
        self._source = whole if whole.any() else inner & level.known
        self._hole = level.hole
        self.targets = np.argwhere(inner & (cv2.dilate(level.hole.astype(np.uint8), kernel) > 0))
        self._index = np.full(level.hole.shape, -1)
        self._index[tuple(self.targets.T)] = np.arange(len(self.targets))
        # Patches near the hole's rim hold more truth: their votes count more.
        depth = cv2.distanceTransform(level.hole.astype(np.uint8), cv2.DIST_L2, 3)
        self._trust = 1.3 ** -np.minimum(depth[tuple(self.targets.T)], 40)
        self.match = self._first_match(coarse, shifts)

    def _first_match(self, coarse: _Field | None, shifts: np.ndarray) -> np.ndarray:
        """By the shifts, or carried over from the next coarser level; random where neither."""
        sources = np.argwhere(self._source)
        drawn = sources[self._random.integers(len(sources), size=len(self.targets))]
        if coarse is None:
            carried = self.targets + shifts[tuple(self.targets.T)]
            usable = self._allowed(carried)
        else:
            at = coarse._index[tuple(np.minimum(self.targets // 2, coarse._limits - 1).T)]
            carried = self.targets + 2 * (coarse.match - coarse.targets)[at]
            usable = (at >= 0) & self._allowed(carried)
        return np.where(usable[:, None], carried, drawn)

    def improve(self, current: np.ndarray, reach: int) -> None:
        """One PatchMatch pass on the current image; `reach` is the first radius of the random search."""
        patches = np.lib.stride_tricks.sliding_window_view(current, (2 * RADIUS + 1,) * 2, axis=(0, 1))
        wanted = patches[tuple((self.targets - RADIUS).T)]
        cost = np.full(len(self.targets), np.inf, np.float32)

        def attempt(candidate: np.ndarray, rows: np.ndarray) -> None:
            rows = rows[self._allowed(candidate[rows])]
            difference = patches[tuple((candidate[rows] - RADIUS).T)] - wanted[rows]
            found = np.einsum("ncij,ncij->n", difference, difference)
            better = found < cost[rows]
            cost[rows[better]] = found[better]
            self.match[rows[better]] = candidate[rows[better]]

        everyone = np.arange(len(self.targets))
        attempt(self.match.copy(), everyone)
        for jump in (4, 1):
            for step in ((0, jump), (jump, 0), (0, -jump), (-jump, 0)):
                beside = self.targets + step
                inside = np.all((beside >= 0) & (beside < self._limits), axis=1)
                neighbour = self._index[tuple(np.where(inside[:, None], beside, 0).T)]
                rows = np.flatnonzero(inside & (neighbour >= 0))
                candidate = self.match.copy()
                candidate[rows] = self.match[neighbour[rows]] - step
                attempt(candidate, rows)
        while reach >= 1:
            jitter = self._random.integers(-reach, reach + 1, size=self.match.shape)
            attempt(self.match + jitter, everyone)
            reach //= 2
        self._cost = cost

    def vote(self, current: np.ndarray) -> np.ndarray:
        """The image with every hole pixel the weighted mean of what the patches over it propose."""
        finite = np.where(np.isfinite(self._cost), self._cost, self._cost[np.isfinite(self._cost)].max())
        spread = max(float(np.quantile(finite, 0.6)), 1.0)
        weight = (np.exp(-finite / spread) * self._trust + 1e-9).astype(np.float32)[:, None]
        total = np.zeros_like(current)
        weights = np.zeros((*current.shape[:2], 1), np.float32)
        for row in range(-RADIUS, RADIUS + 1):
            for column in range(-RADIUS, RADIUS + 1):
                to = tuple((self.targets + np.array([row, column])).T)
                total[to] += weight * current[tuple((self.match + np.array([row, column])).T)]
                weights[to] += weight
        voted = self._hole & (weights[..., 0] > 0)
        result = current.copy()
        result[voted] = total[voted] / weights[voted]
        return result

    def _allowed(self, places: np.ndarray) -> np.ndarray:
        """Which places (N, 2) are centres of source patches."""
        inside = np.all((places >= 0) & (places < self._limits), axis=1)
        return inside & self._source[tuple(np.where(inside[:, None], places, 0).T)]
