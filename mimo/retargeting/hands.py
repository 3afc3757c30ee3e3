"""Hands keep to what they touch: the ground, the own body, each other; else the arm keeps its direction.

Where a hand is near something on the driver, vectors from what it is near to the hand are kept, as in the
relationship descriptors of Al-Asqhar, Komura and Choi (SCA 2013): both bodies have the same vertices, so
that a hand on the driver's hip finds the same place on another's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimo.retargeting.planting import eased

TOUCHING, AWAY = 0.05, 0.18
"""Metres from hand to body (between vertices) up to which they keep to each other, and from which on not."""
LOW, HIGH = 0.06, 0.25
"""Metres above the ground between which a hand ceases to keep to it."""
NEAREST = 0.05
"""Metres beyond the nearest pair of vertices at which a pair hardly counts."""
CARRIES = 0.02
"""Metres above a hand's lowest point at which a point hardly carries it."""


@dataclass(frozen=True, eq=False)
class Nearness:
    """How a hand of the driver is near some vertices, over T frames.

    Attributes:
        share: (T,) 1 touches, 0 is away.
        weights: (T, H, V) of the pairs of the hand's vertices and the others; they sum to 1.
        offsets: (T, 3) mean vector from the others to the hand, metres.
    """

    share: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray

    def gap(self, hand: np.ndarray, others: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """(T, 3) how far another body's hand is from where the driver's is to the same vertices.

        Args:
            hand: (T, H, 3) the other body's.
            others: (T, V, 3) the other body's.
            scale: of the other body against the driver's.
        """
        from_others = np.einsum("thv,tvi->ti", self.weights, others, optimize=True)
        at_hand = np.einsum("thv,thi->ti", self.weights, hand, optimize=True)
        return np.asarray(from_others + scale * self.offsets - at_hand)


def nearness(hand: np.ndarray, others: np.ndarray) -> Nearness:
    """How near the driver's hand (T, H, 3) is to others of its vertices (T, V, 3)."""
    vectors = hand[:, :, None].astype(np.float32) - others[:, None].astype(np.float32)
    distance = np.sqrt(np.einsum("thvi,thvi->thv", vectors, vectors))
    nearest = distance.min((1, 2), keepdims=True)
    weights = np.exp(-(((distance - nearest) / NEAREST) ** 2))
    weights /= weights.sum((1, 2), keepdims=True)
    share = eased((AWAY - nearest[:, 0, 0]) / (AWAY - TOUCHING))
    return Nearness(share, weights, np.einsum("thv,thvi->ti", weights, vectors))


@dataclass(frozen=True, eq=False)
class OnGround:
    """How a hand of the driver is near the ground, over T frames.

    Attributes:
        share: (T,) 1 touches, 0 is away.
        weights: (T, H) of the hand's vertices, the lowest most; they sum to 1.
        place: (T, 3) where these are, metres.
        spread: (T, 3) how far that is from the middle of both hands, where both stand.
    """

    share: np.ndarray
    weights: np.ndarray
    place: np.ndarray
    spread: np.ndarray

    def gap(self, hand: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """(T, 3) how far another body's hand (T, H, 3) is from there; smaller ones stand less apart."""
        place = self.place + (scale - 1) * self.spread
        return np.asarray(place - np.einsum("th,thi->ti", self.weights, hand))


def on_ground(hand: np.ndarray, above: np.ndarray, still: np.ndarray, spread: np.ndarray) -> OnGround:
    """How near the driver's hand is to the ground.

    Args:
        hand: (T, H, 3) its vertices.
        above: (T, H) their heights above the ground, metres.
        still: (T, 3) what keeps the hand where it stands, added to its place.
        spread: see `OnGround`.
    """
    low = above.min(1, keepdims=True)
    weights = np.exp(-(above - low) / CARRIES)
    weights /= weights.sum(1, keepdims=True)
    share = eased((HIGH - low[:, 0]) / (HIGH - LOW))
    return OnGround(share, weights, np.einsum("th,thi->ti", weights, hand) + still, spread)


def mixed(shares: list[np.ndarray], gaps: list[np.ndarray]) -> np.ndarray:
    """(T, 3) what a hand is moved by, from what several things ask for; shares (T,) of 0 ask for nothing."""
    share, gap = np.array(shares), np.array(gaps)
    weights = share**2 / np.maximum(share.sum(0), 1e-9)
    return np.asarray((weights[:, :, None] * gap).sum(0))
