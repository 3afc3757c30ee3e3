"""What a brush meant: strokes go over edges, and what they spill on must not be carried along."""

from __future__ import annotations

import cv2
import numpy as np

from mimo.corrections import NOT_PERSON, PERSON, UNTOUCHED

_MARGIN = 60  # pixels around the strokes from which colours are learnt
_SIDE = 400  # pixels of the longer side in which the cut is computed
_ROUNDS = 3
_LEAST = 0.35  # share of a stroke that colours must confirm; else they cannot tell, and all of it is meant


def meant(image: np.ndarray, mask: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels without the parts of strokes that look like what lies on the other side of the person's edge.

    Args:
        image: uint8 (height, width, 3) RGB.
        mask: uint8 (height, width), 255 where the person was found, else 0.
        labels: uint8 (height, width) of `PERSON`, `NOT_PERSON` and `UNTOUCHED`.
    """
    window = _around(labels != UNTOUCHED)
    part = labels[window]
    looks = _cut(image[window], mask[window], part)
    kept = labels.copy()
    for value, agrees in ((PERSON, looks), (NOT_PERSON, ~looks)):
        count, strokes, stats, _ = cv2.connectedComponentsWithStats((part == value).astype(np.uint8))
        confirmed = np.bincount(strokes[agrees], minlength=count)
        told = confirmed >= _LEAST * stats[:, cv2.CC_STAT_AREA]
        spilt = (part == value) & ~agrees & told[strokes]
        kept[window][spilt] = UNTOUCHED
    return kept


def _cut(image: np.ndarray, mask: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where the person is by colours and edges, bool (h, w), beginning with what was painted."""
    guess = np.where(mask > 127, cv2.GC_FGD, cv2.GC_BGD)
    guess[labels == PERSON] = cv2.GC_PR_FGD
    guess[labels == NOT_PERSON] = cv2.GC_PR_BGD
    scale = min(1.0, _SIDE / max(mask.shape))
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    small: np.ndarray = cv2.resize(guess.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    person = np.isin(small, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if person.any() and not person.all():
        picture: np.ndarray = cv2.resize(
            np.ascontiguousarray(image[..., ::-1]), size, interpolation=cv2.INTER_AREA
        )
        cv2.setRNGSeed(0)
        models: list[np.ndarray] = [np.zeros((1, 65)), np.zeros((1, 65))]
        cv2.grabCut(picture, small, (0, 0, 1, 1), models[0], models[1], _ROUNDS, cv2.GC_INIT_WITH_MASK)
        person = np.isin(small, (cv2.GC_FGD, cv2.GC_PR_FGD))
    whole = cv2.resize(person.astype(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return whole > 0


def _around(inside: np.ndarray) -> tuple[slice, slice]:
    left, top, width, height = cv2.boundingRect(inside.astype(np.uint8))
    return (
        slice(max(0, top - _MARGIN), top + height + _MARGIN),
        slice(max(0, left - _MARGIN), left + width + _MARGIN),
    )
