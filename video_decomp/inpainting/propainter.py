"""Inpainting backend ``propainter``: ProPainter (Zhou et al., ICCV 2023) from its three published files.

The networks are in `video_decomp.propainter`. They see the person's path only, shot by shot, in sub-videos
that overlap as in the released inference; finished sub-videos are kept beside the result until it is
written, so that a killed run goes on. The weights' licence (S-Lab License 1.0) allows no commercial use.
Heavy libraries are imported when a video is worked on, so that settings can be checked without them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from mimo.files import sha256
from mimo.stage import progress
from mimo.video import VideoReader
from mimo.weights import path, registry
from mimo.worker.keeping import KeptSettings, kept
from video_decomp.inpainting.interface import Outcome, blend, in_pixels, soft_mask
from video_decomp.propainter.clip import Crop, MaskedClip, crop_around, hole
from video_decomp.propainter.shots import scan
from video_decomp.propainter.windows import Windows

if TYPE_CHECKING:
    from video_decomp.propainter.fills import Engine, Fills

WEIGHTS = "propainter"
"""The published files' folder in the weights registry."""


class Settings(KeptSettings):
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

    def divisible(self) -> bool:
        """See `StageSettings.divisible`: what is filled depends on near frames only."""
        return True

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
    shots = scan(frames, masks)
    painter = _Painter(frames, masks, settings)
    painted = chain.from_iterable(painter.paint(number, *shot) for number, shot in enumerate(shots))
    for frame in progress(painted, "background", total=len(frames)):
        write(frame)
    painter.discard()
    outcome = Outcome(painter.metrics | {"shots": len(shots)}, weights=registry().folders[WEIGHTS])
    if all(box is None for _, box in shots):
        outcome.warnings.append("the mask is empty in every frame; the background is the video")
    return outcome


def changed_within(settings: Settings, frames: VideoReader) -> float:
    """Pixels around the mask that may be changed."""
    return in_pixels(settings.margin, frames) + in_pixels(settings.feather, frames)


class _Painter:
    """Paints the shots of a video, one after the other.

    Attributes:
        metrics: of what has been painted.
    """

    def __init__(self, frames: VideoReader, masks: VideoReader, settings: Settings) -> None:
        self._frames, self._masks, self._settings = frames, masks, settings
        self._margin, self._feather = in_pixels(settings.margin, frames), in_pixels(settings.feather, frames)
        self._folder = frames.path.parent / ".bk-propainter"
        self._engine: Engine | None = None
        self.metrics: dict[str, Any] = {"crops": [], "filled": 0.0, "resumed_blocks": 0}

    def paint(self, number: int, shot: range, box: tuple[int, int, int, int] | None) -> Iterator[np.ndarray]:
        """The frames of a shot without the person, whose masks lie in a box."""
        if box is None:
            yield from self._frames.frames(shot.start, shot.stop)
            return
        context = round(self._margin + self._feather + in_pixels(self._settings.context, self._frames))
        info = self._frames.info
        crop = crop_around(box, context, (info.width, info.height))
        self.metrics["crops"].append([crop.left, crop.top, crop.width, crop.height])
        fills = self._fills(number, MaskedClip(self._frames, self._masks, shot, crop))
        readers = (reader.frames(shot.start, shot.stop) for reader in (self._frames, self._masks))
        # A shot of one frame is filled as two.
        for frame, mask, fill in zip(*readers, fills, strict=False):
            self.metrics["filled"] += len(fill) / (len(self._frames) * info.width * info.height)
            yield self._painted(frame, mask, fill, crop)
        self.metrics["resumed_blocks"] += fills.resumed

    def discard(self) -> None:
        """Remove what was kept for resuming, once everything has been written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _fills(self, number: int, clip: MaskedClip) -> Fills:
        from video_decomp.propainter.fills import Fills, Holes

        settings = self._settings
        if self._engine is None:
            weights = path(WEIGHTS, settings.weights)
            self._engine = _engine(weights, settings.iterations, settings.device, settings.precision)
            self._inputs = {reader.path.name: sha256(reader.path) for reader in (self._frames, self._masks)}
            self.metrics["device"] = str(self._engine.device)
        reach = self._margin + self._feather
        return Fills(
            self._engine,
            clip,
            Windows(clip.count, settings.sub_video, settings.neighbours // 2, settings.reference_stride),
            Holes(reach, reach + in_pixels(settings.flow_margin, self._frames)),
            self._inputs,
            self._folder / f"shot-{number:04}",
            settings.resume,
        )

    def _painted(self, frame: np.ndarray, mask: np.ndarray, fill: np.ndarray, crop: Crop) -> np.ndarray:
        """A frame with its hole filled by values (n, 3) uint8, in the order of the hole's pixels."""
        if not len(fill):
            return frame
        part, covered = crop.take(frame).copy(), crop.take(mask)
        part[hole(covered, self._margin + self._feather)] = fill
        weight = soft_mask(covered, self._margin, self._feather)
        painted = frame.copy()
        inside = (slice(crop.height), slice(crop.width))
        painted[crop.box] = blend(frame[crop.box], part[inside], weight[inside])
        return painted


@kept
def _engine(weights: Path, iterations: int, device: str, precision: str) -> Engine:
    from video_decomp.propainter.fills import Engine

    return Engine(weights, iterations, device, precision)
