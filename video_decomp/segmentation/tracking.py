"""Follow the subject through every frame, from the key frames where they were found.

Between two key frames the region of the landmark network is carried from frame to frame, forward from the
first and, where that loses the subject, backward from the second. Only one such span of frames is in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from video_decomp.blazepose import LandmarkNetwork, PoseLandmarks
from video_decomp.body_region import Roi
from video_decomp.segmentation.landmark_sightings import MIN_SCORE, LandmarkSighting, person_colours
from video_decomp.segmentation.subject import similarity

_SAME_COLOURS = 0.5  # least similarity of colours to the subject's
_SAME_PLACE = 0.35  # most distance of two looks at the subject in one frame, in sides of the region
_STILL = 0.05  # a region that moves less (in sides, plus radians) is not looked at again
_GROWTH = 1.35  # most change of size between two frames


@dataclass(frozen=True)
class Tracked:
    """One frame, and the subject in it if found."""

    image: np.ndarray
    landmarks: PoseLandmarks | None


def follow(
    frames: Iterable[np.ndarray],
    subject: dict[int, LandmarkSighting],
    spacing: int,
    network: LandmarkNetwork,
    first_frame: int = 0,
) -> Iterator[Tracked]:
    """Find the subject in every frame.

    Args:
        frames: uint8 (height, width, 3) RGB, in order without gaps.
        subject: the sightings in key frames, by frame index.
        spacing: most frames held at a time.
        network: gives landmarks and mask.
        first_frame: index of the first frame.
    """
    colours = np.mean([sighting.colours for sighting in subject.values()], axis=0)
    tracker = _Tracker(network, colours)
    carried: Roi | None = None
    span: list[np.ndarray] = []
    start = first_frame
    for index, image in enumerate(frames, first_frame):
        if span and (index in subject or len(span) >= spacing):
            first, last = subject.get(start), subject.get(index)
            found = tracker.follow_span(span, first.roi if first else carried, last, image)
            yield from map(Tracked, span, found)
            carried = found[-1].next_roi if found[-1] else None
            span, start = [], index
        span.append(image)
    first = subject.get(start)
    yield from map(Tracked, span, tracker.follow_span(span, first.roi if first else carried, None, None))


class _Tracker:
    def __init__(self, network: LandmarkNetwork, colours: np.ndarray) -> None:
        self._network = network
        self._colours = colours

    def follow_span(
        self,
        span: list[np.ndarray],
        start: Roi | None,
        after: LandmarkSighting | None,
        image_after: np.ndarray | None,
    ) -> list[PoseLandmarks | None]:
        """The subject in each frame of a span.

        Args:
            span: the frames.
            start: where the subject is in the first one, if known.
            after: the sighting in the frame after the last one, if there is one.
            image_after: that frame.
        """
        forward = self._carry(span, start)
        if after is None or image_after is None or self._arrives(forward, after, image_after):
            return forward
        backward = self._carry(span[::-1], after.roi)[::-1]
        return [self._better(image, a, b) for image, a, b in zip(span, forward, backward, strict=True)]

    def _carry(self, images: list[np.ndarray], roi: Roi | None) -> list[PoseLandmarks | None]:
        """Look at each frame where the one before proposes, until the subject is lost."""
        found: list[PoseLandmarks | None] = []
        for image in images:
            landmarks = self._look(image, roi) if roi else None
            found.append(landmarks)
            roi = landmarks.next_roi if landmarks else None
        return found

    def _look(self, image: np.ndarray, roi: Roi) -> PoseLandmarks | None:
        landmarks = self._network.run(image, roi)
        proposed = landmarks.next_roi
        moved = np.hypot(proposed.x - roi.x, proposed.y - roi.y) / roi.side + abs(proposed.angle - roi.angle)
        if moved > _STILL:
            again = self._network.run(image, proposed)
            # One look at somebody half hidden may fail where the other finds them.
            landmarks = again if again.score >= MIN_SCORE else landmarks
        change = landmarks.next_roi.side / roi.side
        if landmarks.score < MIN_SCORE or not 1 / _GROWTH < change < _GROWTH:
            return None
        return landmarks if self._likeness(image, landmarks) >= _SAME_COLOURS else None

    def _likeness(self, image: np.ndarray, landmarks: PoseLandmarks) -> float:
        return similarity(self._colours, person_colours(image, landmarks))

    def _arrives(
        self, forward: list[PoseLandmarks | None], after: LandmarkSighting, image: np.ndarray
    ) -> bool:
        """Whether the forward track has not been lost and ends at the next sighting."""
        last = forward[-1]
        if any(landmarks is None for landmarks in forward) or last is None:
            return False
        landmarks = self._look(image, last.next_roi)
        if landmarks is None:
            return False
        roi = landmarks.next_roi
        return bool(np.hypot(roi.x - after.roi.x, roi.y - after.roi.y) < _SAME_PLACE * after.roi.side)

    def _better(
        self, image: np.ndarray, a: PoseLandmarks | None, b: PoseLandmarks | None
    ) -> PoseLandmarks | None:
        if a is None or b is None:
            return a or b
        return a if self._likeness(image, a) * a.score >= self._likeness(image, b) * b.score else b
