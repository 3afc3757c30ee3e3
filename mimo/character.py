"""The character contract: what a folder ``characters/NAME/`` holds, checked on write and on read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mimo.body.motion import Motion
from mimo.files import remove, whole_file, write_json
from mimo.stage import Rejected

RECORD = "character.json"
LONGEST_SIDE = 1024
"""Side of the square picture in pixels, at most."""


class Crop(BaseModel):
    """Where the square picture lies in the source picture (upright, after its orientation tag)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    left: float = Field(description="left edge of the square, source pixels; may be negative (padding)")
    top: float = Field(description="upper edge of the square, source pixels; may be negative (padding)")
    side: float = Field(gt=0, description="side of the square, source pixels")
    scale: float = Field(gt=0, description="pixels of the square picture for each source pixel")


class CharacterRecord(BaseModel):
    """Content of ``character.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str = Field(description="file name of the picture")
    source_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    source_size: tuple[int, int] = Field(description="width and height of the upright source picture")
    crop: Crop
    settings: dict[str, Any] = Field(description="settings of the character stage")
    mask: dict[str, Any] = Field(description="where the mask comes from and how sure it is")
    fit: dict[str, Any] = Field(description="how well the body fits")
    warnings: list[str] = []
    weights: list[str] = Field([], description="names in the weights registry of what was loaded")


@dataclass(frozen=True)
class Character:
    """A person from a picture.

    Attributes:
        image: uint8 (S, S, 3) RGB, the picture cropped to the person, padded with white.
        mask: uint8 (S, S), how much of each pixel the person covers, 255 = all.
        body: the body in the picture, one frame, in the square picture's camera.
        record: how it was made.
        folder: where it was loaded from, if it was.
    """

    image: np.ndarray
    mask: np.ndarray
    body: Motion
    record: CharacterRecord
    folder: Path | None = None

    @property
    def name(self) -> str:
        """The folder's name, or else that of the source picture."""
        return self.folder.resolve().name if self.folder else Path(self.record.source).stem

    def save(self, folder: Path | str) -> None:
        """Write the folder; ``character.json`` comes last and means that it is whole.

        Raises:
            Rejected: the parts do not fit together.
        """
        folder = Path(folder)
        self._check(folder)
        folder.mkdir(parents=True, exist_ok=True)
        remove(folder / RECORD)
        for name, pixels in (("image.png", self.image), ("mask.png", self.mask)):
            with whole_file(folder / name) as part:
                Image.fromarray(pixels).save(part)
        self.body.save(folder / "body.npz")
        write_json(folder / RECORD, self.record.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path | str) -> Character:
        """Read a character folder and check it.

        Raises:
            Rejected: a file is missing or damaged, or they do not fit together.
        """
        folder = Path(folder)
        record = _read_record(folder / RECORD)
        image = _read_image(folder / "image.png", "RGB")
        mask = _read_image(folder / "mask.png", "L")
        path = folder / "body.npz"
        if not path.is_file():
            raise Rejected(f"{path}: missing; run the character stage again")
        character = cls(image, mask, Motion.load(path), record, folder)
        character._check(folder)
        return character

    def _check(self, folder: Path) -> None:
        height, width = self.image.shape[:2]
        problems = []
        if height != width or height > LONGEST_SIDE:
            problems.append(f"image.png is {width}x{height}, not a square of at most {LONGEST_SIDE}")
        if self.mask.shape != (height, width):
            problems.append("mask.png and image.png differ in size")
        elif not (self.mask > 127).any():
            problems.append("mask.png is empty")
        if len(self.body.rotations) != 1:
            problems.append(f"body.npz holds {len(self.body.rotations)} frames, not one")
        elif tuple(self.body.camera[3:5]) != (width, height):
            problems.append("the camera of body.npz is not that of image.png")
        if problems:
            raise Rejected(f"{folder}: {'; '.join(problems)}; run the character stage again")


def _read_record(path: Path) -> CharacterRecord:
    try:
        return CharacterRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Rejected(
            f"{path}: cannot be read ({error.strerror}); "
            "make the character with python -m video_decomp.character"
        ) from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}" for problem in error.errors()
        )
        raise Rejected(f"{path}: {problems}; run the character stage again") from None


def _read_image(path: Path, mode: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            if image.mode != mode:
                raise Rejected(
                    f"{path}: its pixels are {image.mode}, not {mode}; run the character stage again"
                )
            return np.asarray(image)
    except (OSError, UnidentifiedImageError) as error:
        raise Rejected(f"{path}: cannot be read ({error}); run the character stage again") from None
