"""The motion code of a character's own performance, in place of a template's ``sdc.mp4``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mimo.body.motion import Motion
from mimo.body.motion_code import drawn_motion
from mimo.retargeting.driver import drawn_in, driver_motion
from mimo.retargeting.performance import Performance
from mimo.retargeting.proportions import performing_body
from mimo.retargeting.settings import BodySettings
from mimo.retargeting.shape import likened
from mimo.template import Template
from mimo.video import VideoReader


class CodeVideo(VideoReader):
    """A performance's motion code, drawn when it is read.

    Args:
        like: the video in whose place it stands, of the same size, rate and length.
        performance: what is drawn.
        colours: (V, 3) uint8 of the body's vertices.
    """

    def __init__(self, like: VideoReader, performance: Performance, colours: np.ndarray) -> None:
        self.path, self.gray, self.info = like.path, False, like.info
        self._performance, self._colours = performance, colours

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Frames `start` to `stop` (exclusive), uint8 (height, width, 3)."""
        for part in self._performance.parts(range(self.info.frames)[start:stop]):
            for image, _ in drawn_motion(part, self._colours):
                yield image


def with_own_code(template: Template, character: Motion, settings: BodySettings) -> Template:
    """The template with the motion code of the character's body; as it is where all is the driver's.

    Args:
        template: of any backend.
        character: its fitted body. If it is of another body model than the driver's, a body of the driver's
            model is given its proportions.
        settings: whose proportions and height.

    Raises:
        Rejected: the template has no motion to perform.
    """
    if settings.all_drivers:
        return template
    asked = f"body: {settings.body} with height: {settings.height}"
    motion = driver_motion(template, asked, "use body: driver and height: driver")
    person = character if character.model == motion.model else likened(character, motion)
    body = performing_body(person.body, person, motion, settings)
    performance = Performance(motion, body, float(template.info.fps), template.camera_stands)
    code = CodeVideo(template.videos["sdc"], performance, drawn_in(template, motion))
    return replace(template, videos=template.videos | {"sdc": code})
