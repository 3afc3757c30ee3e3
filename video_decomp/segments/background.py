"""Join the backgrounds of segments: ``bk.mp4`` of the whole video, each segment fading into the next."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from mimo.stage import Rejected
from mimo.video import VideoReader
from video_decomp.inpainting.interface import mask_distance
from video_decomp.inpainting.quality import measure
from video_decomp.masked_video import open_masked_video
from video_decomp.segments.joining import join_command
from video_decomp.segments.records import read_records, write_joined
from video_decomp.segments.splice import Makes, Segments, splice


def main(argv: list[str] | None = None) -> int:
    """Read ``bk.mp4`` of every segment; write ``bk.mp4`` and ``records/inpainting.json``."""
    return join_command("video_decomp.segments.background", __doc__, "inpainting", join, argv)


def join(segments: Segments) -> None:
    """Join the backgrounds.

    Raises:
        Rejected: a segment's record is missing, or they are of different settings.
    """
    records = read_records(segments, "inpainting")
    reaches = {record["metrics"]["changed_within_pixels"] for record in records}
    if len(reaches) > 1:
        raise Rejected(
            f"{segments.template}: its segments were painted with different settings; run it again"
        )
    changed = float(reaches.pop())
    copied = splice(segments, "bk.mp4", "colour", _faded(segments, changed), segments.in_seams())
    write_joined(segments, records, "inpainting", measure(segments.template, changed), copied)


def _faded(segments: Segments, changed: float) -> Makes:
    """Frames of the backgrounds, faded; what no segment may have changed is the video's own picture."""
    frames, masks = open_masked_video(segments.template)
    readers: list[VideoReader | None] = [VideoReader(folder / "bk.mp4") for folder in segments.folders]

    def make(start: int, stop: int) -> Iterator[np.ndarray]:
        triples = zip(
            frames.frames(start, stop),
            masks.frames(start, stop),
            segments.blended(readers, start, stop),
            strict=True,
        )
        for frame, mask, filled in triples:
            near = mask_distance(mask) <= changed + 1
            yield np.where(near[..., None], np.round(filled).astype(np.uint8), frame)

    return make


if __name__ == "__main__":
    sys.exit(main())
