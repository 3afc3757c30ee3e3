"""Which of several people is in front, frame by frame.

The video itself shows it where two people meet: of the pixels that both fitted bodies cover, those of the one
in front are seen. Elsewhere, who stands lower in the picture is nearer, as on common ground under a camera
that looks down on it. Distances of the fitted bodies count least: each was fitted alone, with a size of its
own. What the video shows in one moment holds until it shows otherwise (Viterbi's algorithm over the two
orders of each pair), so that orders do not flicker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import cv2
import numpy as np

CLEAR_SHARE = 0.01
"""Share of the smaller body whose pixels show without doubt who is in front."""
DOUBT = 0.02
"""Width of a fitted body's rim that may be wrong, in body heights: there its pixels show nothing."""
GROUND_WEIGHT, DEPTH_WEIGHT = 0.1, 0.05
"""What the feet's place and the fitted distances count, where what is seen counts 1."""
CLEAR_STEP = 0.1
"""Difference of the feet's place, in body heights, or of distances, as a share, that counts in full."""
SWITCH_SECONDS = 0.4
"""How long the video must show another order until it is believed."""


@dataclass
class DepthOrder:
    """Collects what frames tell, then answers.

    Args:
        people: how many.
        fps: frames a second.
    """

    people: int
    fps: float
    _shown: list[np.ndarray] = field(default_factory=list, init=False)
    _likely: list[np.ndarray] = field(default_factory=list, init=False)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Numbers of two people each, from 0."""
        return list(combinations(range(self.people), 2))

    def add(self, bodies: np.ndarray, seen: np.ndarray, depths: np.ndarray) -> None:
        """Take in the next frame.

        Args:
            bodies: (people, h, w) bool, where each fitted body is, seen or hidden.
            seen: (people, h, w) bool, whose pixels are seen.
            depths: (people,) metres from the camera, NaN where unknown.
        """
        boxes = [cv2.boundingRect(body.astype(np.uint8)) for body in bodies]
        areas = bodies.sum(axis=(1, 2))
        sure = [_eroded(body, DOUBT * box[3]) for body, box in zip(bodies, boxes, strict=True)]
        shown, likely = [], []
        for a, b in self.pairs:
            if not areas[a] or not areas[b]:
                shown.append(0.0)
                likely.append(0.0)
                continue
            both = sure[a] & sure[b]
            balance = int((seen[a] & both).sum()) - int((seen[b] & both).sum())
            shown.append(np.clip(balance / (CLEAR_SHARE * min(areas[a], areas[b])), -1, 1))
            feet = [boxes[one][1] + boxes[one][3] for one in (a, b)]
            height = (boxes[a][3] + boxes[b][3]) / 2
            lower = np.clip((feet[0] - feet[1]) / height / CLEAR_STEP, -1, 1)
            nearer = np.nan_to_num(np.log(depths[b] / depths[a]) / CLEAR_STEP)
            likely.append(GROUND_WEIGHT * lower + DEPTH_WEIGHT * np.clip(nearer, -1, 1))
        self._shown.append(np.array(shown))
        self._likely.append(np.array(likely))

    def orders(self) -> np.ndarray:
        """People from far to near: (frames, people) int, numbers from 0."""
        frames = len(self._shown)
        nearer = np.zeros((frames, self.people))
        for (a, b), evidence in zip(self.pairs, self._evidence().T, strict=True):
            first = steadiest(evidence, SWITCH_SECONDS * self.fps)
            nearer[:, a] += first
            nearer[:, b] += ~first
        return np.argsort(nearer, axis=1, kind="stable")

    def agreement(self) -> float | None:
        """Share of what the video shows, as clearly as it does, that the orders agree with; None: nothing."""
        shown = np.array(self._shown)
        if not np.abs(shown).sum():
            return None
        places = np.argsort(self.orders(), axis=1)
        agrees = [
            np.where(places[:, a] > places[:, b], 1, -1) * shown[:, k] for k, (a, b) in enumerate(self.pairs)
        ]
        return float(np.maximum(agrees, 0).sum() / np.abs(shown).sum())

    def _evidence(self) -> np.ndarray:
        return np.array(self._shown) + np.array(self._likely)


def _eroded(body: np.ndarray, width: float) -> np.ndarray:
    """A body's area without its rim, which is so many pixels wide."""
    size = 2 * round(width) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.erode(body.astype(np.uint8), disc, borderValue=1) > 0


def steadiest(evidence: np.ndarray, cost: float) -> np.ndarray:
    """The best explanation of evidence by a state that seldom changes (Viterbi).

    Args:
        evidence: (T,) for (positive) or against a state.
        cost: of a change.

    Returns:
        (T,) bool, whether the state holds.
    """
    gains = np.stack([-evidence, evidence], axis=1)
    best = gains[0]
    came_from = np.zeros((len(gains), 2), int)
    for time in range(1, len(gains)):
        changed = best[::-1] - cost
        came_from[time] = np.where(changed > best, [1, 0], [0, 1])
        best = np.maximum(best, changed) + gains[time]
    states = np.zeros(len(gains), bool)
    state = int(best[1] >= best[0])
    for time in range(len(gains) - 1, -1, -1):
        states[time] = bool(state)
        state = int(came_from[time, state])
    return states
