"""The settings of whose body performs a motion, shared by all synthesis backends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mimo.stage import StageSettings

Whose = Literal["own", "driver"]


class BodySettings(StageSettings):
    """Whose proportions and height the character has."""

    body: Whose = Field(
        "own",
        description="proportions: the character's own, fitted from its picture, or the driver's, so that it "
        "fits exactly where the driver was",
    )
    height: Whose = Field("driver", description="how tall it is: as the driver, or as its own fitted body")

    @property
    def all_drivers(self) -> bool:
        """Whether nothing of the character's body is asked for."""
        return self.body == self.height == "driver"
