"""Carry what was said by hand about one frame's mask to the frames beside it, along the optical flow.

Each frame's pixels are led back to the corrected frame, step by step. A step counts where the flow there and
back agree, and the whole way where the place still looks as it did in the corrected frame. What is carried
shrinks by what fails, and ends when little is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from mimo.corrections import NOT_PERSON, PERSON, UNTOUCHED

_MARGIN = 48  # pixels around what is carried, at least, in which it is looked for in the next frame
_GROWTH = 0.3  # the same, in sides of its box
_DISAGREE = (2.0, 0.15)  # pixels between flow there and back: constant, and for each pixel of flow
_UNLIKE = (14.0, 30.0)  # difference of colour (Lab) at which trust begins to fall, and at which it is gone
_SMOOTH = 1.5  # pixels: standard deviation of the window in which neighbours vote
_DENSITY = 0.35  # share of trusted votes in the window below which nothing is said
_GAP = 9  # pixels: gaps up to this width are closed
_ENDS = 0.2  # share of the corrected pixels below which the rest is no longer carried


@dataclass(frozen=True)
class Patch:
    """Labels of a part of a frame; the rest is untouched.

    Attributes:
        rows, columns: the part.
        labels: uint8 of `PERSON`, `NOT_PERSON` and `UNTOUCHED`.
    """

    rows: slice
    columns: slice
    labels: np.ndarray

    def on(self, mask: np.ndarray) -> np.ndarray:
        """A copy of a mask, (height, width) uint8 0 or 255, that obeys the labels."""
        obeyed = mask.copy()
        part = obeyed[self.rows, self.columns]
        part[self.labels != UNTOUCHED] = self.labels[self.labels != UNTOUCHED]
        return obeyed


@dataclass(frozen=True)
class _Way:
    """How the pixels of a part of a frame lead back to the corrected frame.

    Attributes:
        rows, columns: the part.
        source: (h, w, 2) float32, place in the corrected frame, x and y.
        trust: (h, w) float32 0..1.
    """

    rows: slice
    columns: slice
    source: np.ndarray
    trust: np.ndarray


def carry(
    image: np.ndarray,
    labels: np.ndarray,
    others: Iterable[tuple[int, np.ndarray]],
    taken_over: Callable[[int], np.ndarray | None],
) -> Iterator[tuple[int, Patch]]:
    """Carry labels from a frame to those that follow it, or that precede it.

    Args:
        image: the corrected frame, uint8 (height, width, 3) RGB.
        labels: uint8 (height, width) of `PERSON`, `NOT_PERSON` and `UNTOUCHED`.
        others: frames with their indices, the neighbour first.
        taken_over: of a frame, bool (height, width), where another correction speaks from there on, if any.

    Yields:
        Index and labels of each of the other frames, until too little is left.
    """
    touched = labels != UNTOUCHED
    area = np.count_nonzero(touched)
    source = _Source(image, labels)
    before = image
    rows, columns = _box(touched)
    way = _Way(rows, columns, _grid(rows, columns), np.ones(labels[rows, columns].shape, np.float32))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for index, after in others:
        way = _step(flow, before, after, way)
        way = replace(way, trust=way.trust * source.likeness(after, way))
        said = source.labels_at(way)
        if np.count_nonzero(said != UNTOUCHED) <= _ENDS * area:
            return
        yield index, Patch(way.rows, way.columns, said)
        carried = np.zeros(labels.shape, bool)
        carried[way.rows, way.columns] = said != UNTOUCHED
        taken = taken_over(index)
        if taken is not None:
            way = replace(way, trust=way.trust * ~taken[way.rows, way.columns])
            carried &= ~taken
        if not carried.any():
            return
        way = _looked_for_in(_box(carried), way)
        before = after


class _Source:
    """The corrected frame, as other frames' pixels look back at it."""

    def __init__(self, image: np.ndarray, labels: np.ndarray) -> None:
        self._colours = _colours(image)
        self._person = (labels == PERSON).astype(np.float32)
        self._not_person = (labels == NOT_PERSON).astype(np.float32)

    def likeness(self, image: np.ndarray, way: _Way) -> np.ndarray:
        """How alike each pixel and its source look, (h, w) float32 0..1."""
        here = _colours(image[way.rows, way.columns])
        difference = np.linalg.norm(here - _sample(self._colours, way.source), axis=2)
        low, high = _UNLIKE
        return np.clip((high - cv2.blur(difference, (3, 3))) / (high - low), 0, 1).astype(np.float32)

    def labels_at(self, way: _Way) -> np.ndarray:
        """Labels of a frame's pixels, (h, w) uint8: of each the vote of its trusted neighbours."""
        density = cv2.GaussianBlur(way.trust, (0, 0), _SMOOTH)
        labels = np.full(density.shape, UNTOUCHED, np.uint8)
        for value, painted in ((PERSON, self._person), (NOT_PERSON, self._not_person)):
            votes = cv2.GaussianBlur(_sample(painted, way.source) * way.trust, (0, 0), _SMOOTH)
            voted = (density > _DENSITY) & (votes > 0.5 * density)
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_GAP, _GAP))
            closed = cv2.morphologyEx(voted.astype(np.uint8), cv2.MORPH_CLOSE, disc) > 0
            labels[closed & (labels == UNTOUCHED)] = value
        return labels


