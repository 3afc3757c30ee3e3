"""Cut one segment out of a long video: its own ``vid.mp4``, copied without encoding anything again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimo.segments import Division, part_name
from mimo.stage import Rejected, run
from mimo.video import VideoError, VideoReader
from video_decomp.segments.packets import copy_frames
from video_decomp.segments.part import PLACE, Place


def main(argv: list[str] | None = None) -> int:
    """Read the template's ``vid.mp4``; write ``vid.mp4`` and ``segment.json`` of one segment."""
    parser = argparse.ArgumentParser(prog="python -m video_decomp.segments.cut", description=__doc__)
    parser.add_argument("--template", type=Path, required=True, metavar="DIR", help="of the whole video")
    parser.add_argument("--part", type=int, required=True, help="number of the segment, from 0")
    parser.add_argument("--parts", type=int, required=True, help="how many segments there are")
    parser.add_argument("--overlap", type=float, required=True, help="seconds that neighbours share")
    args = parser.parse_args(argv)
    return run(
        lambda: cut(args.template, args.part, args.parts, args.overlap),
        makes=args.template.parent / part_name(args.template.name, args.part) / PLACE,
    )


def cut(template: Path, index: int, parts: int, overlap: float) -> None:
    """Cut one segment.

    Raises:
        Rejected: there is no whole video, or it is too short for so many segments.
    """
    source = template / "vid.mp4"
    try:
        info = VideoReader(source).info
    except VideoError as error:
        raise Rejected(f"{error}; run ingest first") from None
    division = Division(info.frames, parts, max(2, round(overlap * float(info.fps))))
    if info.frames // parts <= division.overlap:
        raise Rejected(
            f"{source}: {info.frames} frames cannot be divided into {parts} segments that share "
            f"{division.overlap}; set segments: length higher, or overlap lower"
        )
    shown = division.shown(index)
    segment = template.parent / part_name(template.name, index)
    first, stop = copy_frames(source, shown.start, shown.stop, segment / "vid.mp4")
    Place(index, parts, first, stop, info.frames, division.overlap).write(segment)


if __name__ == "__main__":
    sys.exit(main())
