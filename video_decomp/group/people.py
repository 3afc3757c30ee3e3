"""Whose each pixel is, where the masks of several people claim it together.

Masks are made for one person at a time, so where two touch, both may claim a hand. A pixel belongs to one
person: to the one whose colours it has, as they are where nobody else claims them, and whose fitted body
covers it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from video_decomp.group.members import Person
from video_decomp.occlusion.moving import COLOURS, colour_codes

LEARNED_FROM = 60
"""Frames, at most, that colours are learned from."""
SMALLEST_SHARE = 1e-3
"""Share of a person's pixels that a colour is taken to have at least."""
BODY_WEIGHT = 2.0
"""What being covered by the body counts, as the logarithm of a likelihood ratio."""
SMOOTHING = 0.004
"""Neighbourhood that decides together (standard deviation), as a share of the picture's longer side."""


class Colours:
    """How each person is coloured: shares of colours among the pixels that nobody else claims.

    Args:
        people: of one video.
    """

    def __init__(self, people: Sequence[Person]) -> None:
        counts = np.zeros((len(people), COLOURS))
        step = -(-len(people[0].vid) // LEARNED_FROM)
        for number, (image, masks) in enumerate(frames_and_masks(people)):
            if number % step == 0:
                alone = masks.sum(axis=0) == 1
                codes = colour_codes(image)
                for count, mask in zip(counts, masks, strict=True):
                    count += np.bincount(codes[mask & alone], minlength=COLOURS)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        self._logarithms = np.log(np.maximum(shares, SMALLEST_SHARE)).astype(np.float32)

    def likelihoods(self, image: np.ndarray) -> np.ndarray:
        """Logarithm of how common each pixel's colour is on each person: (people, h, w) float32."""
        return self._logarithms[:, colour_codes(image)]


@dataclass(frozen=True)
class Owners:
    """One frame's answer.

    Attributes:
        numbers: (h, w) uint8, 0 nobody's, then 1 for the first person...
        contested: pixels that several masks claimed.
    """

    numbers: np.ndarray
    contested: int


def owners(people: Sequence[Person]) -> Iterator[Owners]:
    """Whose each pixel is, frame by frame."""
    colours = Colours(people)
    bodies = zip(*(person.bodies() for person in people), strict=True)
    for (image, masks), covered in zip(frames_and_masks(people), bodies, strict=True):
        numbers = np.where(masks.any(axis=0), masks.argmax(axis=0) + 1, 0).astype(np.uint8)
        contested = masks.sum(axis=0) > 1
        if contested.any():
            numbers[contested] = _decided(image, masks, np.stack(covered), contested, colours)[contested] + 1
        yield Owners(numbers, int(contested.sum()))


def frames_and_masks(people: Sequence[Person]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each frame, uint8 (h, w, 3), with everybody's mask, (people, h, w) bool."""
    masks = zip(*(person.mask for person in people), strict=True)
    for image, greys in zip(people[0].vid, masks, strict=True):
        yield image, np.stack(greys) > 127


def _decided(
    image: np.ndarray, masks: np.ndarray, bodies: np.ndarray, contested: np.ndarray, colours: Colours
) -> np.ndarray:
    """The most likely owner of each pixel in and around contested places: (h, w), 0 for the first person."""
    left, top, width, height = cv2.boundingRect(contested.astype(np.uint8))
    sigma = max(1.0, SMOOTHING * max(contested.shape))
    pad = round(3 * sigma)
    box = (slice(max(0, top - pad), top + height + pad), slice(max(0, left - pad), left + width + pad))
    scores = colours.likelihoods(image[box]) + BODY_WEIGHT * bodies[(slice(None), *box)]
    # Pixels of one person alone vote for them in the neighbourhood, colours elsewhere.
    alone = (masks & ~contested)[(slice(None), *box)]
    scores[alone] += BODY_WEIGHT
    for number, score in enumerate(scores):
        scores[number] = cv2.GaussianBlur(score, (0, 0), sigma)
    scores[~masks[(slice(None), *box)]] = -np.inf
    result = np.zeros(contested.shape, int)
    result[box] = scores.argmax(axis=0)
    return result
