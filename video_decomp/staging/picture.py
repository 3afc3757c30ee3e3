"""A picture as a scene: it stands still, and its camera and ground are said by hand or guessed."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from mimo.stage import Rejected
from video_decomp.character.picture import read_picture
from video_decomp.staging.camera import LENS
from video_decomp.staging.driver import Driver
from video_decomp.staging.frames import of_image
from video_decomp.staging.guide import WEIGHTS, Guide
from video_decomp.staging.interface import Frames, Scene, Wishes
from video_decomp.staging.unattended import Unattended

SMALL_FORMAT = math.hypot(36, 24)
"""Millimetres of the diagonal that focal lengths in EXIF refer to."""


def recognises(text: str) -> bool:
    """Whether it is a file with a still picture."""
    path = Path(text)
    if not path.is_file():
        return False
    try:
        with Image.open(path) as file:
            return not getattr(file, "is_animated", False)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def open_scene(text: str, driver: Driver, wishes: Wishes, scratch: Path) -> Scene:
    """Open a picture; see `video_decomp.staging.interface`.

    Raises:
        Rejected: it cannot be read.
    """
    path = Path(text)
    picture = read_picture(path)
    size = reduced_size(picture.size, wishes.short_side)
    image = cv2.resize(picture.image, size, interpolation=cv2.INTER_AREA)
    pixel = size[0] / picture.size[0]
    found = Unattended.of(image, _focal(path, wishes, size), wishes, pixel, driver)
    return Scene(
        kind="picture",
        name=path.name,
        size=size,
        fps=None,
        length=None,
        view=found.view(wishes, pixel),
        vid=of_image(image),
        bk=of_image(image),
        mask=None if found.guide is None else of_image(found.guide.mask),
        occ=_front(wishes, found.guide, size),
        ground=found.ground,
        person=None if found.guide is None else found.guide.motion,
        ground_from=found.source,
        weights=() if found.guide is None else WEIGHTS,
    )


def _front(wishes: Wishes, guide: Guide | None, size: tuple[int, int]) -> Frames | None:
    """What may stand in front: as said, and whoever is seen."""
    masks = [] if guide is None else [guide.mask]
    if wishes.occluder is not None:
        masks.append(in_front(wishes.occluder, size))
    return of_image(np.max(masks, axis=0)) if masks else None


def reduced_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Even width and height of a picture reduced to a shorter side at most."""
    scale = min(1.0, short_side / min(size))
    return max(round(size[0] * scale / 2) * 2, 2), max(round(size[1] * scale / 2) * 2, 2)


def in_front(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(height, width) uint8, the picture of what stands in front of people.

    Raises:
        Rejected: it cannot be read, or is of another shape than the scene.
    """
    picture = read_picture(path)
    shape = picture.size[0] / picture.size[1]
    if abs(shape * size[1] / size[0] - 1) > 0.02:
        raise Rejected(
            f"{path}: {picture.size[0]}x{picture.size[1]} pixels, another shape than the scene, which is "
            f"{size[0]}x{size[1]}; paint it over the scene's own picture"
        )
    grey = cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))


def _focal(path: Path, wishes: Wishes, size: tuple[int, int]) -> float:
    """Focal length in pixels: as said, as the camera wrote it into the file, or a guess."""
    if wishes.lens is not None:
        return wishes.lens * max(size)
    with Image.open(path) as file:
        lens = file.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
    if isinstance(lens, int) and 10 <= lens <= 600:
        return lens / SMALL_FORMAT * math.hypot(*size)
    return LENS * max(size)
