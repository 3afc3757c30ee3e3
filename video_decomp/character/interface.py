"""What every backend of the character stage takes and gives.

A backend is a module of this package with ``class Settings(CharacterSettings)``, a function
``find(image: np.ndarray, settings: Settings) -> Person``, and ``pose``, the backend of the pose stage that
fits the body.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import Field

from mimo.stage import StageSettings

Point = tuple[float, float]
Box = tuple[float, float, float, float]


class CharacterSettings(StageSettings):
    """Settings that all backends share."""

    subject: Literal["largest"] | int | Box | Point = Field(
        "largest",
        description="largest: the largest person seen in full; or a point [x, y] on the person or a box "
        "[left, top, right, bottom] around them, in pixels of the upright picture; or 0 (largest), 1...",
    )
    full_body: bool = Field(
        True, description="refuse a person who is not seen from head to feet (else the rest is guessed)"
    )
    min_height: int = Field(
        120, ge=32, description="smallest accepted person: longest side of their box in pixels"
    )
    min_overlap: float = Field(
        0.6, ge=0, le=1, description="least overlap (IoU) of the fitted body and the mask that is accepted"
    )
    pose: dict[str, Any] = Field({}, description="settings of the pose backend that fits the body")


@dataclass(frozen=True)
class Person:
    """The chosen person.

    Attributes:
        mask: uint8 (height, width), soft, 255 = the person covers the whole pixel.
        in_full: head, hips and feet are in the picture and not hidden.
        metrics: numbers for the record (score, people found, ...).
        weights: names in the weights registry of what was loaded.
    """

    mask: np.ndarray
    in_full: bool
    metrics: dict[str, Any] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)


class Backend(Protocol):
    """A backend's module."""

    @property
    def Settings(self) -> type[CharacterSettings]:
        """The model of its settings."""
        ...

    @property
    def pose(self) -> ModuleType:
        """The backend of the pose stage that fits the body."""
        ...

    def find(self, image: np.ndarray, settings: Any) -> Person:
        """Find and mask the person in a picture, uint8 (height, width, 3) RGB.

        Raises:
            mimo.stage.Rejected: there is no person, or none where the settings say.
        """
        ...