def _step(flow: cv2.DISOpticalFlow, before: np.ndarray, after: np.ndarray, way: _Way) -> _Way:
    """Lead the pixels of the next frame back through the frame before."""
    greys = [
        cv2.cvtColor(np.ascontiguousarray(image[way.rows, way.columns]), cv2.COLOR_RGB2GRAY)
        for image in (after, before)
    ]
    back = flow.calc(greys[0], greys[1], None)  # type: ignore[call-overload]
    there = flow.calc(greys[1], greys[0], None)  # type: ignore[call-overload]
    height, width = greys[0].shape
    place = _grid(slice(0, height), slice(0, width)) + back
    returned = back + _sample(there, place)
    constant, share = _DISAGREE
    allowed = constant + share * np.linalg.norm(back, axis=2)
    agrees = np.linalg.norm(returned, axis=2) < allowed
    inside = (place >= 0).all(axis=2) & (place[..., 0] <= width - 1) & (place[..., 1] <= height - 1)
    trust = _sample(way.trust, place) * (agrees & inside)
    return replace(way, source=_sample(way.source, place), trust=trust.astype(np.float32))


def _looked_for_in(box: tuple[slice, slice], way: _Way) -> _Way:
    """The same way for another part of the frame; nothing is trusted that was not known."""
    rows, columns = box
    place = _grid(rows, columns) - np.array([way.columns.start, way.rows.start], np.float32)
    height, width = way.trust.shape
    known = (place >= 0).all(axis=2) & (place[..., 0] <= width - 1) & (place[..., 1] <= height - 1)
    trust = _sample(way.trust, place) * known
    return _Way(rows, columns, _sample(way.source, place), trust.astype(np.float32))


def _box(inside: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a region with the margin in which it may move."""
    left, top, width, height = cv2.boundingRect(inside.astype(np.uint8))
    margin = max(_MARGIN, round(_GROWTH * max(width, height)))
    return (
        slice(max(0, top - margin), min(inside.shape[0], top + height + margin)),
        slice(max(0, left - margin), min(inside.shape[1], left + width + margin)),
    )


def _grid(rows: slice, columns: slice) -> np.ndarray:
    """Places of pixels, (h, w, 2) float32, x and y."""
    y, x = np.mgrid[rows, columns].astype(np.float32)
    return np.stack([x, y], axis=2)


def _sample(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values at places (h, w, 2); beyond the border, those at the border."""
    return cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


def _colours(image: np.ndarray) -> np.ndarray:
    """CIE Lab, float32, without the finest grain."""
    lab = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB)
    return cv2.GaussianBlur(lab, (0, 0), 1.0).astype(np.float32)
