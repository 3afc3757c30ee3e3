"""People as layers of a picture: put over a scene and behind what stands in front, or kept as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Layer:
    """A drawn part of the picture.

    Attributes:
        left, top: where it lies.
        colour: float32 (h, w, 3), 0..255, multiplied by `alpha`.
        alpha: float32 (h, w), 0..1.
    """

    left: int
    top: int
    colour: np.ndarray
    alpha: np.ndarray

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns of the picture that it covers."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def blurred(self, sigma: float) -> Layer:
        """The same with softer detail and edges; `sigma` in pixels."""
        if sigma <= 0:
            return self
        return Layer(
            self.left,
            self.top,
            cv2.GaussianBlur(self.colour, (0, 0), sigma),
            cv2.GaussianBlur(self.alpha, (0, 0), sigma),
        )

    def grained(self, deviation: float, seed: int) -> Layer:
        """The same with noise of a standard deviation in levels; none where that cannot be seen."""
        if deviation <= 0.3:
            return self
        speck = np.random.default_rng(seed).standard_normal(self.alpha.shape, np.float32) * deviation
        return Layer(self.left, self.top, self.colour + (speck * self.alpha)[..., None], self.alpha)


def shadow_layer(left: int, top: int, darkness: np.ndarray) -> Layer:
    """A shadow: black, and as opaque as it darkens; `darkness` float32 (h, w), 0..1."""
    return Layer(left, top, np.zeros((*darkness.shape, 3), np.float32), darkness)


@dataclass(frozen=True)
class PersonLayer:
    """One person in one frame.

    Attributes:
        person: what is seen of them where nothing stands in front; None: nobody.
        shadow: which they cast on the scene, see `shadow_layer`; None: none.
    """

    person: Layer | None = None
    shadow: Layer | None = None


def stacked(people: Sequence[PersonLayer]) -> list[Layer]:
    """Layers of several people from below to above: all shadows, which lie on the ground, then the people.

    Args:
        people: of one frame, from far to near.
    """
    shadows = [one.shadow for one in people if one.shadow is not None]
    return shadows + [one.person for one in people if one.person is not None]


def without(layer: Layer | None, front: Layer | None) -> Layer | None:
    """What a layer shows beside another one that lies before it."""
    if layer is None or front is None:
        return layer
    top, left = max(layer.top, front.top), max(layer.left, front.left)
    bottom = min(one.top + one.alpha.shape[0] for one in (layer, front))
    right = min(one.left + one.alpha.shape[1] for one in (layer, front))
    if top >= bottom or left >= right:
        return layer
    clear = np.ones_like(layer.alpha)
    clear[top - layer.top : bottom - layer.top, left - layer.left : right - layer.left] -= front.alpha[
        top - front.top : bottom - front.top, left - front.left : right - front.left
    ]
    return Layer(layer.left, layer.top, layer.colour * clear[..., None], layer.alpha * clear)


def composite(
    background: np.ndarray,
    people: Sequence[PersonLayer],
    video: np.ndarray | None = None,
    occluder: np.ndarray | None = None,
) -> np.ndarray:
    """People in a scene: their shadows on it, then they themselves, then what stands in front of them.

    Args:
        background: uint8 (H, W, 3), the scene without people.
        people: of one frame, from far to near.
        video: uint8 (H, W, 3), the scene with what stands in front; needed where there is an `occluder`.
        occluder: uint8 (H, W), 255 where something stands in front of everybody; None: nothing does.

    Returns:
        uint8 (H, W, 3), a new array.
    """
    result = background.copy()
    for layer in stacked(people):
        part = result[layer.area]
        mixed = part * (1 - layer.alpha)[..., None] + layer.colour
        part[:] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    if occluder is not None:
        assert video is not None, "what stands in front is seen in the video"
        _put_back(result, video, occluder)
    return result


def _put_back(image: np.ndarray, video: np.ndarray, occluder: np.ndarray) -> None:
    """Put what stands in front over an image, in place."""
    left, top, width, height = cv2.boundingRect(occluder)
    part = (slice(top, top + height), slice(left, left + width))
    alpha = (occluder[part].astype(np.float32) / 255)[..., None]
    image[part] = (image[part] * (1 - alpha) + video[part] * alpha + 0.5).astype(np.uint8)
