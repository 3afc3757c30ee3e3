"""Other people near the subject: told apart from them, and painted over before anybody looks for the subject.

Networks for one person take the wrong one, or both, where two people meet. So those who come near the subject
are followed, too, and what is seen of them is covered with the colours around: one person is left to see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee

import cv2
import numpy as np

from video_decomp.blazepose import LandmarkNetwork
from video_decomp.segmentation.landmark_sightings import LandmarkSighting
from video_decomp.segmentation.subject import Track, colour_shares, overlap, similarity
from video_decomp.segmentation.tracking import Tracked, follow

Sightings = dict[int, LandmarkSighting]
"""One person's, by frame."""

MOST = 2
"""People beside the subject who are followed, at most."""
_NEAR = 0.3  # distance at which people come near each other, in sizes of their boxes
_SMALLEST = 0.1  # size of somebody who counts, as a share of the subject's
_SAME_PLACE = 0.3  # overlap of the boxes of one person in two key frames, at least, where colours decide
_RARE = 1e-3  # share of a person's pixels that any colour has at least
_SMOOTH = 3.0  # pixels that decide together whose one is (standard deviation)
_COVER = 0.25  # reach of the colours that cover somebody, as a share of their smaller side
_EDGE = 2  # pixels around somebody that are covered, too


def rivals(subject: Sightings, tracks: Sequence[Track[LandmarkSighting]]) -> list[Sightings]:
    """People who come near the subject, the weightiest first, `MOST` at most.

    Args:
        subject: sightings of the subject.
        tracks: of everybody.
    """
    ours = {id(sighting) for sighting in subject.values()}
    size = float(np.median([sighting.area for sighting in subject.values()]))
    others = [
        track
        for track in sorted(tracks, key=lambda track: -track.weight)
        if not any(id(sighting) in ours for sighting in track.sightings)
        and max(sighting.area for sighting in track.sightings) > _SMALLEST * size
    ]
    met = [track for track in others if any(_meet(a, b) for a in subject.values() for b in track.sightings)]
    return [{sighting.frame: sighting for sighting in track.sightings} for track in met[:MOST]]


def _meet(a: LandmarkSighting, b: LandmarkSighting) -> bool:
    """Whether two people are near each other, as far as they are seen at the same time."""
    if a.frame != b.frame:
        return False
    more = _NEAR * np.maximum(a.box[2:] - a.box[:2], b.box[2:] - b.box[:2])
    return bool(overlap(a.box + np.concatenate([-more, more]), b.box) > 0)


def told_apart(people: Sequence[Sightings]) -> list[Sightings]:
    """Sightings given to whom they look like, where two people were taken for one.

    Where one person hides another, only one is found, and may be linked to either. A sighting passes to
    somebody who was seen there before, was not found at that time, and whose colours it has.

    Args:
        people: each person's sightings.
    """
    colours = [own_colours(one, [other for other in people if other is not one]) for one in people]
    result = [dict(one) for one in people]
    for number, one in enumerate(people):
        for frame, sighting in sorted(one.items()):
            if len(result[number]) == 1:
                break
            like = [similarity(sighting.colours, own) for own in colours]
            free = [
                other
                for other in range(len(people))
                if frame not in result[other]
                and like[other] > like[number]
                and _seen_there_before(result[other], sighting)
            ]
            if free:
                best = max(free, key=lambda other: like[other])
                result[best][frame] = result[number].pop(frame)
    return result


def _seen_there_before(one: Sightings, sighting: LandmarkSighting) -> bool:
    before = [frame for frame in one if frame < sighting.frame]
    return bool(before) and overlap(one[max(before)].box, sighting.box) > _SAME_PLACE


def own_colours(one: Sightings, others: Sequence[Sightings]) -> np.ndarray:
    """A person's colours (see `colour_histogram`), if possible from where nobody else is near."""
    alone = [
        sighting
        for frame, sighting in one.items()
        if not any(frame in other and overlap(other[frame].box, sighting.box) > 0 for other in others)
    ]
    return np.mean([sighting.colours for sighting in alone or one.values()], axis=0)


@dataclass(frozen=True)
class Uncovered:
    """One frame.

    Attributes:
        image: uint8 (h, w, 3).
        alone: the same with the others covered; the same array where there are none.
        others: (h, w) bool, what was seen of them; None where there are none.
    """

    image: np.ndarray
    alone: np.ndarray
    others: np.ndarray | None


