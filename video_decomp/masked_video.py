"""Opening what segmentation left: a template's video and the mask of its person."""

from __future__ import annotations

from pathlib import Path

from mimo.stage import Rejected
from mimo.video import VideoError, VideoReader


def open_masked_video(template: Path) -> tuple[VideoReader, VideoReader]:
    """The template's ``vid.mp4`` (RGB) and ``mask.mp4`` (grey).

    Raises:
        Rejected: one is missing or damaged, or they differ in length or size.
    """
    try:
        frames, masks = VideoReader(template / "vid.mp4"), VideoReader(template / "mask.mp4", gray=True)
    except VideoError as error:
        raise Rejected(f"{error}; run the stages before this one") from error
    ours = (frames.info.width, frames.info.height, frames.info.frames)
    theirs = (masks.info.width, masks.info.height, masks.info.frames)
    if ours != theirs:
        raise Rejected(
            f"{template}: vid.mp4 and mask.mp4 differ in length or size "
            f"({ours[0]}x{ours[1]}, {ours[2]} frames, and {theirs[0]}x{theirs[1]}, {theirs[2]} frames); "
            "run segmentation again"
        )
    return frames, masks
