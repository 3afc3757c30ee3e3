"""What every synthesis backend is given and gives back.

A backend is a module of this package with ``class Settings(StageSettings)`` and a function
``synthesise(job: Job, settings: Settings) -> Iterator[np.ndarray]`` that yields one finished uint8 RGB frame
of the template's size for each entry of ``job.template.frame_numbers``, and fills in ``job.metrics``,
``job.warnings`` and ``job.weights`` on the way. Frames stream: a backend must not hold a whole clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mimo.character import Character
from mimo.stage import StageSettings
from mimo.template import Template


@dataclass
class Job:
    """One video to make.

    Attributes:
        template, character: the inputs, already checked.
        metrics: numbers a person would judge the result by; filled in by the backend.
        warnings: one sentence each, for the user.
        weights: names in the weights registry of what was loaded.
    """

    template: Template
    character: Character
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
