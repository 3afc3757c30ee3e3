"""From a template, a character and a backend to a finished video, or a part of one, with its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mimo import weights
from mimo.character import Character
from mimo.closed_groups import GroupWriter
from mimo.files import remove, sha256, whole_file, write_json
from mimo.stage import Rejected, StageSettings, progress, write_record
from mimo.synthesis.interface import Job, seam_frames
from mimo.synthesis.parts import Part, PartFiles, PartRecord, Span
from mimo.synthesis.quality import scene_change
from mimo.template import Template
from mimo.video import VideoError


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
    remove(output.with_suffix(".json"))
    job = Job(template, character, range(len(template.frame_numbers)))
    frames = _rendered(job, backend, settings)
    with result_writer(template, output) as writer:
        for frame in frames:
            writer.write(frame)
    write_result_record(job, output, backend, settings)


def make_part(
    template: Template,
    character: Character,
    part: Part,
    output: Path,
    backend: ModuleType,
    settings: StageSettings,
) -> None:
    """Make one part of a video, to be joined by `mimo.synthesis.join`.

    Args:
        template, character, backend, settings: as for `make_video`; of the whole video.
        part: which one.
        output: ``.mp4`` file of the part; two more stand beside it, see `mimo.synthesis.parts`.

    Raises:
        Rejected: as `make_video`.
    """
    files, total = PartFiles(output), len(template.frame_numbers)
    remove(files.record)
    span = Span.of(part, total, seam_frames(settings))
    job = Job(template, character, span.rendered)
    frames = _rendered(job, backend, settings) if span.own else iter(())
    head = list(islice(frames, span.head))
    coded = len(span.own) - span.head
    if coded:
        with (
            _readable(),
            GroupWriter(output, rate(template), first=span.own.start + span.head) as writer,
        ):
            for frame in islice(frames, coded):
                writer.write(frame)
    else:
        with whole_file(output):
            pass
    files.write_edges(head, list(frames))
    record = PartRecord(
        part=str(part),
        frames=(span.own.start, span.own.stop),
        total=total,
        template=template.name,
        character=character.name,
        backend=backend_name(backend),
        settings=settings.model_dump(mode="json"),
        metrics=job.metrics,
        warnings=job.warnings,
        weights=job.weights,
        video_sha256=sha256(files.video),
        edges_sha256=sha256(files.edges),
    )
    write_json(files.record, record.model_dump(mode="json"))


@contextmanager
def result_writer(template: Template, output: Path) -> Iterator[GroupWriter]:
    """Writer of a whole video with its template's sound.

    Raises:
        Rejected: it cannot be written.
    """
    clip = template.videos["vid"]
    start = float(template.frame_numbers[0] / clip.info.fps)
    with (
        _readable(),
        GroupWriter(output, rate(template), audio_from=clip.path, audio_start=start) as writer,
    ):
        yield writer


def write_result_record(job: Job, output: Path, backend: ModuleType, settings: StageSettings) -> None:
    """Write the record of a video that is whole."""
    job.metrics["scene_change"] = scene_change(job.template, output)
    write_record(
        output.with_suffix(".json"),
        stage="synthesis",
        backend=backend_name(backend),
        settings=settings,
        metrics=job.metrics,
        warnings=job.warnings,
        weights=job.weights,
        template=job.template.name,
        character=job.character.name,
        licences={name: weights.licence(name).model_dump(mode="json") for name in job.weights},
        video_sha256=sha256(output),
    )


def backend_name(backend: ModuleType) -> str:
    """A backend's name in the configuration."""
    return backend.__name__.rpartition(".")[2].replace("_", "-")


def rate(template: Template) -> Fraction:
    """Frame rate of the result: the template's own exact rate unless its config asks for another."""
    own = template.info.fps
    wanted = template.config.fps
    return own if abs(float(own) / wanted - 1) < 1e-3 else Fraction(wanted).limit_denominator(1001)


def _rendered(job: Job, backend: ModuleType, settings: StageSettings) -> Iterator[np.ndarray]:
    """A job's frames, exactly as many as it asks for; with the last one, the time they took is noted."""
    yield from timed(lambda: backend.synthesise(job, settings), len(job.frames), job.metrics)


def timed(
    make: Callable[[], Iterator[np.ndarray]], total: int, metrics: dict[str, Any]
) -> Iterator[np.ndarray]:
    """Frames of even size, with progress; with the last one, the time that they took is noted.

    Args:
        make: gives the frames.
        total: how many there must be.
        metrics: where ``frames``, ``seconds_per_frame`` and ``cpu_seconds_per_frame`` are put.

    Raises:
        RuntimeError: there are more or fewer.
    """
    started, processor = time.perf_counter(), time.process_time()
    count = 0
    for frame in progress(_even(make()), "synthesis", total):
        count += 1
        if count == total:
            metrics["frames"] = count
            metrics["seconds_per_frame"] = round((time.perf_counter() - started) / count, 4)
            metrics["cpu_seconds_per_frame"] = round((time.process_time() - processor) / count, 4)
        yield frame
    if count != total:
        raise RuntimeError(f"{count} frames were made of {total}")


@contextmanager
def _readable() -> Iterator[None]:
    """Say of a video that cannot be written why, and no more."""
    try:
        yield
    except VideoError as error:
        raise Rejected(str(error)) from None


def _even(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames without their last row or column where their number is odd, which H.264 cannot hold."""
    for frame in frames:
        height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
        yield frame[:height, :width]
