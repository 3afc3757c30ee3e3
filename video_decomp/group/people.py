"""Whose each pixel is, where several people of a video meet.

Masks are made for one person at a time, and are at their worst where two people touch: both may claim a hand,
or nobody a shin. There a pixel belongs to the person whose colours it has, as they are where nobody else is
near, and whose fitted body covers it, or to the scene.
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
"""Share of all pixels of a person, or of the scene, that a colour is taken to have at least."""
BODY_WEIGHT = 2.0
"""What being covered by the body counts, as the logarithm of a likelihood ratio."""
SCENE_WEIGHT = 1.0
"""What it counts that no mask claimed a pixel."""
SMOOTHING = 0.004
"""Neighbourhood that decides together (standard deviation), as a share of the picture's longer side."""
MEETING, BODY_REACH = 0.05, 0.015
"""Distance from another person in which masks miss something, and from the body in which it lies; same."""


class Colours:
    """How the scene and each person are coloured: shares of colours among the pixels that are surely theirs.

    Args:
        people: of one video.
    """

    def __init__(self, people: Sequence[Person]) -> None:
        counts = np.zeros((len(people) + 1, COLOURS))
        step = -(-len(people[0].vid) // LEARNED_FROM)
        for number, (image, masks) in enumerate(frames_and_masks(people)):
            if number % step == 0:
                claims = masks.sum(axis=0)
                codes = colour_codes(image)
                for count, mask in zip(counts, [claims == 0, *(masks & (claims == 1))], strict=True):
                    count += np.bincount(codes[mask], minlength=COLOURS)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        self._logarithms = np.log(np.maximum(shares, SMALLEST_SHARE)).astype(np.float32)

    def likelihoods(self, image: np.ndarray) -> np.ndarray:
        """Logarithm of how common each pixel's colour is: (1 + people, h, w) float32, the scene first."""
        return self._logarithms[:, colour_codes(image)]


@dataclass(frozen=True)
class Owners:
    """One frame's answer.

    Attributes:
        numbers: (h, w) uint8, 0 the scene's, then 1 for the first person...
        contested: pixels that several masks claimed.
        found: pixels that no mask claimed and that are somebody's.
    """

    numbers: np.ndarray
    contested: int
    found: int


def owners(people: Sequence[Person]) -> Iterator[Owners]:
    """Whose each pixel is, frame by frame."""
    colours = Colours(people)
    bodies = zip(*(person.bodies() for person in people), strict=True)
    for (image, masks), covered in zip(frames_and_masks(people), bodies, strict=True):
        claims = masks.sum(axis=0)
        numbers = np.where(claims > 0, masks.argmax(axis=0) + 1, 0).astype(np.uint8)
        open_to = _open(masks, np.stack(covered))
        undecided = open_to.sum(axis=0) > 1
        if undecided.any():
            decided = _decided(image, masks, np.stack(covered), open_to, undecided, colours)
            numbers[undecided] = decided[undecided]
        found = undecided & (claims == 0) & (numbers > 0)
        yield Owners(numbers, int((claims > 1).sum()), int(found.sum()))


def frames_and_masks(people: Sequence[Person]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each frame, uint8 (h, w, 3), with everybody's mask, (people, h, w) bool."""
    masks = zip(*(person.mask for person in people), strict=True)
    for image, greys in zip(people[0].vid, masks, strict=True):
        yield image, np.stack(greys) > 127


def _open(masks: np.ndarray, bodies: np.ndarray) -> np.ndarray:
    """Whose a pixel may be: (1 + people, h, w) bool, the scene first."""
    longer = max(masks.shape[1:])
    claims = masks.sum(axis=0)
    open_to = np.concatenate([(claims == 0)[None], masks])
    reach = [_grown(body, BODY_REACH * longer) for body in bodies]
    near = [_grown(mask, MEETING * longer) for mask in masks]
    for number in range(len(masks)):
        others = np.any([area for other, area in enumerate(near) if other != number], axis=0)
        open_to[number + 1] |= (claims == 0) & reach[number] & near[number] & others
    return open_to


def _decided(
    image: np.ndarray,
    masks: np.ndarray,
    bodies: np.ndarray,
    open_to: np.ndarray,
    undecided: np.ndarray,
    colours: Colours,
) -> np.ndarray:
    """The most likely owner of each pixel in and around undecided places: (h, w), 0 for the scene."""
    left, top, width, height = cv2.boundingRect(undecided.astype(np.uint8))
    sigma = max(1.0, SMOOTHING * max(undecided.shape))
    pad = round(3 * sigma)
    box = (
        slice(None),
        slice(max(0, top - pad), top + height + pad),
        slice(max(0, left - pad), left + width + pad),
    )
    scores = colours.likelihoods(image[box[1:]])
    scores[0] += SCENE_WEIGHT
    scores[1:] += BODY_WEIGHT * bodies[box]
    # Pixels of one person alone vote for them in the neighbourhood.
    scores[1:][(masks & (masks.sum(axis=0) == 1))[box]] += BODY_WEIGHT
    for score in scores:
        score[:] = cv2.GaussianBlur(score, (0, 0), sigma)
    scores[~open_to[box]] = -np.inf
    result = np.zeros(undecided.shape, np.uint8)
    result[box[1:]] = scores.argmax(axis=0)
    return result


def _grown(mask: np.ndarray, reach: float) -> np.ndarray:
    """A mask grown by so many pixels."""
    size = 2 * max(1, round(reach)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0
