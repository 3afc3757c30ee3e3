"""From a template, a character and a backend to a finished video with its record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np

from mimo import weights
from mimo.character import Character
from mimo.files import remove, sha256
from mimo.stage import Rejected, StageSettings, progress, write_record
from mimo.synthesis.interface import Job
from mimo.synthesis.quality import scene_change
from mimo.template import Template
from mimo.video import VideoError, VideoWriter


def make_video(
    template: Template, character: Character, output: Path, backend: ModuleType, settings: StageSettings
) -> None:
    """Make one video and its record (``output`` with the suffix ``.json``); the template's sound is kept.

    Args:
        template, character: what it is made of.
        output: ``.mp4`` file; the record stands beside it.
        backend: module of this package, see `mimo.synthesis.interface`.
        settings: the backend's settings.

    Raises:
        Rejected: template or character cannot be used by this backend.
    """
    record = output.with_suffix(".json")
    remove(record)
    job = Job(template, character)
    started, processor = time.perf_counter(), time.process_time()
    frames = backend.synthesise(job, settings)
    total = len(template.frame_numbers)
    clip = template.videos["vid"]
    start = float(template.frame_numbers[0] / clip.info.fps)
    try:
        with VideoWriter(output, _rate(template), audio_from=clip.path, audio_start=start) as writer:
            for frame in progress(_even(frames), "synthesis", total):
                writer.write(frame)
    except VideoError as error:
        raise Rejected(str(error)) from None
    job.metrics["frames"] = writer.frames_written
    job.metrics["seconds_per_frame"] = round((time.perf_counter() - started) / total, 4)
    job.metrics["cpu_seconds_per_frame"] = round((time.process_time() - processor) / total, 4)
    job.metrics["scene_change"] = scene_change(template, output)
    write_record(
        record,
        stage="synthesis",
        backend=backend.__name__.rpartition(".")[2].replace("_", "-"),
        settings=settings,
        metrics=job.metrics,
        warnings=job.warnings,
        weights=job.weights,
        template=template.name,
        character=character.name,
        licences={name: weights.licence(name).model_dump(mode="json") for name in job.weights},
        video_sha256=sha256(output),
    )


def _rate(template: Template) -> Fraction:
    """Frame rate of the result: the template's own exact rate unless its config asks for another."""
    own = template.info.fps
    wanted = template.config.fps
    return own if abs(float(own) / wanted - 1) < 1e-3 else Fraction(wanted).limit_denominator(1001)


def _even(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames without their last row or column where their number is odd, which H.264 cannot hold."""
    for frame in frames:
        height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
        yield frame[:height, :width]
