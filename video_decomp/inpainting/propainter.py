"""Inpainting backend ``propainter``: ProPainter (Zhou et al., ICCV 2023) from its three published files.

The networks are in `video_decomp.propainter`. They see the person's path only, in sub-videos that overlap as
in the released inference; finished sub-videos are kept beside the result until it is written, so that a
killed run goes on. The weights' licence (S-Lab License 1.0) allows no commercial use. Heavy libraries are
imported when a video is worked on, so that settings can be checked without them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from mimo.stage import StageSettings, progress
from mimo.video import VideoReader
from mimo.weights import path, registry
from video_decomp.inpainting.interface import Outcome, blend, in_pixels, soft_mask
from video_decomp.propainter.clip import Crop, MaskedClip, hole, path_crop
from video_decomp.propainter.windows import Windows

WEIGHTS = "propainter"
"""The published files' folder in the weights registry."""


class Settings(StageSettings):
    """Settings of the propainter backend; lengths are pixels at a short side of 720."""

    weights: Path | None = Field(
        None,
        description="folder with raft-things.pth, recurrent_flow_completion.pth and ProPainter.pth; "
        "null: the registry's",
    )
    margin: float = Field(10, ge=1, le=100, description="pixels around the mask that are filled too")
    feather: float = Field(6, ge=1, le=60, description="pixels over which the fill fades into the frame")
    flow_margin: float = Field(
        6, ge=0, le=100, description="pixels beyond these where motion is not believed either"
    )
    context: float = Field(
        96, ge=0, le=2000, description="pixels around the person's path that the networks see"
    )
    neighbours: int = Field(
        10, ge=2, le=40, multiple_of=2, description="frames that are filled together (the released 10)"
    )
    reference_stride: int = Field(10, ge=1, le=100, description="frames between references (the released 10)")
    sub_video: int = Field(
        80, ge=10, le=100, description="frames over which motion and colours are carried (the released 80)"
    )
    iterations: int = Field(20, ge=1, le=64, description="updates of the optical flow (the released 20)")
    device: str = Field("auto", description="auto, cuda, cuda:1 or cpu")
    precision: Literal["auto", "float16", "float32"] = Field(
        "auto", description="of the networks; auto: float16 on a GPU, float32 on a CPU"
    )
    resume: bool = Field(True, description="an interrupted video goes on from its last finished sub-video")

    def weight_files(self) -> dict[str, Path | None]:
        """See `StageSettings.weight_files`."""
        return {WEIGHTS: self.weights}


def inpaint(
    frames: VideoReader, masks: VideoReader, write: Callable[[np.ndarray], None], settings: Settings
) -> Outcome:
    """Take the person out of a clip; see `interface.Backend`.

    Raises:
        Rejected: a weight file is missing or wrong, or the device has too little memory.
    """
    crop = path_crop(masks, round(changed_within(settings, frames) + in_pixels(settings.context, frames)))
    if crop is None:
        for frame in frames:
            write(frame)
        return Outcome({"crop": None}, ["the mask is empty in every frame; the background is the video"])
    from video_decomp.propainter.fills import Fills, Holes

    clip = MaskedClip(frames, masks, crop)
    windows = Windows(clip.count, settings.sub_video, settings.neighbours // 2, settings.reference_stride)
    reach = changed_within(settings, frames)
    fills = Fills(
        clip,
        windows,
        Holes(reach, reach + in_pixels(settings.flow_margin, frames)),
        path(WEIGHTS, settings.weights),
        settings.iterations,
        settings.device,
        settings.precision,
        frames.path.parent / ".bk-propainter",
        settings.resume,
    )
    filled = 0
    # A clip of one frame is filled as two.
    sequence = zip(frames, masks, fills, strict=False)
    for frame, mask, fill in progress(sequence, "background", total=len(frames)):
        filled += len(fill)
        write(_painted(frame, mask, fill, crop, settings, frames))
    fills.discard()
    metrics = {
        "crop": [crop.left, crop.top, crop.width, crop.height],
        "filled": round(filled / (len(frames) * frames.info.width * frames.info.height), 4),
        "resumed_blocks": fills.resumed,
        "device": str(fills.device),
    }
    return Outcome(metrics, weights=registry().folders[WEIGHTS])


def changed_within(settings: Settings, frames: VideoReader) -> float:
    """Pixels around the mask that may be changed."""
    return in_pixels(settings.margin, frames) + in_pixels(settings.feather, frames)


def _painted(
    frame: np.ndarray, mask: np.ndarray, fill: np.ndarray, crop: Crop, settings: Settings, frames: VideoReader
) -> np.ndarray:
    """A frame with its hole filled by values (n, 3) uint8, in the order of the hole's pixels in the crop."""
    if not len(fill):
        return frame
    part = crop.take(frame).copy()
    covered = crop.take(mask)
    part[hole(covered, changed_within(settings, frames))] = fill
    weight = soft_mask(covered, in_pixels(settings.margin, frames), in_pixels(settings.feather, frames))
    painted = frame.copy()
    inside = (slice(crop.height), slice(crop.width))
    painted[crop.box] = blend(frame[crop.box], part[inside], weight[inside])
    return painted
