"""Search of one clip for occluders, segment by segment, from the frames in which body is hidden."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from mimo.body.motion import Motion
from mimo.video import VideoReader
from video_decomp.occlusion.hidden import View, views, working_scale
from video_decomp.occlusion.interface import Occluder
from video_decomp.occlusion.moving import coloured_like, differs, moving_thing
from video_decomp.occlusion.still import SURE, StillThing, find_still_things
from video_decomp.registration import CameraMotion
from video_decomp.scene_plate import Plate, Segment, build_plate, to_canvas, warp

SEEN_SECONDS = 2.0
PLATE_MARGIN = 8.0
KEPT_VIEWS = 240
SAME_COLOURS = 0.5
RARELY = 0.35
LONG = 6


class Limits(Protocol):
    """Thresholds of the search: see `geometry.Settings`."""

    min_share: float
    min_frames: int


def enough_hidden(shares: np.ndarray, limits: Limits) -> bool:
    """Whether hidden shares of the body, in some frames, are more than errors of the fit.

    A large part in a few frames is enough, or a smaller one in many (a low fence).
    """
    if np.count_nonzero(shares) < limits.min_frames:
        return False
    return bool(shares.max() >= limits.min_share or shares.sum() >= LONG * limits.min_share)


@dataclass
class Found:
    """What a search found.

    Attributes:
        occluders: for the record.
        still: things on their segment's canvas.
        moving: PNG of the mask of moving things, by frame (small, however long the clip).
        warnings: for the user.
    """

    occluders: list[Occluder] = field(default_factory=list)
    still: list[tuple[Segment, StillThing]] = field(default_factory=list)
    moving: dict[int, np.ndarray] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def moving_mask(self, index: int) -> np.ndarray:
        """Moving things in a frame, (h, w) bool."""
        return np.asarray(cv2.imdecode(self.moving[index], cv2.IMREAD_GRAYSCALE)) > 127


class _Scene:
    """The empty scene at working resolution.

    Attributes:
        picture: (h, w, 3) uint8 RGB.
        unknown: (h, w) uint8, 0 where it has been seen.
        rarely: (h, w) bool, seen in few of the frames that it was made from.
    """

    def __init__(self, plate: Plate, size: tuple[int, int]) -> None:
        self.picture = cv2.resize(plate.image, size, interpolation=cv2.INTER_AREA)
        never = (plate.views == 0).astype(np.uint8) * 255
        self.unknown = cv2.resize(never, size, interpolation=cv2.INTER_AREA)
        views = cv2.resize(plate.views, size, interpolation=cv2.INTER_NEAREST)
        self.rarely = views < RARELY * int(views.max())


@dataclass
class _Hidden:
    """Hidden places of a segment's frames.

    Attributes:
        count: (h, w) int32 on the canvas, working resolution: frames in which it was hidden.
        places: (index, packed bits of the canvas) of up to KEPT_VIEWS frames.
        bodies: areas of the body; heights: its heights.
        moving: (index, share of the body, likeness to the person, PNG) of frames with moving things.
    """

    count: np.ndarray
    places: list[tuple[int, float, np.ndarray]] = field(default_factory=list)
    bodies: list[float] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    moving: list[tuple[int, float, float, np.ndarray]] = field(default_factory=list)


class Search:
    """Looks for what hides the person.

    Args:
        tolerance: see `hidden.views`.
        reach: how far around the hidden places a thing is outlined, in body heights.
    """

    def __init__(
        self,
        frames: VideoReader,
        masks: VideoReader,
        motion: Motion,
        camera: CameraMotion,
        tolerance: float,
        reach: float,
    ) -> None:
        self._frames, self._masks, self._motion = frames, masks, motion
        self._camera, self._tolerance, self._reach = camera, tolerance, reach
        self._scale = working_scale(camera.size)

    def look_at(self, segment: Segment, runs: list[tuple[int, int]], limits: Limits, found: Found) -> None:
        """Add what hides the person in the runs of frames (start, stop) that fall into a segment."""
        parts = [(max(start, segment.start), min(stop, segment.stop)) for start, stop in runs]
        parts = [(start, stop) for start, stop in parts if start < stop]
        if not parts:
            return
        plate = build_plate(self._frames, self._masks, self._camera, segment, PLATE_MARGIN)
        seen = self._seen(plate, parts)
        hidden = self._gather(plate, parts, seen >= 2 * SURE)
        if hidden.bodies:
            self._add_still(plate, hidden, seen, limits, found)
            self._add_moving(hidden, limits, found)

    def _gather(self, plate: Plate, parts: list[tuple[int, int]], behind: np.ndarray) -> _Hidden:
        """Hidden places of the frames in some runs, those that look as the scene and those that do not.

        Where the person nearly always is, the empty scene may show what passed in front: if the person has
        been seen there (`behind`), what hides her now is moving.
        """
        segment = plate.segment
        scene = _Scene(plate, self._canvas_size(segment))
        hidden = _Hidden(np.zeros(scene.picture.shape[:2], np.int32))
        stride = -(-sum(stop - start for start, stop in parts) // KEPT_VIEWS)
        for start, stop in parts:
            looks = views(self._masks, self._motion, self._tolerance, start, stop)
            for view, frame in zip(looks, self._frames.frames(start, stop), strict=True):
                if view.share == 0:
                    continue
                small = cv2.resize(frame, view.body.shape[::-1], interpolation=cv2.INTER_AREA)
                different = self._different(small, scene, segment, view.index, view.body | view.person)
                rarely = self._to_frame(scene.rarely, segment, view)
                different |= view.hidden & rarely & self._to_frame(behind, segment, view)
                still = self._to_canvas(view.hidden & ~different, segment, view.index)
                hidden.count += still
                hidden.bodies.append(float(view.body.sum()))
                hidden.heights.append(view.height)
                if view.index % stride == 0:
                    share = float((view.hidden & ~different).sum()) / float(view.body.sum())
                    hidden.places.append((view.index, share, np.packbits(still)))
                self._note_moving(hidden, view, small, different, rarely)
        return hidden

    def _note_moving(
        self, hidden: _Hidden, view: View, small: np.ndarray, different: np.ndarray, rarely: np.ndarray
    ) -> None:
        """Keep what differs from the scene in front of the body in one frame.

        Where the scene is hardly known, it is continued over what has its colours.
        """
        inner = cv2.morphologyEx(
            (view.hidden & different).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
        )
        part = inner > 0
        if not part.any():
            return
        alike = coloured_like(small, part)
        thing = moving_thing(np.where(rarely, alike, different), part, view.person)
        full = cv2.resize(thing.astype(np.uint8) * 255, self._camera.size, interpolation=cv2.INTER_LINEAR)
        hard = np.where(full > 127, 255, 0).astype(np.uint8)
        share = float(part.sum()) / float(view.body.sum())
        likeness = float(coloured_like(small, view.person)[part].mean())
        hidden.moving.append((view.index, share, likeness, cv2.imencode(".png", hard)[1]))

    def _add_still(
        self,
        plate: Plate,
        hidden: _Hidden,
        seen: np.ndarray,
        limits: Limits,
        found: Found,
    ) -> None:
        segment = plate.segment
        least = limits.min_share / 2 * float(np.median(hidden.bodies))
        reach = self._reach * max(hidden.heights)
        for thing in find_still_things(plate.image, hidden.count, seen, reach, least):
            small = cv2.resize(
                thing.mask.astype(np.uint8), hidden.count.shape[::-1], interpolation=cv2.INTER_NEAREST
            )
            shares = {}
            for index, share, packed in hidden.places:
                place = np.unpackbits(packed, count=small.size).reshape(small.shape) > 0
                over = float((place & (small > 0)).sum()) / max(1.0, float(place.sum()))
                if share * over > limits.min_share / 3:
                    shares[index] = share * over
            if enough_hidden(np.array(list(shares.values())), limits):
                found.still.append((segment, thing))
                found.occluders.append(
                    _occluder("still", shares, thing.confidence, self._box(thing, segment, min(shares)))
                )

    def _add_moving(self, hidden: _Hidden, limits: Limits, found: Found) -> None:
        notes = [note for note in hidden.moving if note[1] > limits.min_share / 3]
        if not enough_hidden(np.array([note[1] for note in notes]), limits):
            return
        likeness = float(np.median([note[2] for note in notes]))
        if likeness > SAME_COLOURS:
            found.warnings.append(
                f"frames {notes[0][0]} to {notes[-1][0]}: part of the body is missing from the mask but "
                "looks like the person; taken for an error of the mask, not for something in front"
            )
            return
        for index, _, _, png in notes:
            found.moving[index] = png
        first = found.moving_mask(notes[0][0])
        shares = {note[0]: note[1] for note in notes}
        found.occluders.append(_occluder("moving", shares, round(1 - likeness, 2), _bounds(first)))

    def _seen(self, plate: Plate, parts: list[tuple[int, int]]) -> np.ndarray:
        """How surely the person was seen at each place of the canvas around the runs.

        A frame counts SURE where it differs from the empty scene and 1 elsewhere: a mask may spill over
        something in front for a few frames.
        """
        segment = plate.segment
        scene = _Scene(plate, self._canvas_size(segment))
        seen = np.zeros(scene.picture.shape[:2], np.int32)
        for start, stop in self._windows(segment, parts):
            pairs = zip(self._frames.frames(start, stop), self._masks.frames(start, stop), strict=True)
            for index, (frame, mask) in enumerate(pairs, start=start):
                size = (round(mask.shape[1] * self._scale), round(mask.shape[0] * self._scale))
                person = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127
                small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
                around = cv2.dilate(person.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
                sure = person & self._different(small, scene, segment, index, around)
                seen += self._to_canvas(person, segment, index)
                seen += (SURE - 1) * self._to_canvas(sure, segment, index)
        return seen

    def _windows(self, segment: Segment, parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The runs and the time around them, joined where they touch."""
        around = round(SEEN_SECONDS * float(self._frames.info.fps))
        windows: list[tuple[int, int]] = []
        for start, stop in parts:
            start, stop = max(segment.start, start - around), min(segment.stop, stop + around)
            if windows and start <= windows[-1][1]:
                windows[-1] = (windows[-1][0], stop)
            else:
                windows.append((start, stop))
        return windows

    def _canvas_size(self, segment: Segment) -> tuple[int, int]:
        """(width, height) of a canvas at working resolution."""
        return round(segment.size[0] * self._scale), round(segment.size[1] * self._scale)

    def _small_matrix(self, segment: Segment, index: int) -> np.ndarray:
        scale = np.diag([self._scale, self._scale, 1.0])
        return scale @ to_canvas(self._camera, segment, index) @ np.linalg.inv(scale)

    def _to_canvas(self, area: np.ndarray, segment: Segment, index: int) -> np.ndarray:
        """A frame's area (h, w) bool on the canvas, working resolution."""
        if segment.static:
            return area
        matrix = self._small_matrix(segment, index)
        return warp(area.astype(np.uint8) * 255, matrix, self._canvas_size(segment), mask=True) > 127

    def _to_frame(self, area: np.ndarray, segment: Segment, view: View) -> np.ndarray:
        """An area of the canvas (h, w) bool from a frame's view, working resolution."""
        if segment.static:
            return area
        matrix = np.linalg.inv(self._small_matrix(segment, view.index))
        size = (view.body.shape[1], view.body.shape[0])
        return warp(area.astype(np.uint8) * 255, matrix, size, mask=True) > 127

    def _different(
        self, small: np.ndarray, scene: _Scene, segment: Segment, index: int, person: np.ndarray
    ) -> np.ndarray:
        """Where a frame (h, w, 3), working resolution, is not the empty scene, as far as that is known."""
        picture, unknown = scene.picture, scene.unknown
        if not segment.static:
            matrix = np.linalg.inv(self._small_matrix(segment, index))
            size = (small.shape[1], small.shape[0])
            picture = warp(picture, matrix, size)
            # Beyond the canvas nothing is known either.
            unknown = 255 - warp(255 - unknown, matrix, size, mask=True)
        known = unknown == 0
        return differs(small, picture, known & ~person) & known

    def _box(self, thing: StillThing, segment: Segment, index: int) -> tuple[int, int, int, int]:
        if segment.static:
            return _bounds(thing.mask)
        matrix = np.linalg.inv(to_canvas(self._camera, segment, index))
        return _bounds(warp(thing.mask.astype(np.uint8) * 255, matrix, self._camera.size, mask=True) > 127)


def _occluder(
    kind: str, shares: dict[int, float], confidence: float, box: tuple[int, int, int, int]
) -> Occluder:
    return Occluder(
        kind=kind,
        first_frame=min(shares),
        last_frame=max(shares),
        hidden_share=round(max(shares.values()), 3),
        confidence=confidence,
        box=box,
    )


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of an area; zeros when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
