"""Corrections of a video's mask by hand: the folder that an editor writes and the segmentation reads.

    corrections/VIDEO/clicks.json   [{"frame": 12, "x": 540.5, "y": 420.5, "person": true}, ...]
    corrections/VIDEO/000012.png    a painted mask of frame 12: 255 the person, 0 not, 128 untouched

Places are in pixels of the template's ``vid.mp4``, frames are its frames from 0. A missing or empty folder is
no correction. Files appear whole; what stands in them is checked when read, since anybody may have sent them.
"""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mimo.files import remove, sole_maker, whole_file, write_json
from mimo.stage import Rejected

CLICKS = "clicks.json"
PERSON, UNTOUCHED, NOT_PERSON = 255, 128, 0
"""Values of a painted mask; others count as the nearest of the three, what is transparent as untouched."""
LARGEST_FILE = 64 << 20
"""Bytes of a file of corrections, at most."""

_PAINTED = re.compile(r"([0-9]{6})\.png")
_PERSON_FROM, _NOT_PERSON_TO = 192, 63


class Click(BaseModel):
    """A click that says whether the person is seen there.

    Attributes:
        frame: index of the frame.
        x, y: place in pixels of ``vid.mp4``; pixel (0, 0) covers 0 to 1.
        person: True where the person is, False where somebody or something else is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frame: int = Field(ge=0, le=999_999)
    x: float = Field(ge=0, allow_inf_nan=False)
    y: float = Field(ge=0, allow_inf_nan=False)
    person: bool


_CLICKS = TypeAdapter(Annotated[list[Click], Field(max_length=100_000)])


@dataclass(frozen=True)
class Corrections:
    """What stands in a folder.

    Attributes:
        clicks: in the order in which they were made.
        painted: pictures by their frame's index, ascending; read one with `read_painted`.
    """

    clicks: list[Click] = field(default_factory=list)
    painted: dict[int, Path] = field(default_factory=dict)

    @property
    def frames(self) -> list[int]:
        """Frames with a correction, ascending."""
        return sorted({click.frame for click in self.clicks} | self.painted.keys())

    def clicks_of(self, frame: int) -> list[Click]:
        """Clicks of one frame."""
        return [click for click in self.clicks if click.frame == frame]


def load(folder: Path | None) -> Corrections:
    """Read a folder of corrections; the pictures only when they are asked for.

    Raises:
        Rejected: a file has a name or a content that corrections do not have.
    """
    painted: dict[int, Path] = {}
    files = correction_files(folder) if folder else []
    for path in files:
        name = _PAINTED.fullmatch(path.name)
        if name:
            painted[int(name[1])] = path
        elif path.name != CLICKS:
            raise Rejected(f"{path}: not a correction; a painted mask of frame 12 is called 000012.png")
    return Corrections(_read_clicks(folder / CLICKS) if folder else [], painted)


def correction_files(folder: Path) -> list[Path]:
    """Files of a folder of corrections in name order, hidden ones left out; none if it is missing."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def add_click(folder: Path, click: Click) -> None:
    """Append a click."""
    with sole_maker(folder / CLICKS):
        _replace_clicks(folder / CLICKS, [*_read_clicks(folder / CLICKS), click])


def clear(folder: Path, frame: int | None = None) -> None:
    """Take back the corrections of one frame, or all of them."""
    for path in correction_files(folder):
        name = _PAINTED.fullmatch(path.name)
        if name and frame in (None, int(name[1])):
            remove(path)
    if (folder / CLICKS).is_file():
        with sole_maker(folder / CLICKS):
            clicks = _read_clicks(folder / CLICKS) if frame is not None else []
            _replace_clicks(folder / CLICKS, [click for click in clicks if click.frame != frame])


def undo_click(folder: Path, frame: int) -> None:
    """Take back the last click of a frame, if there is one."""
    if not (folder / CLICKS).is_file():
        return
    with sole_maker(folder / CLICKS):
        clicks = _read_clicks(folder / CLICKS)
        last = max((i for i, click in enumerate(clicks) if click.frame == frame), default=None)
        if last is not None:
            _replace_clicks(folder / CLICKS, clicks[:last] + clicks[last + 1 :])


def paint(folder: Path, frame: int, labels: np.ndarray) -> None:
    """Write a frame's painted mask in place of an earlier one; one that is untouched takes it back.

    Args:
        folder: of the video's corrections.
        frame: index.
        labels: (height, width) uint8 of `PERSON`, `NOT_PERSON` and `UNTOUCHED`, as large as ``vid.mp4``.
    """
    path = folder / f"{frame:06}.png"
    if (labels == UNTOUCHED).all():
        remove(path)
        return
    with whole_file(path) as part:
        Image.fromarray(labels).save(part)


def read_painted(path: Path, width: int, height: int) -> np.ndarray:
    """A painted mask, (height, width) uint8 of `PERSON`, `NOT_PERSON` and `UNTOUCHED`.

    Raises:
        Rejected: it cannot be read, or has another size than the video.
    """
    _check_size_of_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", Image.DecompressionBombWarning
        )  # the size is compared before decoding
        try:
            with Image.open(path, formats=["PNG"]) as picture:
                if picture.size != (width, height):
                    seen = f"{picture.width} × {picture.height}"
                    raise Rejected(
                        f"{path}: {seen} pixels, the video has {width} × {height}; paint on its frames"
                    )
                grey, alpha = np.moveaxis(np.asarray(picture.convert("LA")), 2, 0)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise Rejected(f"{path}: not a PNG picture, or damaged; paint the frame again") from None
    labels = np.full_like(grey, UNTOUCHED)
    labels[(grey >= _PERSON_FROM) & (alpha > 127)] = PERSON
    labels[(grey <= _NOT_PERSON_TO) & (alpha > 127)] = NOT_PERSON
    return labels


def _read_clicks(path: Path) -> list[Click]:
    if not path.is_file():
        return []
    _check_size_of_file(path)
    try:
        return _CLICKS.validate_python(json.loads(path.read_bytes()))
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in problem['loc']) or 'the list'}: {problem['msg']}"
            for problem in error.errors()[:3]
        ]
        raise Rejected(
            f"{path}: {'; '.join(problems)} (a click has frame, x, y and person: true or false)"
        ) from None
    except (ValueError, RecursionError):
        raise Rejected(f"{path}: not JSON, or damaged; click again") from None


def _replace_clicks(path: Path, clicks: list[Click]) -> None:
    if clicks:
        write_json(path, _CLICKS.dump_python(clicks))
    else:
        remove(path)


def _check_size_of_file(path: Path) -> None:
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise Rejected(f"{path}: {size / 1e6:.0f} MB; corrections have {LARGEST_FILE / 1e6:.0f} MB at most")
