"""What stands in front of members of a group and is nobody of the group.

To a template of one person, another one who passes by is a thing in front. In the group that person has a
layer of their own, so their pixels are taken out of what stands in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from video_decomp.group.members import Person


def in_front(people: Sequence[Person], owned: Iterator[np.ndarray], clearance: int) -> Iterator[np.ndarray]:
    """What stands in front of anybody, frame by frame: (h, w) uint8, soft.

    Args:
        people: of one video.
        owned: whose each pixel is, (h, w) uint8 a frame: 0 nobody's, then 1 for the first person...
        clearance: pixels around a member in which things in front of another one may be what their mask
            missed: hair, soft edges.
    """
    occluders = zip(*(person.occluders() for person in people), strict=True)
    for numbers, things in zip(owned, occluders, strict=True):
        result = np.zeros(numbers.shape, np.uint8)
        for number, thing in enumerate(things, 1):
            if thing is not None and thing.any():
                others = (numbers > 0) & (numbers != number)
                result = np.maximum(result, without(thing, others, clearance))
        yield result


def without(thing: np.ndarray, others: np.ndarray, clearance: int) -> np.ndarray:
    """A thing's soft mask without other people, and without what is left of their edges.

    Args:
        thing: (h, w) uint8.
        others: (h, w) bool, their pixels.
        clearance: pixels.

    Returns:
        (h, w) uint8.
    """
    if not (others & (thing > 0)).any():
        return thing
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * clearance + 1, 2 * clearance + 1))
    near = cv2.dilate(others.astype(np.uint8), disc) > 0
    rest = np.where(near, 0, thing)
    count, labels = cv2.connectedComponents((thing > 0).astype(np.uint8))
    # Parts of the thing that no other person touches stay whole, however thin; of the others, what is wide.
    touched = np.zeros(count, bool)
    touched[labels[near & (thing > 0)]] = True
    touched[0] = False
    core = cv2.morphologyEx((rest > 127).astype(np.uint8), cv2.MORPH_OPEN, disc)
    wide = cv2.dilate(core, disc) > 0
    return np.where(touched[labels] & ~wide, 0, rest).astype(np.uint8)
