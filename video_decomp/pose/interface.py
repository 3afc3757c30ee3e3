"""What every pose backend shares: its function and what it returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mimo.body.motion import Motion
from mimo.stage import Rejected, StageSettings
from video_decomp.segments.part import Part


class NobodySeen(Rejected):
    """No frame shows the person; a segment of a long video may be like that."""


@dataclass(frozen=True)
class Estimate:
    """A backend's result.

    Attributes:
        motion: the person's motion, as many frames as the clip.
        colours: (V, 3) uint8, the motion code of the body's vertices; None: the body model's own.
        hands: (T, 2) bool, whether the left and the right hand are drawn; None: both, always.
        metrics: numbers for the record.
        warnings: one sentence each, for the user.
        weights: names in the weights registry of what was loaded.
    """

    motion: Motion
    colours: np.ndarray | None = None
    hands: np.ndarray | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)


class Backend(Protocol):
    """A module with these two names is a pose backend."""

    Settings: type[StageSettings]

    def estimate(
        self, frames: Iterable[tuple[np.ndarray, np.ndarray]], fps: float, settings: Any, **told: Part
    ) -> Estimate:
        """Find the person's body and motion.

        Args:
            frames: RGB frames (h, w, 3) and masks (h, w) of the person's visible pixels, uint8, in order;
                read once. A single picture is a clip of one frame.
            fps: frames a second.
            settings: the backend's `Settings`.
            told: ``part``, for a segment of a long video, if the backend surveys all of it first.

        Raises:
            NobodySeen: no frame shows the person.
            mimo.stage.Rejected: the input cannot be used; the message says why.
        """
        ...
