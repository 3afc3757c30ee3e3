"""Inpainting backend ``plate``: what the camera saw there at other times, and an exemplar fill for the rest.

The scene without the person is built by `video_decomp.scene_plate`; what was never seen is filled once in
the plate's coordinates (`video_decomp.inpainting.exemplar`), so the fill does not flicker. Each frame gets
its own view of the plate under the soft mask, matched to the frame's light around the mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from mimo.stage import StageSettings, progress
from mimo.video import VideoReader
from video_decomp.inpainting.exemplar import fill_hole
from video_decomp.inpainting.interface import Outcome, blend, in_pixels, mask_distance, soft_mask
from video_decomp.light import fit_light
from video_decomp.masked_video import open_masked_video
from video_decomp.registration import CameraMotion, estimate_motion
from video_decomp.scene_plate import Plate, Segment, build_plate, segments, to_canvas, warp
from video_decomp.segments.part import Part

LIGHT_STEP = 4
CONTEXT = 32
MAX_LIGHT_CHANGE = 14.0


class Settings(StageSettings):
    """Settings of the plate backend; lengths are pixels at a short side of 720."""

    surveys: ClassVar[bool] = True

    margin: float = Field(
        10, ge=1, le=100, description="pixels around the mask that are filled too (hair, soft edges)"
    )
    feather: float = Field(6, ge=1, le=60, description="pixels over which the fill fades into the frame")
    repair: float = Field(
        16, ge=0, le=200, description="pixels beyond these where what the mask missed of the person is filled"
    )
    match_light: bool = Field(True, description="match the plate's light to each frame around the mask")
    seed: int = Field(0, ge=0, description="seed of the exemplar fill's random search")

    def divisible(self) -> bool:
        """See `StageSettings.divisible`."""
        return True


def survey(frames: VideoReader, masks: VideoReader, settings: Settings) -> dict[str, np.ndarray]:
    """Where the frames of a whole video lie, for its segments: a place may be seen in another of them."""
    return estimate_motion(frames, masks).packed()


def inpaint(
    frames: VideoReader,
    masks: VideoReader,
    write: Callable[[np.ndarray], None],
    settings: Settings,
    part: Part | None = None,
) -> Outcome:
    """Take the person out of a clip; see `interface.Backend`.

    Args:
        frames, masks, write, settings: the clip, who takes what becomes of it, and how.
        part: for a segment, the `survey` of the whole video, whose frames show what is behind the person.
    """
    margin, feather = in_pixels(settings.margin, frames), in_pixels(settings.feather, frames)
    if part is None:
        motion, ours = estimate_motion(frames, masks), range(len(frames))
    else:
        motion, ours = CameraMotion.unpacked(part.survey), range(part.place.first, part.place.stop)
        frames, masks = open_masked_video(part.whole)
    pending = [one for one in segments(motion) if one.start < ours.stop and one.stop > ours.start]
    outcome = Outcome()
    painter = _Painter(frames, masks, motion, margin, feather, settings)
    pairs = zip(frames.frames(ours.start, ours.stop), masks.frames(ours.start, ours.stop), strict=True)
    for index, (frame, mask) in enumerate(progress(pairs, "background", total=len(ours)), ours.start):
        while pending and pending[0].start <= index:
            painter.open(pending.pop(0))
        write(painter.paint(index, frame, mask))
    outcome.metrics = {
        "camera": "static" if motion.static.all() else "moving",
        "shots": int(motion.shots.max()) + 1,
        "plates": painter.plates,
        "never_seen": round(painter.unseen / max(1, painter.masked), 4),
    }
    if outcome.metrics["never_seen"] > 0.3:
        outcome.warnings.append(
            f"{outcome.metrics['never_seen']:.0%} of what the person covers is never seen in the clip; "
            "that part of the background is invented"
        )
    if motion.inliers[ours.start : ours.stop].min() < 0.4:
        outcome.warnings.append("the camera's motion is uncertain in some frames; the background may swim")
    return outcome


def changed_within(settings: Settings, frames: VideoReader) -> float:
    """Pixels around the mask that may be changed."""
    return sum(in_pixels(length, frames) for length in (settings.margin, settings.feather, settings.repair))


class _Painter:
    """Holds the plates that the current frame needs and paints them over the person."""

    def __init__(
        self,
        frames: VideoReader,
        masks: VideoReader,
        motion: CameraMotion,
        margin: float,
        feather: float,
        settings: Settings,
    ) -> None:
        self._source = (frames, masks, motion)
        self._margin, self._feather, self._settings = margin, feather, settings
        self._reach = changed_within(settings, frames)
        self._open: list[tuple[Plate, np.ndarray]] = []
        self._light = _Light()
        self.plates = self.masked = self.unseen = 0

    def open(self, segment: Segment) -> None:
        """Build the plate of the next segment and drop those that have ended."""
        frames, masks, motion = self._source
        self._open = [held for held in self._open if held[0].segment.stop > segment.start]
        plate = build_plate(frames, masks, motion, segment, self._margin)
        hole = (plate.views == 0) & plate.inside
        image = fill_hole(plate.image, hole, plate.views > 0, self._settings.seed)
        self._open.append((plate, image))
        self.plates += 1

    def paint(self, index: int, frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """One frame without the person."""
        if not (mask > 127).any():
            return frame
        box = _box(mask > 127, round(self._reach) + CONTEXT)
        crop, weight = frame[box], soft_mask(mask[box], self._margin, self._feather)
        self._open = [held for held in self._open if held[0].segment.stop > index]
        fill, seen = self._fill(index, box, frame.shape)
        self.masked += int((weight > 0.5).sum())
        self.unseen += int(((weight > 0.5) & ~seen).sum())
        distance = mask_distance(mask[box])
        if self._settings.match_light:
            fill = self._light.match(crop, fill, (distance > self._reach) & seen, box)
        weight = self._with_remains(crop, fill, seen, distance, weight)
        painted = frame.copy()
        painted[box] = blend(crop, fill, weight)
        return painted

    def _with_remains(
        self, crop: np.ndarray, fill: np.ndarray, seen: np.ndarray, distance: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """The soft mask, grown over what else differs from the empty scene and touches the person.

        That is what the mask missed: hair, cloth, the soft edge of fast hands. Nothing beyond the reach.
        """
        difference = cv2.blur(np.abs(crop - fill).max(axis=-1), (3, 3))
        around = seen & (distance > self._reach)
        level = 14.0 + 2 * float(np.median(difference[around])) if around.any() else 30.0
        differs = seen & (difference > level) & (distance < self._reach - self._feather)
        differs |= weight >= 1
        count, labels = cv2.connectedComponents(differs.astype(np.uint8), connectivity=4)
        ours = np.zeros(count, bool)
        ours[labels[(weight >= 1) & differs]] = True
        ours[0] = False
        grown = cv2.dilate(ours[labels].astype(np.uint8), np.ones((3, 3), np.uint8))
        return np.maximum(weight, soft_mask(grown * 255, 0, self._feather))

    def _fill(
        self, index: int, box: tuple[slice, slice], shape: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The empty scene in a box of a frame, (h, w, 3) float32, and where it has been seen."""
        motion = self._source[2]
        rows, columns = box
        size = (columns.stop - columns.start, rows.stop - rows.start)
        total = np.zeros((size[1], size[0], 3), np.float32)
        seen = np.zeros((size[1], size[0]), bool)
        weights = 0.0
        for plate, image in self._open:
            share = plate.segment.weight(index, len(motion) - 1)
            if plate.segment.static:
                view, known = image[box], plate.views[box] > 0
            else:
                shift = np.array([[1, 0, -columns.start], [0, 1, -rows.start], [0, 0, 1]])
                matrix = shift @ np.linalg.inv(to_canvas(motion, plate.segment, index))
                view = warp(image, matrix, size)
                known = warp((plate.views > 0).astype(np.uint8) * 255, matrix, size, mask=True) > 250
            total += share * view
            seen |= known
            weights += share
        return total / weights, seen


