"""Masks that obey what was corrected by hand, on the corrected frames and as far as it can be carried.

The masks as they were found wait in a temporary file, since a correction reaches back in time.
"""

from __future__ import annotations

import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mimo.corrections import UNTOUCHED, Corrections, load, read_painted
from mimo.stage import Rejected, progress
from mimo.video import VideoReader
from video_decomp.sam2.spill import MaskSpill
from video_decomp.sam2.streams import backwards, forwards
from video_decomp.segmentation.carrying import Patch, carry
from video_decomp.segmentation.clicks import clicked
from video_decomp.segmentation.interface import FrameMask, Segmentation, SubjectSettings
from video_decomp.segmentation.strokes import meant
from video_decomp.segments.part import Place, is_segment


def corrections_of(folder: Path | None, template: Path, video: VideoReader) -> Corrections:
    """The corrections of a clip, checked.

    Args:
        folder: of the corrections; of a segment's whole video.
        template: the clip's folder.
        video: the clip.

    Returns:
        Those of the clip's frames, counted from its first one.

    Raises:
        Rejected: one is on no frame of the video or outside the picture, or a file cannot be used.
    """
    found = load(folder)
    if not found.frames:
        return found
    place = Place.read(template) if is_segment(template) else Place(0, 1, 0, len(video), len(video), 0)
    if found.frames[-1] >= place.frames:
        raise Rejected(
            f"{folder}: a correction of frame {found.frames[-1]}, the video has frames 0 to "
            f"{place.frames - 1}; remove those beyond"
        )
    for click in found.clicks:
        if click.x >= video.info.width or click.y >= video.info.height:
            raise Rejected(
                f"{folder}: a click of frame {click.frame} at ({click.x:g}, {click.y:g}) is outside the "
                f"picture of {video.info.width} × {video.info.height} pixels; remove it"
            )
    for path in found.painted.values():
        read_painted(path, video.info.width, video.info.height)
    ours = range(place.first, place.stop)
    return Corrections(
        [
            click.model_copy(update={"frame": click.frame - place.first})
            for click in found.clicks
            if click.frame in ours
        ],
        {frame - place.first: path for frame, path in found.painted.items() if frame in ours},
    )


def corrected(
    found: Segmentation, video: VideoReader, corrections: Corrections, settings: SubjectSettings
) -> Segmentation:
    """The same masks with the corrections, carried as far as the settings let them.

    Raises:
        Rejected: a painted mask was replaced meanwhile by one that cannot be used.
    """
    if not corrections.frames:
        return found
    result = replace(found)
    result.masks = _corrected(found, result, video, corrections, settings)
    return result


def _corrected(
    found: Segmentation,
    result: Segmentation,
    video: VideoReader,
    corrections: Corrections,
    settings: SubjectSettings,
) -> Iterator[FrameMask]:
    with tempfile.TemporaryFile() as file:
        masks = MaskSpill(file)
        for index, frame in enumerate(found.masks):
            masks.put(index, frame.mask > 127, np.array([frame.score], np.float32))
        work = _Work(video, masks, corrections, settings)
        work.carry_all()
        result.corrections = work.told
        for index, image in forwards(video):
            yield work.finished(index, image)


@dataclass(frozen=True)
class _Said:
    """A carried patch, packed.

    Attributes:
        distance: frames from the corrected one.
        rows, columns: the part of the frame.
        labels: compressed.
    """

    distance: int
    rows: slice
    columns: slice
    labels: bytes

    def patch(self) -> Patch:
        shape = (self.rows.stop - self.rows.start, self.columns.stop - self.columns.start)
        values = np.frombuffer(zlib.decompress(self.labels), np.uint8).reshape(shape)
        return Patch(self.rows, self.columns, values)


