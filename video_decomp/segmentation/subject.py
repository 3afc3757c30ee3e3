"""Who is in the clip, and which of them is the subject.

People are looked for in key frames only; sightings are linked to tracks of one person each, by place, size
and colours, and the subject is one of the tracks (or several, when the person leaves and comes back).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from mimo.stage import Rejected
from video_decomp.blazepose import Landmark, LandmarkNetwork, PersonDetector, PoseLandmarks, Roi
from video_decomp.segmentation.interface import SubjectSettings

_HEAD = (Landmark.NOSE, Landmark.LEFT_EAR, Landmark.RIGHT_EAR)
_HIPS = (Landmark.LEFT_HIP, Landmark.RIGHT_HIP)
_FEET = (
    Landmark.LEFT_ANKLE,
    Landmark.RIGHT_ANKLE,
    Landmark.LEFT_HEEL,
    Landmark.RIGHT_HEEL,
    Landmark.LEFT_FOOT_INDEX,
    Landmark.RIGHT_FOOT_INDEX,
)
MIN_SCORE = 0.5
"""Below this presence score of the landmark network, a region holds no person."""
OUTLINE_CELL = 8
"""Pixels of the image to a cell of a sighting's outline."""
_COLOUR_MATCH = 0.45  # least similarity of colours of one person in two frames
_JUMP = 0.6  # largest step of one person between key frames, in their own heights a second (plus a quarter)
_FORGET = 1.0  # seconds after which place says nothing any more