def uncovered(
    frames: Iterable[np.ndarray],
    subject: Sightings,
    others: Sequence[Sightings],
    spacing: int,
    network: LandmarkNetwork,
    first_frame: int,
) -> Iterator[Uncovered]:
    """Frames in which the subject is the only person near.

    Everybody is followed twice: as filmed, and then, by what is surely somebody's, without all the others.

    Args:
        frames, spacing, network, first_frame: as for `tracking.follow`; twice `spacing` frames are held.
        subject: their sightings.
        others: those of people near them.
    """
    if not others:
        yield from (Uncovered(image, image, None) for image in frames)
        return
    group = _Group([subject, *others], spacing, network, first_frame)
    filmed, *copies = tee(group.as_filmed(frames), 1 + len(others))
    alone = [group.without_the_rest(copy, number) for number, copy in enumerate(copies, 1)]
    for one, *masks in zip(filmed, *alone, strict=True):
        covered = np.any(masks, axis=0)
        yield Uncovered(one.image, cover(one.image, covered), covered)


@dataclass(frozen=True)
class _Seen:
    """A frame, and what is surely seen of each person in it, (people, h, w) bool."""

    image: np.ndarray
    people: np.ndarray


class _Group:
    """People who come near each other.

    Args:
        people: their sightings.
        spacing, network, first_frame: as for `tracking.follow`.
    """

    def __init__(
        self, people: Sequence[Sightings], spacing: int, network: LandmarkNetwork, first_frame: int
    ) -> None:
        self._people = people
        self._following = (spacing, network, first_frame)
        self._colours = [own_colours(one, [two for two in people if two is not one]) for one in people]

    def as_filmed(self, frames: Iterable[np.ndarray]) -> Iterator[_Seen]:
        """Everybody, each followed as if nobody else were there."""
        images, *copies = tee(frames, 1 + len(self._people))
        followed = [
            follow(copy, one, *self._following) for copy, one in zip(copies, self._people, strict=True)
        ]
        for image, *seen in zip(images, *followed, strict=True):
            yield _Seen(image, np.stack([self._surely(image, one, n) for n, one in enumerate(seen)]))

    def without_the_rest(self, frames: Iterable[_Seen], number: int) -> Iterator[np.ndarray]:
        """One person, followed in frames in which the others are covered: (h, w) bool a frame."""
        frames, copy = tee(frames)
        rest = [other for other in range(len(self._people)) if other != number]
        shown = (cover(one.image, np.any(one.people[rest], axis=0)) for one in copy)
        followed = follow(shown, self._people[number], *self._following)
        for one, tracked in zip(frames, followed, strict=True):
            yield self._surely(one.image, tracked, number)

    def _surely(self, image: np.ndarray, tracked: Tracked, number: int) -> np.ndarray:
        """What of a person's mask has rather their colours than anybody else's, (h, w) bool."""
        if tracked.landmarks is None:
            return np.zeros(image.shape[:2], bool)
        mask = tracked.landmarks.mask_in_image(*image.shape[:2]) > 0.5
        for other, colours in enumerate(self._colours):
            if other != number:
                mask = mask & likelier(image, mask, self._colours[number], colours)
        return mask


def likelier(image: np.ndarray, mask: np.ndarray, colours: np.ndarray, than: np.ndarray) -> np.ndarray:
    """Where pixels have rather one person's colours than another's; (h, w) bool, near the mask only."""
    result = np.zeros(mask.shape, bool)
    box = _box(mask, round(3 * _SMOOTH))
    if box is not None:
        ratios = [np.log(colour_shares(image[box], one) + _RARE) for one in (colours, than)]
        result[box] = cv2.GaussianBlur(ratios[0] - ratios[1], (0, 0), _SMOOTH) > 0
    return result


def cover(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy of an image in which a mask is filled with the colours around it, uint8 (h, w, 3)."""
    result = image.copy()
    *_, width, height = cv2.boundingRect(mask.astype(np.uint8))
    sigma = _COVER * (min(width, height) + 2 * _EDGE)
    box = _box(mask, round(3 * sigma))
    if box is None:
        return result
    size = 2 * _EDGE + 1
    hole = cv2.dilate(mask[box].astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    known = (~hole).astype(np.float32)
    sums = cv2.GaussianBlur(image[box] * known[..., None], (0, 0), sigma)
    shares = cv2.GaussianBlur(known, (0, 0), sigma)[..., None]
    result[box][hole] = (sums / np.maximum(shares, 1e-6))[hole].astype(np.uint8)
    return result


def start_of_all(people: Sequence[Mapping[int, LandmarkSighting]], frame: int, earliest: int) -> int:
    """Where to begin so that at a frame everybody is followed as if from the video's start.

    Args:
        people: sightings of everybody who is followed.
        frame: the first one that counts.
        earliest: the last resort.
    """
    for start in sorted({at for one in people for at in one if at <= frame}, reverse=True):
        if all(start in one or min(one) > start for one in people):
            return max(start, earliest)
    return earliest


def _box(mask: np.ndarray, pad: int) -> tuple[slice, slice] | None:
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    if not width:
        return None
    return (
        slice(max(0, top - pad), top + height + pad),
        slice(max(0, left - pad), left + width + pad),
    )
