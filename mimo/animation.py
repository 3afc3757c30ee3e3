"""A motion code alone as a template: the character moves on white, as in the reference's `run_animate.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimo.stage import Rejected
from mimo.template import CONFIG, Template, TemplateConfig, TimeCrop
from mimo.video import VideoError, VideoReader

CODE = "sdc.mp4"
FASTEST = 240


class WhiteVideo(VideoReader):
    """A video without content, like another one in size, rate and length."""

    def __init__(self, like: VideoReader) -> None:
        self.path, self.gray, self.info = like.path, False, like.info

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """White frames, uint8 (height, width, 3)."""
        for _ in range(self.info.frames)[start:stop]:
            yield np.full((self.info.height, self.info.width, 3), 255, np.uint8)


@dataclass(frozen=True)
class Animation(Template):
    """A template of which only the motion is used: its videos are ``sdc``, and white ``vid`` and ``bk``.

    Attributes:
        code: the file with the motion code.
    """

    code: Path

    @classmethod
    def load(cls, folder: Path | str) -> Animation:
        """Open a motion code.

        Args:
            folder: a template or another folder with ``sdc.mp4``, or such a file. Where a template's
                ``config.json`` says which part of the time to use, that holds; else all of it.

        Raises:
            Rejected: there is no such file, or it cannot be read.
        """
        code = Path(folder) / CODE if Path(folder).is_dir() else Path(folder)
        if not code.is_file():
            raise Rejected(f"{code}: not there; give a folder with {CODE} (rendered motion), or the file")
        try:
            video = VideoReader(code)
        except VideoError as error:
            raise Rejected(str(error)) from None
        white = WhiteVideo(video)
        config = code.with_name(CONFIG)
        if code.name == CODE and config.is_file():
            settings = TemplateConfig.read(config)
        elif not 0 < video.info.fps <= FASTEST:
            raise Rejected(f"{code}: {float(video.info.fps):g} frames per second; at most {FASTEST}")
        else:
            everything = TimeCrop(start_idx=0, end_idx=1 << 40)
            settings = TemplateConfig(
                fps=float(video.info.fps), time_crop=everything, layer_recover=False, pipeline={}
            )
        animation = cls(code.parent, settings, {"sdc": video, "vid": white, "bk": white}, code)
        if not len(animation.frame_numbers):
            raise Rejected(f"{config}: time_crop leaves no frame of the {video.info.frames}")
        return animation

    @property
    def name(self) -> str:
        """The template's name, or that of a file that lies elsewhere."""
        return super().name if self.code.name == CODE else self.code.stem

    @property
    def plain(self) -> bool:
        """It is: there is nothing but white."""
        return True

    @property
    def motion(self) -> Path | None:
        """``motion.npz`` of the template that the motion code belongs to."""
        return super().motion if self.code.name == CODE else None


def open_template(folder: Path | str) -> Template:
    """A template to make results of; a motion without a scene is performed on white.

    Raises:
        Rejected: as `Template.load` and `Animation.load`.
    """
    of_motion = TemplateConfig.read(Path(folder) / CONFIG).is_motion
    return Animation.load(folder) if of_motion else Template.load(folder)
