"""Join what passes in front in segments: ``occ.mp4`` of the whole video, faded over the seams."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from mimo.files import remove, sha256
from mimo.video import VideoReader
from video_decomp.segments.joining import join_command
from video_decomp.segments.records import joined_jumps, read_records, write_joined
from video_decomp.segments.splice import Segments, splice


def main(argv: list[str] | None = None) -> int:
    """Read ``occ.mp4`` of the segments that have one; write ``occ.mp4``, if any, and the record."""
    return join_command("video_decomp.segments.occluders", __doc__, "occlusion", join, argv)


def join(segments: Segments) -> None:
    """Join the layers in front.

    Raises:
        mimo.stage.Rejected: a segment's record is missing.
    """
    records = read_records(segments, "occlusion")
    output = segments.template / "occ.mp4"
    usable = [record["occ_sha256"] is not None for record in records]
    readers = [
        VideoReader(folder / "occ.mp4", gray=True) if there else None
        for folder, there in zip(segments.folders, usable, strict=True)
    ]

    def faded(start: int, stop: int) -> Iterator[np.ndarray]:
        for mask in segments.blended(readers, start, stop):
            yield np.round(mask).astype(np.uint8)

    copied = 0.0
    if any(usable):
        copied = splice(segments, "occ.mp4", "mask", faded, segments.in_seams(), usable)
    else:
        remove(output)
    metrics = [record["metrics"] for record in records]
    write_joined(
        segments,
        records,
        "occlusion",
        joined_jumps(segments, metrics, "layer_jumps", "layer_jump_frames"),
        copied,
        occluders=joined_occluders(segments, [record["occluders"] for record in records]),
        occ_sha256=sha256(output) if any(usable) else None,
    )


def joined_occluders(segments: Segments, found: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Occluders of the whole video; what hides the person on both sides of a seam is one thing.

    Args:
        segments: of the video.
        found: occluders of each segment (`video_decomp.occlusion.interface.Occluder`), frames counted there.
    """
    joined: list[dict[str, Any]] = []
    for index, (things, place) in enumerate(zip(found, segments.places, strict=True)):
        for thing in things:
            first, last = thing["first_frame"] + place.first, thing["last_frame"] + place.first
            thing = thing | {"first_frame": first, "last_frame": last}
            before = next((one for one in joined if _goes_on(one, thing, segments, index)), None)
            if before is None:
                joined.append(thing)
                continue
            before["last_frame"] = max(before["last_frame"], last)
            for key in ("hidden_share", "confidence"):
                before[key] = max(before[key], thing[key])
    return joined


def _goes_on(before: dict[str, Any], thing: dict[str, Any], segments: Segments, index: int) -> bool:
    """Whether a thing of segment `index` was already in front at the end of the segment before."""
    if not index or before["kind"] != thing["kind"]:
        return False
    seam = segments.division.seam(index - 1)
    return bool(before["last_frame"] >= seam.start and thing["first_frame"] < seam.stop)


if __name__ == "__main__":
    sys.exit(main())
