"""What every segmentation backend takes and gives.

A backend is a module of this package with a ``Settings`` class, usually a `SubjectSettings` with its own
fields, and ``segment(video: VideoReader, settings: Settings) -> Segmentation``. One that can work on segments
of long videos says so (``divisible``, ``surveys``) and has ``survey`` too, see docs/long-videos.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from mimo.corrections import Corrections
from mimo.stage import StageSettings
from mimo.video import VideoReader
from video_decomp.segments.part import Part

Point = tuple[float, float]
Box = tuple[float, float, float, float]


class SubjectSettings(StageSettings):
    """Whom to take, for all backends."""

    prompted_by_corrections: ClassVar[bool] = False
    """Whether the backend takes corrections by hand itself; what clicks mean is then left to it."""

    subject: Literal["largest"] | int | Box | Point = Field(
        "largest",
        description="largest: the largest person seen in full; or a point [x, y] on the person or a box "
        "[left, top, right, bottom] around them, in pixels of vid.mp4; or 0 (largest), 1 (the next)...",
    )
    subject_time: float | None = Field(
        None, ge=0, description="second at which the point, the box or the number is meant; none: at any time"
    )
    min_area: float = Field(
        0.02,
        ge=0,
        le=1,
        description="smallest accepted person: share of the frame that their bounding box covers where they "
        "are largest (the reference implementation's measure and value)",
    )
    full_body: bool = Field(True, description="refuse a person who is never seen from head to feet")
    carry: float = Field(
        1.0,
        ge=0,
        le=10,
        description="seconds that a correction by hand is carried to either side at most; 0: its frame only",
    )


@dataclass(frozen=True)
class FrameMask:
    """One frame's result.

    Attributes:
        image: the frame, uint8 (height, width, 3) RGB.
        mask: (height, width) uint8, 255 where the person's visible pixels are, else 0.
        score: 0 when the person was not found, to 1.
    """

    image: np.ndarray
    mask: np.ndarray
    score: float


@dataclass
class Segmentation:
    """A backend's result; the masks are made while they are taken.

    Attributes:
        masks: one for each frame, in order.
        subject: who was chosen, for the record (frame, box, people there, ...).
        weights: names of the networks used, as in the registry of `mimo.weights`.
        warnings: sentences for the user.
        corrections: what was corrected by hand, and how far it was carried, one entry a frame.
    """

    masks: Iterator[FrameMask]
    subject: dict[str, Any]
    weights: list[str]
    warnings: list[str] = field(default_factory=list)
    corrections: list[dict[str, Any]] = field(default_factory=list)


class Backend(Protocol):
    """A backend's module."""

    Settings: type[SubjectSettings]

    def segment(self, video: VideoReader, settings: Any, **told: Part | Corrections) -> Segmentation:
        """Find the subject and mask them.

        Args:
            video: the clip.
            settings: the backend's `Settings`.
            told: ``part``, for a segment of a long video: what the backend's `survey` found in all of it;
                ``corrections``, if it takes them itself (`SubjectSettings.prompted_by_corrections`).

        Raises:
            mimo.stage.Rejected: no person, person too small, or no full body in view.
        """
        ...
