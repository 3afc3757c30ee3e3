"""Parts of a video that is divided into clips: which frames, clips and places in their sequence go together.

The frames of all clips, one clip after the other, are a sequence; its places are counted from 0. Frames that
two clips share have two places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from mimo.composition.regions import Clip, in_clips
from mimo.template import Template


def settled(clips: Sequence[Clip], frames: range) -> range:
    """Frames grown until they hold every blend of two clips wholly or not at all."""
    start, stop = frames.start, frames.stop
    blends = [(later.first, earlier.last + 1) for earlier, later in pairwise(clips)]
    for first, end in reversed(blends):
        if first < start < end:
            start = first
    for first, end in blends:
        if first < stop < end:
            stop = end
    return range(start, stop)


def clips_within(clips: Sequence[Clip], frames: range) -> list[Clip]:
    """What of each clip lies within some frames, which are counted from 0 then."""
    cut = []
    for clip in clips:
        first, last = max(clip.first, frames.start), min(clip.last, frames.stop - 1)
        if first <= last:
            cut.append(Clip(first - frames.start, last - frames.start, clip.box))
    return cut


def places(clips: Sequence[Clip], frames: range) -> range:
    """Places in the sequence of some `settled` frames."""
    of_frame = [i for clip in clips for i in clip.frames]
    found = [place for place, i in enumerate(of_frame) if i in frames]
    return range(found[0], found[-1] + 1)


def in_places(
    template: Template, name: str, clips: Sequence[Clip], wanted: Sequence[int]
) -> Iterator[tuple[Clip, np.ndarray]]:
    """A video's frames at some places of the sequence, each with its clip; only what is near is decoded.

    Args:
        template: with the video.
        name: of the video, see `Template.frames`.
        clips: of the whole template.
        wanted: places, ascending.
    """
    of_frame = np.array([i for clip in clips for i in clip.frames])
    for run in np.split(np.asarray(wanted), np.flatnonzero(np.diff(wanted) != 1) + 1):
        shown = of_frame[run[0] : run[-1] + 1]
        frames = settled(clips, range(int(shown.min()), int(shown.max()) + 1))
        pictures = in_clips(template.frames(name, frames), clips_within(clips, frames))
        for place, picture in zip(places(clips, frames), pictures, strict=True):
            if run[0] <= place <= run[-1]:
                yield picture
