"""Light of a picture or a scene: direction from the shading of the body, tone and sharpness from the pixels.

Brightness is modelled as the product of an unknown albedo of each bone's surroundings and exp(a . n), with
n the normal in camera axes: a first-order spherical-harmonic light in the logarithm (after Basri and Jacobs
2003). The coefficients follow from the body's own pixels by robust least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LIMIT = 0.5
"""Largest length of the coefficients: light from one side makes at most exp(2 * 0.5) times as bright."""


def shade(normals: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(N,) brightness factors of (N, 3) camera-space unit normals under a (3,) light."""
    return np.exp(normals @ light)


@dataclass
class LightEstimate:
    """Gathers pixels of a person, over as many frames as wanted, and solves for the light.

    Attributes:
        groups: number of albedo groups.
    """

    groups: int

    def __post_init__(self) -> None:
        self._brightness: list[np.ndarray] = []
        self._normals: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, image: np.ndarray, normals: np.ndarray, labels: np.ndarray, where: np.ndarray) -> None:
        """Add one frame.

        Args:
            image: uint8 (H, W, 3).
            normals: (H, W, 3) camera space.
            labels: (H, W) albedo group of each pixel.
            where: (H, W) bool, pixels to use.
        """
        grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 2)
        rows, columns = np.nonzero(where)
        step = max(1, len(rows) // 4000)
        rows, columns = rows[::step], columns[::step]
        self._brightness.append(np.log(grey[rows, columns] + 8))
        self._normals.append(normals[rows, columns])
        self._labels.append(labels[rows, columns].astype(int))

    def solve(self) -> np.ndarray:
        """(3,) float32 coefficients; zero when there are too few pixels."""
        if sum(map(len, self._labels)) < 500:
            return np.zeros(3, np.float32)
        brightness = np.concatenate(self._brightness)
        normals = np.concatenate(self._normals)
        labels = np.concatenate(self._labels)
        weight = np.ones(len(labels))
        light = np.zeros(3)
        for _ in range(8):
            n = np.stack([self._centred(normals[:, k], labels, weight) for k in range(3)], axis=1)
            b = self._centred(brightness, labels, weight)
            gram = n.T @ (weight[:, None] * n) + 0.02 * len(labels) * np.eye(3)
            light = np.linalg.solve(gram, n.T @ (weight * b))
            error = np.abs(b - n @ light)
            weight = 1 / (1 + (error / 0.15) ** 2)
        length = float(np.linalg.norm(light))
        return (light * min(1.0, LIMIT / max(length, 1e-9))).astype(np.float32)

    def _centred(self, values: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Values less the weighted mean of their group, which takes the albedo out."""
        count = np.maximum(np.bincount(labels, weight, self.groups), 1e-6)
        return values - (np.bincount(labels, weight * values, self.groups) / count)[labels]


@dataclass(frozen=True)
class Tone:
    """Range and tint of a picture.

    Attributes:
        black, white: brightness (0..255) of nearly the darkest and brightest pixels.
        tint: (3,) mean colour of the brighter half over its own mean.
    """

    black: float
    white: float
    tint: np.ndarray

    @classmethod
    def of(cls, pixels: np.ndarray) -> Tone:
        """Measure (N, 3) uint8 pixels."""
        values = pixels.reshape(-1, 3).astype(np.float32)
        grey = values @ (0.299, 0.587, 0.114)
        black, middle, white = np.percentile(grey, (1.0, 50.0, 99.0))
        bright = values[(grey >= middle) & (grey <= white)].mean(axis=0)
        return cls(float(black), float(max(white, black + 20)), bright / max(bright.mean(), 1.0))


def exposure(source: float, target: float) -> float:
    """Gain that moves a person's mean brightness toward that of another in the scene.

    Clothes differ more than light does, so it goes only part of the way.
    """
    return float(np.clip((target / max(source, 1.0)) ** 0.4, 0.8, 1.25))


def tone_table(source: Tone, target: Tone, gain: float, strength: float) -> np.ndarray:
    """(256, 3) uint8 table that brings pixels from one picture's tone to another's.

    Black and white points, tint and `gain` (see `exposure`) move by `strength` of the way; they are bounded,
    so that a green meadow does not paint people green.
    """
    levels = np.arange(256, dtype=np.float32)[:, None]
    contrast = np.clip((target.white - target.black) / (source.white - source.black), 0.75, 1.3)
    tint = np.clip(target.tint / source.tint, 0.88, 1.14) ** 0.5
    mapped = ((levels - source.black) * contrast + target.black) * tint * gain
    result = levels + strength * (mapped - levels)
    # A soft shoulder instead of clipping.
    over = result > 230
    result[over] = 230 + 25 * np.tanh((result[over] - 230) / 25)
    return np.clip(result + 0.5, 0, 255).astype(np.uint8)


def sharpness(image: np.ndarray, where: np.ndarray) -> float:
    """Ratio of the finest detail to the next coarser in a part of an image; low where it is blurred."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    one, two = cv2.GaussianBlur(grey, (0, 0), 0.8), cv2.GaussianBlur(grey, (0, 0), 1.8)
    if where.sum() < 100:
        return 1.0
    return float(np.std((grey - one)[where]) / max(np.std((one - two)[where]), 1e-3))


def blur_to_match(image: np.ndarray, where: np.ndarray, goal: float) -> float:
    """Standard deviation in pixels of the blur that brings an image down to a sharpness; 0 to 1.5."""
    for sigma in np.arange(0.0, 1.55, 0.1):
        blurred = cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image
        if sharpness(blurred, where) <= goal:
            return float(sigma)
    return 1.5


def grain(first: np.ndarray, second: np.ndarray, where: np.ndarray) -> float:
    """Standard deviation of the noise between two frames of a still scene, in levels."""
    if where.sum() < 100:
        return 0.0
    change = first[where].astype(np.float32).mean(axis=-1) - second[where].astype(np.float32).mean(axis=-1)
    return float(np.median(np.abs(change)) * 1.4826 / np.sqrt(2))