@dataclass
class _Work:
    """One clip's corrections on their way into its masks."""

    video: VideoReader
    masks: MaskSpill
    corrections: Corrections
    settings: SubjectSettings
    told: list[dict[str, Any]] = field(default_factory=list)
    exact: dict[int, bytes] = field(default_factory=dict)
    carried: dict[int, list[_Said]] = field(default_factory=lambda: defaultdict(list))

    def carry_all(self) -> None:
        """Read every correction, and carry it both ways."""
        clicked_on = dict.fromkeys(click.frame for click in self.corrections.clicks)
        for frame in self.corrections.painted.keys() - clicked_on:
            self._read(frame)
        if clicked_on:
            # A click speaks of the mask as the corrections before it left it.
            self._carry_those_read()
            for frame in clicked_on:
                self._read(frame)
                self._carry(frame)
        # Now that all are known, each is carried to where another takes over.
        self._carry_those_read()

    def finished(self, index: int, image: np.ndarray) -> FrameMask:
        """A frame's mask, corrected."""
        mask, score = self._corrected(index)
        if index in self.exact:
            labels = self._exact(index)
            mask = np.where(labels == UNTOUCHED, mask, labels)
            score = 1.0
        return FrameMask(image, mask, score if mask.any() else 0.0)

    def _corrected(self, index: int) -> tuple[np.ndarray, float]:
        """Mask and score of a frame by what other frames' corrections say of it, the nearest last."""
        mask, score = self._found(index)
        for said in sorted(self.carried[index], key=lambda one: -one.distance):
            mask = said.patch().on(mask)
        return mask, score

    def _found(self, index: int) -> tuple[np.ndarray, float]:
        masks, scores = self.masks.take(index)
        return masks.astype(np.uint8) * 255, float(scores[0])

    def _read(self, frame: int) -> None:
        """Take what is said of a frame: by its clicks, and over them by its painted mask."""
        image, (mask, _) = self.video.frame(frame), self._corrected(frame)
        grows = not self.settings.prompted_by_corrections
        labels = clicked(image, mask, self.corrections.clicks_of(frame), grows=grows)
        if frame in self.corrections.painted:
            painted = self._painted(frame)
            labels = np.where(painted == UNTOUCHED, labels, painted)
        self.exact[frame] = zlib.compress(labels.tobytes(), 1)

    def _painted(self, frame: int) -> np.ndarray:
        info = self.video.info
        return read_painted(self.corrections.painted[frame], info.width, info.height)

    def _exact(self, frame: int) -> np.ndarray:
        shape = (self.video.info.height, self.video.info.width)
        return np.frombuffer(zlib.decompress(self.exact[frame]), np.uint8).reshape(shape)

    def _touched(self, frame: int) -> np.ndarray | None:
        """Where a frame was corrected itself."""
        return self._exact(frame) != UNTOUCHED if frame in self.exact else None

    def _carry_those_read(self) -> None:
        self.carried.clear()
        self.told.clear()
        for frame in progress(sorted(self.exact), "carrying corrections", len(self.exact)):
            self._carry(frame)

    def _carry(self, frame: int) -> None:
        image, exact = self.video.frame(frame), self._exact(frame)
        labels = exact.copy()
        if frame in self.corrections.painted:
            # What clicks mean ends at edges by itself.
            brush = self._painted(frame)
            labels[meant(image, self._found(frame)[0], brush) != brush] = UNTOUCHED
        others = [forwards(self.video, frame + 1), backwards(self.video, frame - 1)]
        if frame not in self.corrections.painted and self.settings.prompted_by_corrections:
            others = []
        reach = round(self.settings.carry * float(self.video.info.fps))
        reached = [frame]
        for way in others:
            for index, patch in carry(image, labels, islice(way, reach), self._touched):
                packed = zlib.compress(np.ascontiguousarray(patch.labels).tobytes(), 1)
                said = _Said(abs(index - frame), patch.rows, patch.columns, packed)
                self.carried[index].append(said)
                reached.append(index)
        self.told.append(
            {
                "frame": frame,
                "clicks": len(self.corrections.clicks_of(frame)),
                "painted": frame in self.corrections.painted,
                "pixels": int(np.count_nonzero(exact != UNTOUCHED)),
                "first_frame": min(reached),
                "last_frame": max(reached),
            }
        )