@dataclass(frozen=True)
class Sighting:
    """One person in one frame.

    Attributes:
        frame: index.
        roi: region for the landmark network.
        score: of the landmark network, 0..1.
        box: left, top, right, bottom of the visible person, pixels.
        area: share of the frame that the box covers, 0..1.
        in_full: head, hips and feet are in view.
        colours: histogram of the person's pixels (see `colour_histogram`).
        outline: the rough mask, packed bits of a grid of `OUTLINE_CELL` pixels (see `rough_mask`).
    """

    frame: int
    roi: Roi
    score: float
    box: np.ndarray
    area: float
    in_full: bool
    colours: np.ndarray
    outline: np.ndarray

    def rough_mask(self, height: int, width: int) -> np.ndarray:
        """The person in the image's grid of cells, (height / 8, width / 8) uint8 0 or 1, rounded up."""
        shape = (-(-height // OUTLINE_CELL), -(-width // OUTLINE_CELL))
        return np.unpackbits(self.outline, count=shape[0] * shape[1]).reshape(shape)

    @property
    def height(self) -> float:
        """Longest side of the box, pixels (people lie down, too)."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    @property
    def centre(self) -> np.ndarray:
        """Middle of the box, pixels."""
        return (self.box[:2] + self.box[2:]) / 2


@dataclass
class Track:
    """Sightings of one person, in order of time."""

    sightings: list[Sighting] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """Size and presence over the clip; being seen in full counts four times."""
        return sum(s.area * s.score * (1.0 if s.in_full else 0.25) for s in self.sightings)


def sight(image: np.ndarray, frame: int, landmarks: PoseLandmarks) -> Sighting | None:
    """Turn what the network saw into a sighting; nothing if it saw no person inside the image."""
    height, width = image.shape[:2]
    mask = landmarks.mask_in_image(height, width) > 0.5
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if landmarks.score < MIN_SCORE or not rows.size:
        return None
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
    area = float((box[2:] - box[:2]).prod()) / (height * width)
    cells = (-(-width // OUTLINE_CELL), -(-height // OUTLINE_CELL))
    rough = cv2.resize(mask.astype(np.uint8) * 255, cells, interpolation=cv2.INTER_AREA) > 0
    return Sighting(
        frame=frame,
        roi=landmarks.next_roi,
        score=landmarks.score,
        box=box,
        area=area,
        in_full=_in_full(landmarks, width, height),
        colours=colour_histogram(image, landmarks),
        outline=np.packbits(rough),
    )


def _in_full(landmarks: PoseLandmarks, width: int, height: int) -> bool:
    """Whether head, hips and feet are in the image and not hidden."""
    x, y = landmarks.image[:, 0], landmarks.image[:, 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    seen = inside & (landmarks.visibility > 0.5) & (landmarks.presence > 0.5)
    return all(bool(seen[list(part)].any()) for part in (_HEAD, _HIPS, _FEET))


def colour_histogram(image: np.ndarray, landmarks: PoseLandmarks) -> np.ndarray:
    """Colours of a person's upper and lower half: (2 * 4 * 8 * 8,) float32, each half sums to one.

    In CIE Lab, lightness in 4 steps, so that a change of light matters less than one of colour.
    """
    side = 128
    lab = cv2.cvtColor(landmarks.roi.crop(image, side), cv2.COLOR_RGB2LAB)
    inside = (cv2.resize(landmarks.mask, (side, side)) > 0.5).astype(np.uint8)
    rows = np.flatnonzero(inside.any(axis=1))
    middle = int(rows.mean()) if rows.size else side // 2
    halves = []
    for part in (slice(None, middle), slice(middle, None)):
        counts = cv2.calcHist(
            [lab[part]], [0, 1, 2], inside[part], [4, 8, 8], [0, 256, 96, 160, 96, 160]
        ).ravel()
        halves.append(counts / max(float(counts.sum()), 1.0))
    return np.concatenate(halves).astype(np.float32)


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Bhattacharyya coefficient of two colour histograms, 0..1."""
    return float(np.sqrt(a * b).sum() / 2)


def find_people(
    image: np.ndarray,
    frame: int,
    detector: PersonDetector,
    network: LandmarkNetwork,
    *,
    thorough: bool = False,
    most: int = 6,
) -> list[Sighting]:
    """People in an image that both networks agree on, the largest first; at most `most`.

    Small people beside a large one are looked for only if `thorough`, at some cost.
    """
    found: list[Sighting] = []
    for detection in detector.detect_small(image, thorough=thorough)[: 2 * most]:
        sighting = sight(image, frame, network.run_twice(image, detection.roi))
        if sighting and all(_overlap(sighting.box, other.box) < 0.6 for other in found):
            found.append(sighting)
    return sorted(found, key=lambda s: -s.area)[:most]


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Shared part of the smaller of two boxes, 0..1."""
    size = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    return float(size.prod() / max(min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()), 1.0))


def link(key_frames: Iterable[list[Sighting]], fps: float) -> list[Track]:
    """Link the people of each key frame to tracks, the best matches first."""
    tracks: list[Track] = []
    for people in key_frames:
        pairs = sorted(
            (
                (_mismatch(track.sightings[-1], person, fps), t, p)
                for t, track in enumerate(tracks)
                for p, person in enumerate(people)
            ),
        )
        taken_tracks: set[int] = set()
        taken_people: set[int] = set()
        for cost, t, p in pairs:
            if cost < 1 and t not in taken_tracks and p not in taken_people:
                tracks[t].sightings.append(people[p])
                taken_tracks.add(t)
                taken_people.add(p)
        tracks += [Track([person]) for p, person in enumerate(people) if p not in taken_people]
    return tracks


def _mismatch(before: Sighting, after: Sighting, fps: float) -> float:
    """How unlike one person two sightings are; 1 or more: cannot be the same."""
    seconds = (after.frame - before.frame) / fps
    if seconds > _FORGET:
        return 1.0
    height = max(before.height, after.height)
    step = float(np.linalg.norm(after.centre - before.centre)) / height / (0.25 + _JUMP * seconds)
    growth = abs(np.log(after.height / before.height)) / np.log(2)
    colour = (1 - similarity(before.colours, after.colours)) / (1 - _COLOUR_MATCH)
    return max(step, growth, colour) if max(step, growth, colour) >= 1 else (step + growth + colour) / 3


def choose(tracks: list[Track], settings: SubjectSettings, fps: float) -> dict[int, Sighting]:
    """The subject's sightings by key frame.

    Raises:
        Rejected: there is no person, none where the settings say, too small a person, or none in full.
    """
    if not tracks:
        raise Rejected("no person found in any frame; use footage that shows one person from head to feet")
    track = _choose_track(tracks, settings, fps)
    largest = max(sighting.area for sighting in track.sightings)
    if largest < settings.min_area:
        raise Rejected(
            f"person too small: at most {largest:.2%} of the frame, min_area is {settings.min_area:.2%}; "
            "crop the video around the person, or lower segmentation: min_area"
        )
    if settings.full_body and not any(sighting.in_full for sighting in track.sightings):
        raise Rejected(
            "no full body: the person is never seen from head to feet; use other footage, choose another "
            "subject, or set segmentation: full_body to false"
        )
    return {sighting.frame: sighting for sighting in _with_returns(track, tracks)}


def _choose_track(tracks: list[Track], settings: SubjectSettings, fps: float) -> Track:
    wanted = settings.subject
    candidates = tracks
    if settings.subject_time is not None:
        time = settings.subject_time
        candidates = [
            track
            for track in tracks
            if track.sightings[0].frame / fps <= time + 0.5 and track.sightings[-1].frame / fps >= time - 0.5
        ]
    ranked = sorted(candidates, key=lambda track: -track.weight)
    if isinstance(wanted, int):
        ranked = ranked[wanted : wanted + 1]
    elif isinstance(wanted, tuple):
        place = np.array(wanted, dtype=np.float64)
        fits = [(_fit(track, place, settings.subject_time, fps), track) for track in ranked]
        ranked = [track for fit, track in sorted(fits, key=lambda pair: -pair[0]) if fit > 0]
    if not ranked:
        people = "; ".join(
            f"frames {t.sightings[0].frame}-{t.sightings[-1].frame} around "
            f"{[round(v) for v in t.sightings[0].box.tolist()]}"
            for t in sorted(tracks, key=lambda track: -track.weight)[:6]
        )
        raise Rejected(f"no person found at subject {wanted}; people seen: {people}")
    return ranked[0]


def _fit(track: Track, place: np.ndarray, time: float | None, fps: float) -> float:
    """How well a track fits a point or a box, 0 (not at all) to 1, at a time or at the best one."""
    sightings = track.sightings
    if time is not None:
        sightings = [min(sightings, key=lambda s: abs(s.frame / fps - time))]
    return max(_fit_box(sighting.box, place) for sighting in sightings)


def _fit_box(box: np.ndarray, place: np.ndarray) -> float:
    if place.size == 4:
        common = float(
            np.clip(np.minimum(box[2:], place[2:]) - np.maximum(box[:2], place[:2]), 0, None).prod()
        )
        return common / float((box[2:] - box[:2]).prod() + (place[2:] - place[:2]).prod() - common)
    if not ((box[:2] <= place) & (place < box[2:])).all():
        return 0.0
    offset = np.abs(place - (box[:2] + box[2:]) / 2) / (box[2:] - box[:2])
    return float(1 - offset.max())


def _with_returns(chosen: Track, tracks: list[Track]) -> list[Sighting]:
    """Add tracks of the same person from before or after: free in time, alike in colours and size."""
    sightings = list(chosen.sightings)
    colours = np.mean([s.colours for s in chosen.sightings], axis=0)
    height = float(np.median([s.height for s in chosen.sightings]))
    for track in sorted(tracks, key=lambda track: -track.weight):
        first, last = track.sightings[0].frame, track.sightings[-1].frame
        free = all(s.frame < first or s.frame > last for s in sightings)
        alike = similarity(colours, np.mean([s.colours for s in track.sightings], axis=0))
        size = float(np.median([s.height for s in track.sightings])) / height
        if free and alike > 0.65 and 0.5 < size < 2:
            sightings += track.sightings
    return sorted(sightings, key=lambda s: s.frame)
