"""The motion that is staged: read from a template, brought to a frame rate, its feet on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from mimo.body.figure import Figure, Poses
from mimo.body.motion import Motion
from mimo.body.rig import rig_of
from mimo.stage import Rejected, StageSettings
from mimo.template import CONFIG, TemplateConfig
from mimo.video import VideoError, has_audio
from video_decomp.motion.grounding import on_ground
from video_decomp.motion.interface import SkeletonMotion, Source
from video_decomp.motion.measures import foot_metrics
from video_decomp.motion.readers import template as reader
from video_decomp.motion.retarget import retarget
from video_decomp.motion.timing import resampled

LONGEST = 20000
"""Frames of a staged template at most; about 11 minutes at 30 a second."""
SHORTEST = 2


class Cut(StageSettings):
    """Which part of the motion is performed, and how."""

    start: float = Field(0, ge=0, description="seconds of the motion to begin at")
    end: float | None = Field(None, gt=0, description="seconds of the motion to end at; null: its end")
    speed: float = Field(1, ge=0.05, le=20, description="2 is twice as fast")
    ground: bool | None = Field(
        None,
        description="keep standing feet from sliding, sinking and floating; null: unless the import of the "
        "motion has seen to it for just these frames",
    )


@dataclass(frozen=True, eq=False)
class Performance:
    """A motion to be put somewhere.

    Attributes:
        poses: on the ground z = 0; it begins at the origin, facing -y.
        figure: whose they are.
        fps: frames a second.
        times: (T,) seconds of the driver's motion that they are from.
        metrics: how the feet keep to the ground.
    """

    poses: Poses
    figure: Figure
    fps: float
    times: np.ndarray
    metrics: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Driver:
    """A template whose motion is staged.

    Attributes:
        folder: of the template, which has a ``motion.npz``.
        motion: all of it.
        skeleton: the same as moving bones.
        frames: the part in which the template is valid.
        weights: names in the weights registry of what it was made with.
        from_video: the motion was seen, so that nothing keeps its feet on the ground yet.
    """

    folder: Path
    motion: Motion
    skeleton: SkeletonMotion
    frames: range
    weights: tuple[str, ...]
    from_video: bool

    @classmethod
    def open(cls, folder: Path) -> Driver:
        """Read the motion of a template.

        Raises:
            Rejected: it has none, or it cannot be used.
        """
        path = folder / "motion.npz"
        if not path.is_file():
            raise Rejected(f"{path}: not there; --motion takes a template with a motion")
        motion = Motion.load(path)
        frames, weights, from_video = range(len(motion)), ("anny-body",), True
        if (folder / CONFIG).is_file():
            config = TemplateConfig.read(folder / CONFIG)
            frames = config.crop(len(motion))
            weights = tuple((config.pipeline or {}).get("licences", weights))
            from_video = not (config.is_motion or config.is_staged)
        if len(frames) < SHORTEST:
            raise Rejected(f"{path}: {len(frames)} frames; at least {SHORTEST} are needed to move")
        return cls(
            folder, motion, reader.read(folder, Source.model_validate({})), frames, weights, from_video
        )

    @cached_property
    def fps(self) -> Fraction:
        """Frames a second of the template."""
        return Fraction(self.skeleton.fps).limit_denominator(1001)

    @cached_property
    def figure(self) -> Figure:
        """Whose motion it is."""
        body = self.motion.body
        return Figure(body, rig_of(body.topology))

    @property
    def sound(self) -> Path | None:
        """File with the sound that belongs to the motion."""
        video = self.folder / "vid.mp4"
        try:
            return video if video.is_file() and has_audio(video) else None
        except VideoError as error:
            raise Rejected(str(error)) from None

    def seconds(self, cut: Cut) -> tuple[float, float]:
        """Begin and end of the part that is performed, in seconds of the motion file."""
        first, last = self.frames.start / self.skeleton.fps, (self.frames.stop - 1) / self.skeleton.fps
        return first + cut.start, last if cut.end is None else min(first + cut.end, last)

    def perform(self, fps: float, cut: Cut) -> Performance:
        """The motion at a frame rate, on the ground.

        Raises:
            Rejected: the part is not within the motion, or too long.
        """
        start, end = self.seconds(cut)
        part = resampled(self.skeleton, fps, start, end, cut.speed)
        if not SHORTEST <= len(part) <= LONGEST:
            raise Rejected(
                f"{self.folder}: {len(part)} frames are left of the motion; {SHORTEST} to {LONGEST} can be "
                "staged: see start, end, speed"
            )
        changed = self.from_video or cut.speed != 1 or abs(fps - self.skeleton.fps) > 1e-6
        fixed = changed if cut.ground is None else cut.ground
        grounded = on_ground(retarget(part, self.figure.body, self.figure), self.figure, fps, fixed=fixed)
        times = np.minimum(start + np.arange(len(part)) * cut.speed / fps, end)
        before = foot_metrics(grounded.before, self.figure, grounded.standing)
        metrics = {"before": before} | foot_metrics(grounded.poses, self.figure, grounded.standing)
        return Performance(grounded.poses, self.figure, fps, times, metrics)
