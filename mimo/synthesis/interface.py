"""What every synthesis backend is given and gives back.

A backend is a module of this package with ``class Settings(StageSettings)`` and a function
``synthesise(job: Job, settings: Settings) -> Iterator[np.ndarray]`` that yields one finished uint8 RGB frame
of the template's size for each index of ``job.template.frame_numbers`` in ``job.frames``, and fills in
``job.metrics``, ``job.warnings`` and ``job.weights`` on the way. Frames stream: a backend must not hold a
whole clip.

A function ``layers(job: Job, settings: Settings) -> Iterator[PersonLayer]`` yields the same frames' character
and shadow without the scene and without what stands in front, for transparent results and for scenes with
several people; `mimo.composition.layers.composite` puts them there.

A long template is made in parts, each by a job of its own, so what a frame looks like must not depend on
which other frames are made: what is measured over the clip is measured over the whole template. Where frames
do depend on those around them, the backend looks beyond its part, and ``Settings.seam_frames`` says over how
many frames neighbouring parts are to be blended (see `mimo.synthesis.parts`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mimo.character import Character
from mimo.composition.layers import PersonLayer
from mimo.stage import StageSettings
from mimo.template import Template


def seam_frames(settings: StageSettings) -> int:
    """Frames over which neighbouring parts of a video are blended; 0 where a backend says nothing."""
    return int(getattr(settings, "seam_frames", 0))


@dataclass
class Job:
    """One video to make, or a part of it.

    Attributes:
        template, character: the inputs, already checked.
        frames: indices into the template's `frame_numbers`: those to make.
        metrics: numbers a person would judge the result by; filled in by the backend.
        warnings: one sentence each, for the user.
        weights: names in the weights registry of what was loaded.
    """

    template: Template
    character: Character
    frames: range
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)


class Backend(Protocol):
    """A module that makes frames."""

    @property
    def Settings(self) -> type[StageSettings]:
        """The model of its settings."""
        ...

    def synthesise(self, job: Job, settings: Any) -> Iterator[np.ndarray]:
        """Finished frames, uint8 (height, width, 3) RGB, in order."""
        ...

    def layers(self, job: Job, settings: Any) -> Iterator[PersonLayer]:
        """The character of each frame, in order."""
        ...
