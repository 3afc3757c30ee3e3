"""What a user has chosen on the page so far; kept on the server, so that it survives a reload."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from mimo.files import whole_file

FILE = "draft.json"

MotionKind = Literal["videos", "motions", "templates"]
SceneKind = Literal["own", "transparent", "colour", "scenes", "templates", "videos"]
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class Placement(BaseModel):
    """Where a motion stands in a scene, as far as it is said by hand; see the settings of staging."""

    at: tuple[float, float] | None = None
    height: float | None = Field(default=None, gt=0, le=2)
    horizon: float | None = Field(default=None, ge=-1, le=2)
    turn: float | None = Field(default=None, ge=-360, le=360)
    scale: float | None = Field(default=None, ge=0.1, le=10)


class Draft(BaseModel):
    """Choices of the page's sections.

    Attributes:
        motion_kind, motion: where the motion comes from, and its name; an empty name: nothing is chosen.
        character: name of a picture.
        scene_kind, scene: where the scene comes from, and its name, if it has one.
        colour: of a scene that is a colour.
        placements: of motions in scenes, by the name of their template.
        quality: key of `mimo.app.pages.quality.QUALITIES`.
        body, height: whose proportions the result has, and how tall it is; see the settings of synthesis.
        relight, shadow: how far light follows the scene, and how dark the contact shadow is (preview only).
        alpha: form of the file for compositors.
        shown: template and character of the result that is played; None: the latest.
    """

    motion_kind: MotionKind = "videos"
    motion: str = ""
    character: str = ""
    scene_kind: SceneKind = "own"
    scene: str = ""
    colour: Colour = "#3c4a5a"
    placements: dict[str, Placement] = {}
    quality: str = "preview"
    body: Literal["own", "driver"] = "own"
    height: Literal["driver", "own"] = "driver"
    relight: float = Field(default=0.9, ge=0, le=1)
    shadow: float = Field(default=0.45, ge=0, le=1)
    alpha: Literal["none", "prores", "vp9"] = "prores"
    shown: tuple[str, str] | None = None

    @classmethod
    def read(cls, folder: Path) -> Draft:
        """The draft in a folder; a new one where there is none, or where it is of another version."""
        try:
            return cls.model_validate_json((folder / FILE).read_bytes())
        except (OSError, ValidationError):
            return cls()

    def write(self, folder: Path) -> None:
        """Keep it."""
        with whole_file(folder / FILE) as part:
            part.write_text(self.model_dump_json())
