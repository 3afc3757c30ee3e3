"""Inpainting backend ``propainter``: ProPainter (Zhou et al., ICCV 2023) from its three published files.

The networks are in `video_decomp.propainter`. They see the person's path only, in sub-videos that overlap as
in the released inference; finished sub-videos are kept beside the result until it is written, so that a
killed run goes on. The weights' licence (S-Lab License 1.0) allows no commercial use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from mimo.files import sha256
from mimo.stage import Rejected, StageSettings, progress
from mimo.video import VideoReader
from mimo.weights import path, registry
from video_decomp.inpainting.interface import Outcome, blend, in_pixels, soft_mask
from video_decomp.propainter.checkpoints import FILES, load_networks
from video_decomp.propainter.clip import Crop, MaskedClip, hole, path_crop
from video_decomp.propainter.memory import check_memory, estimate
from video_decomp.propainter.pipeline import Inpainter
from video_decomp.propainter.spool import FinishedBlocks
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
    filled = 0
    fills = _Fills(MaskedClip(frames, masks, crop), settings, frames, masks)
    sequence = zip(frames, masks, fills, strict=True)
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


class _Fills:
    """What fills every frame's hole, (n, 3) uint8 in the order of the hole's pixels; computed or resumed.

    Attributes:
        resumed: sub-videos that an earlier run had finished.
        device: what computes.
    """

    def __init__(self, clip: MaskedClip, settings: Settings, frames: VideoReader, masks: VideoReader) -> None:
        self._clip, self._settings = clip, settings
        self._length = len(frames)
        self._windows = Windows(
            clip.count, settings.sub_video, settings.neighbours // 2, settings.reference_stride
        )
        self._reach = changed_within(settings, frames)
        self._flow_reach = self._reach + in_pixels(settings.flow_margin, frames)
        folder = path(WEIGHTS, settings.weights)
        self.device, self._dtype = _placed(settings)
        needed = estimate(clip.height, clip.width, self._windows, self._dtype)
        check_memory(self.device, needed, clip.height, clip.width)
        files = {name: folder / name for name in FILES}
        self._networks = load_networks(files, self.device, self._dtype, settings.iterations)
        # Where the weights lie and what computes them does not matter to what has been computed.
        chosen = settings.model_dump(mode="json", exclude={"weights", "device", "resume"})
        job = chosen | {"precision": str(self._dtype), "crop": asdict(clip.crop)}
        job |= {file.name: sha256(file) for file in (frames.path, masks.path, *files.values())}
        self._finished = FinishedBlocks(frames.path.parent / ".bk-propainter", job, settings.resume)
        self.resumed = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        pictures: Iterator[np.ndarray | None] | None = None
        for number in range(self._windows.blocks):
            block = self._windows.block(number)
            values = self._finished.get(number)
            if values is not None:
                self.resumed += 1
                pictures = None
            else:
                pictures = pictures or self._start(block.start)
                holes = self._clip.holes(block.start, block.stop, self._reach)
                # The holes come first, so that no picture too many is taken.
                values = [_values(hole, picture) for hole, picture in zip(holes, pictures, strict=False)]
                self._finished.put(number, values)
            yield from values[: self._length - block.start]

    def discard(self) -> None:
        """Remove what was kept for resuming, once the result has been written."""
        self._finished.discard()

    def _start(self, first: int) -> Iterator[np.ndarray | None]:
        scratch = self._finished.folder
        inpainter = Inpainter(
            self._clip, self._networks, self._windows, self._reach, self._flow_reach, scratch, first
        )
        return inpainter.pictures()


def _values(hole: np.ndarray, picture: np.ndarray | None) -> np.ndarray:
    if picture is None:
        return np.zeros((0, 3), np.uint8)
    return picture[hole].round().clip(0, 255).astype(np.uint8)


def _placed(settings: Settings) -> tuple[torch.device, torch.dtype]:
    """Device and type of the networks.

    Raises:
        Rejected: the device is not there.
    """
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise Rejected(f"device {name}: {str(error).splitlines()[0]}; set device to auto or cpu") from None
    half = settings.precision == "float16" or (settings.precision == "auto" and device.type == "cuda")
    return device, torch.float16 if half else torch.float32
