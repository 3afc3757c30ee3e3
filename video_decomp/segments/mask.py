"""Join the masks of segments: ``mask.mp4`` of the whole video, each frame from the segment it belongs to."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from mimo.video import VideoReader
from video_decomp.segmentation.measures import not_found
from video_decomp.segments.joining import join_command
from video_decomp.segments.records import joined_jumps, read_records, write_joined
from video_decomp.segments.splice import Makes, Segments, splice


def main(argv: list[str] | None = None) -> int:
    """Read ``mask.mp4`` of every segment; write ``mask.mp4`` and ``records/segmentation.json``."""
    return join_command("video_decomp.segments.mask", __doc__, "segmentation", join, argv)


def join(segments: Segments) -> None:
    """Join the masks.

    Raises:
        mimo.stage.Rejected: a segment's record is missing.
    """
    total = segments.division.frames
    copied = splice(segments, "mask.mp4", "mask", _owned(segments), np.zeros(total, bool))
    records = read_records(segments, "segmentation")
    missing = [
        place.first + frame
        for index, (record, place) in enumerate(zip(records, segments.places, strict=True))
        for frame in record["missing_frames"]
        if place.first + frame in segments.division.own(index)
    ]
    found = sorted(set(range(total)) - set(missing))
    for record, place in zip(records, segments.places, strict=True):
        own = not_found(record["missing_frames"], place.stop - place.first)
        record["warnings"] = [sentence for sentence in record["warnings"] if sentence not in own]
    metrics = [record["metrics"] for record in records]
    write_joined(
        segments,
        records,
        "segmentation",
        {"frames": total, "frames_found": len(found)}
        | joined_jumps(segments, metrics, "area_jumps", "area_jump_frames"),
        copied,
        not_found(missing, total),
        first_frame=found[0] if found else None,
        last_frame=found[-1] if found else None,
        missing_frames=missing,
        corrections=[
            entry | {key: place.first + entry[key] for key in ("frame", "first_frame", "last_frame")}
            for index, (record, place) in enumerate(zip(records, segments.places, strict=True))
            for entry in record["corrections"]
            if place.first + entry["frame"] in segments.division.own(index)
        ],
    )


def _owned(segments: Segments) -> Makes:
    """Frames of the masks, none of them blended: half of two masks is no mask."""
    readers = [VideoReader(folder / "mask.mp4", gray=True) for folder in segments.folders]

    def make(start: int, stop: int) -> Iterator[np.ndarray]:
        for index, (reader, place) in enumerate(zip(readers, segments.places, strict=True)):
            own = segments.division.own(index)
            first, last = max(start, own.start), min(stop, own.stop)
            if first < last:
                yield from reader.frames(first - place.first, last - place.first)

    return make


if __name__ == "__main__":
    sys.exit(main())
