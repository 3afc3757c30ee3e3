"""Numbers that say how good a sequence of masks is, without knowing the truth."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

_FLOW_SIDE = 360  # flow is measured on frames of about this short side
_FIT = 12  # grey levels: where the frame before, moved along the flow, differs more, masks are not compared
_JUMP = 0.25  # change of area from one frame to the next that counts as a jump
_PARTLY = 0.75  # share of its usual area below which a person cut by the picture's side is walking in or out
_NAMED = 20  # jumps whose frames are named


class MaskMeasures:
    """Collects measures while masks stream by; keeps one frame and one number a frame."""

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._areas: list[float] = []
        self._cut: list[bool] = []
        self._overlaps: list[float] = []
        self._before: tuple[np.ndarray, np.ndarray] | None = None
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def add(self, image: np.ndarray, mask: np.ndarray, score: float) -> None:
        """Take the next frame.

        Args:
            image: uint8 (height, width, 3) RGB.
            mask: uint8 (height, width), 255 inside.
            score: 0 (not found) to 1.
        """
        self._scores.append(score)
        self._areas.append(float((mask > 127).mean()))
        self._cut.append(bool(mask[:, 0].any() or mask[:, -1].any()))
        scale = min(1.0, _FLOW_SIDE / min(mask.shape))
        grey = cv2.resize(
            cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
        )
        small = cv2.resize(mask, grey.shape[::-1], interpolation=cv2.INTER_AREA)
        if self._before is not None and self._areas[-1] and self._areas[-2]:
            self._overlaps.append(self._overlap(*self._before, grey, small))
        self._before = grey, small

    def _overlap(
        self, grey_before: np.ndarray, mask_before: np.ndarray, grey: np.ndarray, mask: np.ndarray
    ) -> float:
        """Intersection over union of a mask and the one before, moved along the flow, where the flow fits."""
        flow = self._flow.calc(grey, grey_before, None)  # type: ignore[call-overload]
        rows, columns = np.indices(grey.shape, dtype=np.float32)
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        fits = cv2.absdiff(cv2.remap(grey_before, x, y, cv2.INTER_LINEAR), grey) < _FIT
        a, b = (cv2.remap(mask_before, x, y, cv2.INTER_LINEAR) > 127) & fits, (mask > 127) & fits
        return float((a & b).sum() / max((a | b).sum(), 1))

    def summary(self) -> dict[str, Any]:
        """Frames, frames found, scores, areas, jumps of area, flicker.

        ``area_jumps`` counts changes of area by more than a quarter between neighbouring frames; a person who
        walks into or out of the picture (cut by its side, and small) is none. ``area_jump_frames`` names the
        frames after the first jumps. ``flicker`` is the mean of 1 - IoU of consecutive masks after motion
        compensation; part of it is the optical flow's own error: compare it between methods on one clip only.
        """
        scores = np.array(self._scores)
        areas = np.array(self._areas)
        found = np.flatnonzero(areas > 0)
        jumps = self._jumps(areas)
        return {
            "frames": len(areas),
            "frames_found": len(found),
            "median_score": round(float(np.median(scores[found])), 4) if found.size else 0.0,
            "lowest_score": round(float(scores[found].min()), 4) if found.size else 0.0,
            "median_area": round(float(np.median(areas[found])), 5) if found.size else 0.0,
            "area_jumps": len(jumps),
            "area_jump_frames": jumps[:_NAMED],
            "flicker": round(float(1 - np.mean(self._overlaps)), 5) if self._overlaps else None,
        }

    def _jumps(self, areas: np.ndarray) -> list[int]:
        """Frames whose area differs much from that of the frame before, (T,) areas."""
        before, after, cut = areas[:-1], areas[1:], np.array(self._cut, bool)
        both = (before > 0) & (after > 0)
        change = np.abs(np.log(np.maximum(after, 1e-9) / np.maximum(before, 1e-9)))
        usual = float(np.median(areas[areas > 0])) if both.any() else 0.0
        passes_border = cut[:-1] & cut[1:] & (np.minimum(before, after) < _PARTLY * usual)
        return (np.flatnonzero(both & ~passes_border & (change > np.log(1 + _JUMP))) + 1).tolist()

    def frames_found(self) -> list[int]:
        """Indices of the frames whose mask is not empty."""
        return np.flatnonzero(np.array(self._areas) > 0).tolist()


def not_found(missing: list[int], frames: int) -> list[str]:
    """The warning about frames without the person, if there are any.

    Args:
        missing: those frames, ascending.
        frames: how many there are.
    """
    if not missing:
        return []
    return [f"the person was not found in {len(missing)} of {frames} frames: {_ranges(missing)}"]


def _ranges(frames: list[int]) -> str:
    """``[0, 1, 2, 7]`` as ``0-2, 7``."""
    known = set(frames)
    starts = [f for f in frames if f - 1 not in known]
    ends = [f for f in frames if f + 1 not in known]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
