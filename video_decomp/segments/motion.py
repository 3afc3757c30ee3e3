"""Join the motions of segments: ``motion.npz`` of the whole video, and its drawing."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from mimo.video import VideoReader
from video_decomp.pose.interface import Estimate
from video_decomp.pose.render import Coverage, motion_code
from video_decomp.pose.unseen import read_drawing
from video_decomp.segments.blending import Joined, joined_motion
from video_decomp.segments.joining import join_command
from video_decomp.segments.records import read_records, write_joined
from video_decomp.segments.splice import Makes, Segments, splice


def main(argv: list[str] | None = None) -> int:
    """Read ``motion.npz`` and ``sdc.mp4`` of every segment; write them, and ``records/pose.json``."""
    return join_command("video_decomp.segments.motion", __doc__, "pose", join, argv)


def join(segments: Segments) -> None:
    """Join the motions and draw what changed.

    Raises:
        mimo.stage.Rejected: no segment shows the person, or a segment's file is missing or damaged.
    """
    joined = joined_motion(segments)
    joined.motion.save(segments.template / "motion.npz")
    copied = splice(segments, "sdc.mp4", "colour", _drawn(segments, joined), joined.changed)
    metrics = {"frames": len(joined.motion), "filled_frames": int((~joined.motion.visible).sum())}
    write_joined(segments, read_records(segments, "pose"), "pose", metrics, copied)


def _drawn(segments: Segments, joined: Joined) -> Makes:
    """Frames of the drawing of the joined motion."""
    masks = VideoReader(segments.template / "mask.mp4", gray=True)
    drawings = [read_drawing(folder) for folder in segments.folders]
    colours = next((colours for colours, _ in drawings if colours is not None), None)
    hands: np.ndarray | None = None
    if any(shown is not None for _, shown in drawings):
        hands = np.zeros((len(joined.motion), 2), bool)
        for index, (_, shown) in enumerate(drawings):
            own, first = segments.division.own(index), segments.places[index].first
            if shown is not None:
                hands[own.start : own.stop] = shown[own.start - first : own.stop - first]

    def make(start: int, stop: int) -> Iterator[np.ndarray]:
        part = joined.motion.taken(slice(start, stop))
        estimate = Estimate(part, colours=colours, hands=None if hands is None else hands[start:stop])
        return motion_code(estimate, masks.frames(start, stop), Coverage())

    return make


if __name__ == "__main__":
    sys.exit(main())
