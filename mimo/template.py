"""The template contract: what a folder ``templates/NAME/`` holds, checked on write and on read.

The keys outside `pipeline` are those of the reference implementation of MIMO (`run_edit.py`), so its
templates work here and ours work there.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mimo.files import sha256, write_json
from mimo.stage import Rejected
from mimo.video import VideoError, VideoInfo, VideoReader

CONFIG = "config.json"
MOTION = "motion"
"""`kind` in the `pipeline` of a motion template, which has ``sdc.mp4`` and ``motion.npz`` but no scene."""
STAGED = "staged"
"""`kind` of a motion put into a scene: whoever moves by ``motion.npz`` is not who is seen in ``vid.mp4``."""
SCENE_MOTION = "scene_motion.npz"
GROUP = "group"
"""`kind` in the `pipeline` of a group of several people, see `mimo.group`."""
VIDEOS = ("vid", "mask", "sdc", "bk", "occ")
TICKS = 30
"""`time_crop` counts 30ths of a second, whatever the frame rate is."""


class TimeCrop(BaseModel):
    """Part of the clip to use, in 30ths of a second; the end is exclusive and may lie past the clip's end."""

    model_config = ConfigDict(extra="allow", frozen=True)
    start_idx: int = Field(0, ge=0)
    end_idx: int = Field(gt=0)


class FrameCrop(BaseModel):
    """Part of the picture, in pixels; carried along only: the reference implementation never applies it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    start_idx_x: int = 0
    end_idx_x: int = 0
    start_idx_y: int = 0
    end_idx_y: int = 0


class TemplateConfig(BaseModel):
    """Content of ``config.json``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    fps: float = Field(gt=0, le=240, description="frames per second that the template is used at")
    time_crop: TimeCrop
    frame_crop: FrameCrop = FrameCrop()
    layer_recover: bool = Field(True, description="put occluders back over the character")
    pipeline: dict[str, Any] | None = Field(None, description="how we made it; absent in templates of others")

    @classmethod
    def read(cls, path: Path) -> TemplateConfig:
        """Read and check a ``config.json``.

        Raises:
            Rejected: it is missing, is not JSON, or a key is missing or has a bad value.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise Rejected(
                f"{path}: cannot be read ({error.strerror}); it makes a folder a template"
            ) from None
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
                for problem in error.errors()
            )
            raise Rejected(f"{path}: {problems}") from None

    @property
    def is_motion(self) -> bool:
        """Whether it is a motion template's: a motion without a scene."""
        return self.pipeline is not None and self.pipeline.get("kind") == MOTION

    @property
    def is_staged(self) -> bool:
        """Whether it is a motion put into a scene that is not its own."""
        return self.pipeline is not None and self.pipeline.get("kind") == STAGED

    @property
    def is_group(self) -> bool:
        """Whether it is a group's: several people, each with a template of their own."""
        return self.pipeline is not None and self.pipeline.get("kind") == GROUP

    def write(self, path: Path) -> None:
        """Write it whole or not at all; a whole frame rate as an integer, as the reference does."""
        values = self.model_dump(mode="json", exclude_none=True)
        if self.fps == int(self.fps):
            values["fps"] = int(self.fps)
        write_json(path, values)

    def crop(self, frames: int) -> range:
        """Frames to use, of a clip at `fps` with so many frames (the reference's rounding)."""
        start = min(int(self.fps * self.time_crop.start_idx / TICKS), frames)
        stop = min(int(self.fps * self.time_crop.end_idx / TICKS), frames)
        return range(start, max(start, stop))


def time_crop(fps: float, start: int, stop: int) -> TimeCrop:
    """The `TimeCrop` of the largest part of `start` to `stop` (exclusive) that 30ths can express.

    Up to 30 frames a second that is exactly `start` to `stop`.
    """
    return TimeCrop(
        start_idx=math.ceil(start * TICKS / fps), end_idx=max(1, math.ceil((stop + 1) * TICKS / fps) - 1)
    )


