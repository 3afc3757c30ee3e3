"""From a picture to a character: mask, square crop, body."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from mimo.body.motion import Motion
from mimo.body.raster import fragments
from mimo.character import LONGEST_SIDE, Character, CharacterRecord, Crop
from mimo.files import sha256
from mimo.stage import Rejected, parse_settings
from video_decomp.character.interface import CharacterSettings, Person
from video_decomp.character.picture import Picture, read_picture
from video_decomp.pose.interface import Estimate

MARGIN = 0.06
"""White or scenery around the person, in units of their longest side."""


def prepare(path: Path, backend: ModuleType, settings: CharacterSettings) -> Character:
    """Make a character from a picture file.

    Args:
        path: the picture.
        backend: module of the character stage.
        settings: the backend's settings.

    Raises:
        Rejected: the picture shows no usable person; the message says what is wrong and what to do.
    """
    picture = read_picture(path)
    person = _find(path, picture, backend, settings)
    mask = person.mask
    if picture.alpha is not None:
        mask = _opaque(picture.alpha, person.mask)
        picture = replace(picture, image=np.where(mask[..., None] == 0, 255, picture.image).astype(np.uint8))
    box = _box(mask)
    _check(path, picture, person, box, settings)
    image, mask, crop = _square(picture, mask, box)
    estimate = _fit(path, image, mask, backend.pose, settings)
    overlap = _overlap(estimate.motion, mask)
    if overlap < settings.min_overlap:
        raise Rejected(
            f"{path}: the body does not fit the person (overlap {overlap:.2f}, at least "
            f"{settings.min_overlap:g} is needed); give a picture with arms and legs apart, "
            "or lower character: min_overlap"
        )
    warnings = list(estimate.warnings)
    if not person.in_full:
        warnings.append("the person is not seen from head to feet; what is hidden is guessed")
    record = CharacterRecord(
        source=path.name,
        source_sha256=sha256(path),
        source_size=picture.size,
        crop=crop,
        settings=settings.model_dump(mode="json"),
        mask={**person.metrics, "from": "transparency" if picture.alpha is not None else "network"},
        fit={**estimate.metrics, "silhouette_iou": round(overlap, 4)},
        warnings=warnings,
        weights=sorted({*person.weights, *estimate.weights}),
    )
    return Character(image, mask, estimate.motion, record)


def _find(path: Path, picture: Picture, backend: ModuleType, settings: CharacterSettings) -> Person:
    """The person; places in the settings are in pixels of the source."""
    subject = settings.subject
    if isinstance(subject, tuple) and picture.scale < 1:
        moved = tuple(float(value) * picture.scale for value in subject)
        settings = settings.model_copy(update={"subject": moved})
    try:
        person: Person = backend.find(picture.image, settings)
    except Rejected as error:
        raise Rejected(f"{path}: {error}") from None
    return person


def _opaque(alpha: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The pieces of the transparency mask that belong to the person who was found."""
    count, labels = cv2.connectedComponents((alpha > 127).astype(np.uint8), connectivity=8)
    if count <= 2:
        return alpha
    sizes = np.bincount(labels.ravel(), minlength=count)
    inside = np.bincount(labels[found > 127], minlength=count)
    keep = inside > 0.3 * sizes
    keep[0] = True
    return np.where(keep[labels], alpha, 0).astype(np.uint8)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the person in pixels of the working picture."""
    rows, columns = np.flatnonzero((mask > 127).any(axis=1)), np.flatnonzero((mask > 127).any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _check(
    path: Path, picture: Picture, person: Person, box: tuple[int, int, int, int], settings: CharacterSettings
) -> None:
    """Refuse people that make no good character.

    Raises:
        Rejected: too small, or not seen in full.
    """
    longest = round(max(box[2] - box[0], box[3] - box[1]) / picture.scale)
    if longest < settings.min_height:
        raise Rejected(
            f"{path}: the person is only {longest} pixels tall, needed are {settings.min_height}; "
            "give a larger picture, or lower character: min_height"
        )
    if settings.full_body and not person.in_full:
        raise Rejected(
            f"{path}: only part of the person is seen; give a picture that shows head, hips and feet, choose "
            "another person with character: subject, or set character: full_body to false"
        )


def _square(
    picture: Picture, mask: np.ndarray, box: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray, Crop]:
    """Cut a square around the person; what lies outside the picture is white."""
    left, top, right, bottom = box
    side = int(np.ceil(max(right - left, bottom - top) * (1 + 2 * MARGIN)))
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    height, width = mask.shape
    image: np.ndarray = np.full((side, side, 3), 255, np.uint8)
    cover: np.ndarray = np.zeros((side, side), np.uint8)
    seen = (slice(max(y, 0), min(y + side, height)), slice(max(x, 0), min(x + side, width)))
    place = (slice(seen[0].start - y, seen[0].stop - y), slice(seen[1].start - x, seen[1].stop - x))
    image[place], cover[place] = picture.image[seen], mask[seen]
    scale = min(1.0, LONGEST_SIDE / side)
    if scale < 1:
        size = (LONGEST_SIDE, LONGEST_SIDE)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        cover = cv2.resize(cover, size, interpolation=cv2.INTER_AREA)
    crop = Crop(
        left=x / picture.scale,
        top=y / picture.scale,
        side=side / picture.scale,
        scale=image.shape[0] / side * picture.scale,
    )
    return image, cover, crop


def _fit(
    path: Path, image: np.ndarray, mask: np.ndarray, pose: ModuleType, settings: CharacterSettings
) -> Estimate:
    """The body, by the pose stage on a clip of one frame."""
    values = parse_settings(pose.Settings, settings.pose, "character: pose")
    try:
        estimate: Estimate = pose.estimate([(image, mask)], 30.0, values)
    except Rejected as error:
        raise Rejected(f"{path}: {error}") from None
    return estimate


def _overlap(motion: Motion, mask: np.ndarray) -> float:
    """Intersection over union of the fitted body and the mask."""
    body = fragments(motion.vertices(0), motion.body.faces, motion.camera).faces >= 0
    person = mask > 127
    return float((body & person).sum() / max((body | person).sum(), 1))
