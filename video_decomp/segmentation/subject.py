"""Who is in the clip, and which of them is the subject.

People are looked for in key frames only; sightings are linked to tracks of one person each, by place, size
and colours, and the subject is one of the tracks (or several, when the person leaves and comes back).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import cv2
import numpy as np

from mimo.stage import Rejected
from video_decomp.segmentation.interface import SubjectSettings

_COLOUR_MATCH = 0.45  # least similarity of colours of one person in two frames
_JUMP = 0.6  # largest step of one person between key frames, in their own heights a second (plus a quarter)
_FORGET = 1.0  # seconds after which place says nothing any more


@dataclass(frozen=True)
class Sighting:
    """One person in one frame; backends add what they need to follow the person.

    Attributes:
        frame: index.
        score: how sure the backend's network is, 0..1.
        box: left, top, right, bottom of the visible person, pixels.
        area: share of the frame that the box covers, 0..1.
        in_full: head, hips and feet are in view.
        colours: histogram of the person's pixels (see `colour_histogram`).
    """

    frame: int
    score: float
    box: np.ndarray
    area: float
    in_full: bool
    colours: np.ndarray

    @property
    def height(self) -> float:
        """Longest side of the box, pixels (people lie down, too)."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    @property
    def centre(self) -> np.ndarray:
        """Middle of the box, pixels."""
        return (self.box[:2] + self.box[2:]) / 2


Seen = TypeVar("Seen", bound=Sighting)


@dataclass
class Track(Generic[Seen]):
    """Sightings of one person, in order of time."""

    sightings: list[Seen] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """Size and presence over the clip; being seen in full counts four times."""
        return sum(s.area * s.score * (1.0 if s.in_full else 0.25) for s in self.sightings)


def key_frame_spacing(fps: float) -> int:
    """Frames between key frames: a third of a second."""
    return max(1, round(fps / 3))


def colour_histogram(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Colours of a person's upper and lower half: (2 * 4 * 8 * 8,) float32, each half sums to one.

    In CIE Lab, lightness in 4 steps, so that a change of light matters less than one of colour.

    Args:
        image: uint8 (height, width, 3) RGB.
        inside: uint8 (height, width), 1 where the person is.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    rows = np.flatnonzero(inside.any(axis=1))
    middle = int(rows.mean()) if rows.size else len(inside) // 2
    halves = []
    for part in (slice(None, middle), slice(middle, None)):
        counts = cv2.calcHist(
            [lab[part]], [0, 1, 2], inside[part], [4, 8, 8], [0, 256, 96, 160, 96, 160]
        ).ravel()
        halves.append(counts / max(float(counts.sum()), 1.0))
    return np.concatenate(halves).astype(np.float32)


def colour_shares(image: np.ndarray, histogram: np.ndarray) -> np.ndarray:
    """How common each pixel's colour is on a person: (height, width) float32, shares of their pixels.

    Args:
        image: uint8 (height, width, 3) RGB.
        histogram: of the person, as `colour_histogram` gives it; the halves count alike.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.int64)
    lightness, *tints = (lab[..., channel] for channel in range(3))
    bins = [lightness * 4 // 256, *(np.clip((tint - 96) * 8 // 64, 0, 7) for tint in tints)]
    return np.asarray(histogram.reshape(2, 4, 8, 8).mean(axis=0)[tuple(bins)], np.float32)


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Bhattacharyya coefficient of two colour histograms, 0..1."""
    return float(np.sqrt(a * b).sum() / 2)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Shared part of the smaller of two boxes, 0..1."""
    size = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    return float(size.prod() / max(min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()), 1.0))


def link(key_frames: Iterable[list[Seen]], fps: float) -> list[Track[Seen]]:
    """Link the people of each key frame to tracks, the best matches first."""
    tracks: list[Track[Seen]] = []
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


def choose(tracks: list[Track[Seen]], settings: SubjectSettings, fps: float) -> dict[int, Seen]:
    """The subject's sightings by key frame.

    Raises:
        Rejected: there is no person, none where the settings say, too small a person, or none in full.
    """
    if not tracks:
        raise Rejected("no person found in any frame; use footage that shows one person from head to feet")
    track = _choose_track(tracks, settings, fps)
    largest = max(sighting.area for sighting in track.sightings)
    if largest < settings.min_area:
        raise too_small(largest, settings.min_area)
    if settings.full_body and not any(sighting.in_full for sighting in track.sightings):
        raise Rejected(
            "no full body: the person is never seen from head to feet; use other footage, choose another "
            "subject, or set segmentation: full_body to false"
        )
    return {sighting.frame: sighting for sighting in _with_returns(track, tracks)}


def too_small(area: float, min_area: float) -> Rejected:
    """The refusal of a person who covers at most `area` of the frame."""
    return Rejected(
        f"person too small: at most {area:.2%} of the frame, min_area is {min_area:.2%}; "
        "crop the video around the person, or lower segmentation: min_area"
    )


def _choose_track(tracks: list[Track[Seen]], settings: SubjectSettings, fps: float) -> Track[Seen]:
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


def _fit(track: Track[Seen], place: np.ndarray, time: float | None, fps: float) -> float:
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


def _with_returns(chosen: Track[Seen], tracks: list[Track[Seen]]) -> list[Seen]:
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
