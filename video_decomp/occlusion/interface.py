"""What every occlusion backend shares: its function and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, Field

from mimo.body.motion import Motion
from mimo.stage import StageSettings
from mimo.video import VideoReader


class Occluder(BaseModel):
    """One thing that passes in front of the person."""

    kind: str = Field(
        description="'still' (stands in the scene), 'moving', or 'followed' (by a tracker: either)"
    )
    first_frame: int = Field(description="first frame in which it hides some of the person")
    last_frame: int = Field(description="last such frame")
    hidden_share: float = Field(description="largest share of the body that it hides in a frame, 0..1")
    confidence: float = Field(description="0..1, how sure it is that this is no error of the fitted body")
    box: tuple[int, int, int, int] = Field(
        description="left, top, right, bottom in its first frame (followed: where it was found), pixels"
    )


@dataclass
class Occlusion:
    """A backend's answer.

    Attributes:
        occluders: what was found; empty when nothing passes in front.
        frames: one soft mask (h, w) uint8 for each frame of the clip, computed as it is read; not used when
            there are no occluders.
        metrics, warnings, weights: see `mimo.stage.write_record`.
    """

    occluders: list[Occluder]
    frames: Iterator[np.ndarray]
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)


class Backend(Protocol):
    """A module with these two names is an occlusion backend."""

    Settings: type[StageSettings]

    def find_occluders(
        self, frames: VideoReader, masks: VideoReader, motion: Motion, settings: Any
    ) -> Occlusion:
        """Find what passes in front of the person.

        Args:
            frames: the clip.
            masks: grey, the person's visible pixels; as many frames, the same size.
            motion: the person's body in every frame, in the clip's camera.
            settings: the backend's `Settings`.
        """
        ...