@dataclass(frozen=True)
class Template:
    """A template folder that was found whole.

    Attributes:
        folder: the folder.
        config: its ``config.json``.
        videos: reader of each video there is; ``mask`` and ``occ`` give (height, width) uint8, the others
            (height, width, 3) RGB uint8.
    """

    folder: Path
    config: TemplateConfig
    videos: dict[str, VideoReader]

    @classmethod
    def load(cls, folder: Path | str) -> Template:
        """Open a template and check it.

        Raises:
            Rejected: a file is missing or damaged, or the videos do not fit together; the message says which.
        """
        folder = Path(folder)
        config = TemplateConfig.read(folder / CONFIG)
        if config.is_motion:
            raise Rejected(f"{folder}: a motion without a scene; animate it on white: python -m mimo.animate")
        if config.is_group:
            raise Rejected(
                f"{folder}: a group of several people; say who plays whom: python -m mimo.synthesis.cast "
                f"--group {folder}, or use the template of one of them"
            )
        videos = open_videos(folder, optional=("occ",) if config.pipeline else ("occ", "mask"))
        check_alike(folder, videos, exactly=config.pipeline is not None)
        template = cls(folder, config, videos)
        if config.pipeline is not None:
            check_occluder(folder, config.pipeline.get("occ_sha256"))
        if not len(template.frame_numbers):
            raise Rejected(f"{folder / CONFIG}: time_crop leaves no frame of the {template.info.frames}")
        return template

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def info(self) -> VideoInfo:
        """Size, frame rate and number of frames of ``vid.mp4``."""
        return self.videos["vid"].info

    @property
    def motion(self) -> Path | None:
        """``motion.npz``, or None in a template made by the reference implementation."""
        path = self.folder / "motion.npz"
        return path if path.is_file() else None

    @property
    def camera_stands(self) -> bool:
        """Whether the camera is known not to move, or nothing is known of it."""
        stages = (self.config.pipeline or {}).get("stages", {})
        filmed = stages.get("inpainting", {}).get("metrics", {}).get("camera", "static")
        shot = stages.get(MOTION, {}).get("settings", {}).get("camera", "fixed")
        return filmed == "static" and shot not in ("follow", "orbit")

    @property
    def scene_motion(self) -> Path | None:
        """Motion of the person seen in ``vid.mp4``, by whom the scene's light is known; None: nobody's."""
        own = self.folder / SCENE_MOTION if self.config.is_staged else self.motion
        return own if own is not None and own.is_file() else None

    @property
    def transparent(self) -> bool:
        """Whether there is no scene, so that results are made for compositing; the videos show plain grey."""
        return bool(self.config.pipeline and self.config.pipeline.get("transparent"))

    @property
    def plain(self) -> bool:
        """Whether the scene is one colour or none: nothing in it tells of light, tone or grain."""
        return bool(self.config.pipeline and self.config.pipeline.get("plain"))

    @property
    def has_occluder(self) -> bool:
        """Whether something passes in front of the person and is to be put back."""
        return "occ" in self.videos and self.config.layer_recover

    @cached_property
    def frame_numbers(self) -> np.ndarray:
        """(N,) int64: the frames of the files that make the template's time, in order.

        The clip is brought to the configured frame rate by dropping or repeating frames, then cropped in
        time, both exactly as the reference implementation does; for our own templates it is a plain range.
        """
        step = round(float(self.info.fps)) / self.config.fps
        if self.config.pipeline is not None or step == 1:
            numbers = np.arange(self.info.frames)
        else:
            numbers = np.arange(0, self.info.frames, step).astype(np.int64)
        crop = self.config.crop(len(numbers))
        return numbers[crop.start : crop.stop]

    def frames(self, name: str, span: range | None = None) -> Iterator[np.ndarray]:
        """Frames of one video (``vid``, ``mask``, ``sdc``, ``bk``, ``occ``) at `frame_numbers`, streamed.

        Args:
            name: of the video.
            span: part of `frame_numbers` (consecutive indices); None: all.

        Yields:
            uint8, (height, width, 3) RGB, or (height, width) for ``mask`` and ``occ``.
        """
        numbers = self.frame_numbers if span is None else self.frame_numbers[span.start : span.stop]
        if not len(numbers):
            return
        wanted = iter(numbers.tolist())
        next_wanted = next(wanted, None)
        start = int(numbers[0])
        for number, frame in enumerate(self.videos[name].frames(start, int(numbers[-1]) + 1), start):
            while next_wanted == number:
                yield frame
                next_wanted = next(wanted, None)


def open_videos(folder: Path, optional: Container[str] = ("occ",)) -> dict[str, VideoReader]:
    """Readers of a template's videos.

    Args:
        folder: the template.
        optional: names of videos that may be missing.

    Raises:
        Rejected: one is missing or cannot be read.
    """
    videos = {}
    for name in VIDEOS:
        path = folder / f"{name}.mp4"
        if not path.is_file():
            if name in optional:
                continue
            raise Rejected(f"{path}: missing; a template needs vid, mask, sdc and bk")
        try:
            videos[name] = VideoReader(path, gray=name in ("mask", "occ"))
        except VideoError as error:
            raise Rejected(str(error)) from None
    return videos


def check_alike(folder: Path, videos: dict[str, VideoReader], *, exactly: bool = True) -> None:
    """Check that a template's videos have one size, frame rate and length.

    Args:
        folder: for the message.
        videos: as `open_videos` gives them; ``vid`` is the measure.
        exactly: refuse odd sizes too. Templates of others may have them.

    Raises:
        Rejected: they differ; the message says which and how.
    """
    problems = []
    expected = videos["vid"].info
    if exactly and (expected.width % 2 or expected.height % 2):
        problems.append(f"vid.mp4 is {expected.width}x{expected.height}, but sizes must be even")
    for name, video in videos.items():
        info = video.info
        if (info.width, info.height) != (expected.width, expected.height):
            problems.append(
                f"{name}.mp4 is {info.width}x{info.height}, but vid.mp4 is {expected.width}x{expected.height}"
            )
        if info.frames != expected.frames:
            problems.append(f"{name}.mp4 has {info.frames} frames, but vid.mp4 has {expected.frames}")
        if abs(float(info.fps / expected.fps) - 1) > 1e-3:
            problems.append(
                f"{name}.mp4 runs at {float(info.fps):g} fps, but vid.mp4 at {float(expected.fps):g}"
            )
    if problems:
        raise Rejected(f"{folder}: {'; '.join(problems)}; make those files again")


def check_occluder(folder: Path, expected: str | None) -> None:
    """Check that ``occ.mp4`` is the one that the template was packed with.

    Args:
        folder: the template.
        expected: the file's recorded digest, None when there must be no such file.

    Raises:
        Rejected: the file was added, altered or deleted since.
    """
    path = folder / "occ.mp4"
    if not path.is_file():
        if expected is not None:
            raise Rejected(
                f"{path}: missing, though something passes in front; run the occlusion stage again"
            )
    elif expected is None:
        raise Rejected(f"{path}: was added after the template was packed; pack it again")
    elif sha256(path) != expected:
        raise Rejected(f"{path}: was changed after the template was packed; pack it again")
