"""What a segment of a long video has in place of a motion when the person is not in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimo.body.motion import Motion
from mimo.files import whole_file
from mimo.video import VideoInfo
from video_decomp.pose.interface import Estimate

NOBODY = "nobody"
DRAWING = "drawing.npz"


def nobody(info: VideoInfo) -> Estimate:
    """The estimate of a segment in which nobody is seen: a motion without a body."""
    frames = info.frames
    motion = Motion(
        model=NOBODY,
        shape=np.zeros(0, np.float32),
        rest_vertices=np.zeros((0, 3), np.float32),
        rest_bones=np.zeros((0, 4, 4), np.float32),
        rotations=np.zeros((frames, 0, 3), np.float32),
        root_rotation=np.zeros((frames, 3), np.float32),
        translation=np.zeros((frames, 3), np.float32),
        camera=np.array(
            [max(info.width, info.height), info.width / 2, info.height / 2, info.width, info.height],
            np.float32,
        ),
        confidence=np.zeros(frames, np.float32),
        visible=np.zeros(frames, bool),
        ground=np.zeros(4, np.float32),
    )
    return Estimate(motion)


def write_drawing(estimate: Estimate, segment: Path) -> None:
    """Keep beside a segment's motion how it is drawn, where that is not by the body model alone."""
    values = {"colours": estimate.colours, "hands": estimate.hands}
    known = {name: value for name, value in values.items() if value is not None}
    with whole_file(segment / DRAWING) as part, part.open("wb") as file:
        np.savez_compressed(file, **known)  # type: ignore[arg-type]


def read_drawing(segment: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Colours and hands of an `Estimate`, as `write_drawing` kept them."""
    with np.load(segment / DRAWING, allow_pickle=False) as file:
        return file.get("colours"), file.get("hands")
