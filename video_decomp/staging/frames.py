"""Which frame of a scene is shown when, and reading frames in any order with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import repeat
from typing import Literal

import numpy as np
from pydantic import Field

from mimo.stage import Rejected, StageSettings
from mimo.video import VideoReader
from video_decomp.staging.interface import Frames

HELD_BYTES = 256 << 20
"""Memory for frames that are read forwards to be shown backwards."""


class Timing(StageSettings):
    """Which part of the scene is shown."""

    offset: float = Field(0, ge=0, description="seconds of the scene at which the motion begins")
    repeat: Literal["back", "loop", "hold"] = Field(
        "back",
        description="what a scene does that is shorter than the motion: goes there and back, begins again, "
        "or stands still",
    )


def frames_shown(count: int, length: int | None, fps: float, timing: Timing) -> np.ndarray:
    """(count,) numbers of the scene's frames.

    Args:
        count: frames of the motion.
        length: frames of the scene; None: it is always the same.
        fps: frames a second of both.
        timing: what to do.

    Raises:
        Rejected: the scene ends before `offset`.
    """
    first = round(timing.offset * fps)
    if length is None:
        return np.zeros(count, int)
    if first >= length:
        raise Rejected(f"offset {timing.offset:g} s: the scene lasts {length / fps:.2f} s; begin within it")
    numbers = first + np.arange(count)
    if timing.repeat == "hold" or length == 1:
        return np.minimum(numbers, length - 1)
    if timing.repeat == "loop":
        return numbers % length
    there = numbers % (2 * length - 2)
    return np.minimum(there, 2 * length - 2 - there)


def of_video(video: VideoReader) -> Frames:
    """Frames of a video file, by their numbers."""
    return partial(_read, video)


def of_image(image: np.ndarray) -> Frames:
    """The same picture always."""
    return lambda numbers: repeat(image, len(numbers))


def _read(video: VideoReader, numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Frames of a video in the order of some numbers, neighbours of which differ by any step."""
    size = video.info.width * video.info.height * (1 if video.gray else 3)
    block = max(HELD_BYTES // size, 1)
    for run in _runs(numbers):
        first, last = int(run[0]), int(run[-1])
        if first == last:
            image = video.frame(first)
            yield from repeat(image, len(run))
        elif first < last:
            yield from video.frames(first, last + 1)
        else:
            for stop in range(first + 1, last, -block):
                yield from reversed(list(video.frames(max(stop - block, last), stop)))


def _runs(numbers: np.ndarray) -> list[np.ndarray]:
    """Numbers cut where they do not go on by the same step of one, zero or minus one."""
    runs, start = [], 0
    steps = np.diff(numbers)
    for index in range(1, len(numbers)):
        goes_on = abs(steps[index - 1]) <= 1 and (index - 1 == start or steps[index - 1] == steps[index - 2])
        if not goes_on:
            runs.append(numbers[start:index])
            start = index
    return [*runs, numbers[start:]]