class _Light:
    """Differences in light between a frame and the plate around the person, carried inside.

    A slope and an offset per channel, then what is left as a smooth field, blurred widely from outside the
    mask into it. Both follow the clip with some inertia, so that they cannot flicker.
    """

    INERTIA = 0.7

    def __init__(self) -> None:
        self._line: np.ndarray | None = None
        self._before: tuple[np.ndarray, tuple[slice, slice]] | None = None

    def match(
        self, crop: np.ndarray, fill: np.ndarray, usable: np.ndarray, box: tuple[slice, slice]
    ) -> np.ndarray:
        """The fill in the frame's light, (h, w, 3) float32.

        Args:
            crop: the frame in the box, (h, w, 3) uint8.
            fill: the plate there, (h, w, 3) float32.
            usable: (h, w) bool, where the two may be compared.
        """
        step = LIGHT_STEP
        chosen = usable[::step, ::step]
        line = fit_light(fill[::step, ::step][chosen], crop[::step, ::step][chosen])
        if self._line is not None:
            line = self.INERTIA * self._line + (1 - self.INERTIA) * line
        self._line = line
        lit = fill * line[0].astype(np.float32) + line[1].astype(np.float32)
        return lit + self._residue(crop, lit, usable, box)

    def _residue(
        self, crop: np.ndarray, lit: np.ndarray, usable: np.ndarray, box: tuple[slice, slice]
    ) -> np.ndarray:
        """What is left of the difference outside the mask, smoothed into it, (h, w, 3) float32."""
        height, width = usable.shape
        small = (max(1, width // LIGHT_STEP), max(1, height // LIGHT_STEP))
        difference = crop - lit
        # What moved on its own (leaves, people) is not light.
        usable = usable & (np.abs(difference).max(axis=-1) < 2 * MAX_LIGHT_CHANGE)
        difference = np.clip(difference, -MAX_LIGHT_CHANGE, MAX_LIGHT_CHANGE) * usable[..., None]
        sums = cv2.resize(difference, small, interpolation=cv2.INTER_AREA)
        counts = cv2.resize(usable.astype(np.float32), small, interpolation=cv2.INTER_AREA)
        sigma = max(small) / 8
        sums = cv2.GaussianBlur(sums, (0, 0), sigma)
        counts = cv2.GaussianBlur(counts, (0, 0), sigma)
        # Where nothing usable is near, the offset fades to none.
        offset = cv2.resize(sums / (counts[..., None] + 0.02), (width, height))
        if self._before is not None:
            old, (old_rows, old_columns) = self._before
            rows = slice(max(box[0].start, old_rows.start), min(box[0].stop, old_rows.stop))
            columns = slice(max(box[1].start, old_columns.start), min(box[1].stop, old_columns.stop))
            if rows.start < rows.stop and columns.start < columns.stop:
                here = offset[_inside(rows, box[0]), _inside(columns, box[1])]
                there = old[_inside(rows, old_rows), _inside(columns, old_columns)]
                here += self.INERTIA * (there - here)
        self._before = (offset, box)
        return offset


def _inside(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def _box(where: np.ndarray, pad: int) -> tuple[slice, slice]:
    """Rows and columns around the true cells, grown by `pad` pixels inside the image."""
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    height, width = where.shape
    return (
        slice(max(0, int(rows[0]) - pad), min(height, int(rows[-1]) + 1 + pad)),
        slice(max(0, int(columns[0]) - pad), min(width, int(columns[-1]) + 1 + pad)),
    )
