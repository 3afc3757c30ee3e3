"""Steady a sequence of soft masks in time, along the optical flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

_NEIGHBOUR = (
    0.5  # weight of the frame before and of the one after, where the flow fits; the frame itself is 1
)
_MISFIT = 12.0  # grey levels of difference along the flow at which a neighbour counts nothing
_FLOW_SCALE = 0.5


@dataclass(frozen=True)
class SoftMask:
    """A frame's soft mask on its way through the filter.

    Attributes:
        image: uint8 (height, width, 3) RGB.
        soft: (height, width) float32 0..1, all 0 when the person was not found.
        score: 0 (not found) to 1.
    """

    image: np.ndarray
    soft: np.ndarray
    score: float


def steady(masks: Iterable[SoftMask]) -> Iterator[SoftMask]:
    """Blend each mask with those before and after it, moved along the flow; three frames in memory."""
    filter_ = _Filter()
    before: SoftMask | None = None
    current: SoftMask | None = None
    for after in masks:
        if current is not None:
            yield filter_.blend(current, [before, after])
        before, current = current, after
    if current is not None:
        yield filter_.blend(current, [before])


class _Filter:
    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def blend(self, current: SoftMask, neighbours: list[SoftMask | None]) -> SoftMask:
        others = [other for other in neighbours if other is not None and other.score > 0]
        if not others or current.score == 0:
            return current
        rows, columns = _around([current.soft, *(other.soft for other in others)])
        soft = current.soft[rows, columns]
        grey = _grey(current.image[rows, columns])
        total, weight = soft.copy(), np.ones_like(soft)
        for other in others:
            moved, fit = self._move(grey, _grey(other.image[rows, columns]), other.soft[rows, columns])
            total += _NEIGHBOUR * fit * moved
            weight += _NEIGHBOUR * fit
        blended = current.soft.copy()
        blended[rows, columns] = total / weight
        return SoftMask(current.image, blended, current.score)

    def _move(self, grey: np.ndarray, other: np.ndarray, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A neighbour's mask moved to this frame, and how well its image fits there (0..1)."""
        size = (max(16, round(grey.shape[1] * _FLOW_SCALE)), max(16, round(grey.shape[0] * _FLOW_SCALE)))
        flow = self._flow.calc(  # type: ignore[call-overload]
            cv2.resize(grey, size, interpolation=cv2.INTER_AREA),
            cv2.resize(other, size, interpolation=cv2.INTER_AREA),
            None,
        )
        height, width = grey.shape
        flow = cv2.resize(flow, (width, height)) * np.array([width / size[0], height / size[1]], np.float32)
        rows, columns = np.indices(grey.shape, dtype=np.float32)
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        moved = cv2.remap(soft, x, y, cv2.INTER_LINEAR)
        there = cv2.remap(other, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        misfit = cv2.blur(cv2.absdiff(grey, there), (5, 5)).astype(np.float32)
        return moved, np.clip(1 - misfit / _MISFIT, 0, 1)


def _around(masks: list[np.ndarray]) -> tuple[slice, slice]:
    """Rows and columns that hold all the masks, with room for the flow."""
    union = np.max(masks, axis=0) > 0.05
    rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
    if not rows.size:
        return slice(0, 32), slice(0, 32)
    margin = 16
    return (
        slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
        slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
    )


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
