"""Numbers that say how steady the layer in front is, without knowing the truth."""

from __future__ import annotations

from typing import Any

import numpy as np

_JUMP = 0.5  # change of area from one frame to the next, share of the larger, that counts as a jump
_SPECK = 1e-4  # share of the frame below which a layer counts as empty
_NAMED = 20  # jumps whose frames are named


class LayerMeasures:
    """Collects measures while the layer's masks stream by; keeps one number a frame."""

    def __init__(self) -> None:
        self._areas: list[float] = []

    def add(self, mask: np.ndarray) -> None:
        """Take the next frame's mask, uint8 (height, width), 255 = in front."""
        self._areas.append(float(mask.mean()) / 255)

    def summary(self) -> dict[str, Any]:
        """How often the layer appears, vanishes, or halves or doubles from one frame to the next.

        Returns:
            ``layer_jumps``: their number; a thing that stands where the person passes has none, one
            that moves through the picture has two. ``layer_jump_frames``: the frames after the first of them.
        """
        areas = np.array(self._areas)
        areas[areas < _SPECK] = 0
        larger = np.maximum(areas[1:], areas[:-1])
        jumps = (np.flatnonzero(np.abs(np.diff(areas)) > _JUMP * larger) + 1).tolist()
        return {"layer_jumps": len(jumps), "layer_jump_frames": jumps[:_NAMED]}
