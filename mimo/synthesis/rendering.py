"""From a template, a character and a backend to a finished video, or a part of one, with its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mimo.alpha_video import AlphaFormat, AlphaWriter, alpha_digest, alpha_file, alpha_writer
from mimo.character import Character
from mimo.closed_groups import GroupWriter
from mimo.composition.layers import composite
from mimo.composition.scenes import scenes
from mimo.composition.transparency import transparent
from mimo.files import remove, sha256, whole_file, write_json
from mimo.stage import Rejected, StageSettings, progress, write_record
from mimo.synthesis.interface import Job, seam_frames
from mimo.synthesis.parts import Part, PartFiles, PartRecord, Span
from mimo.synthesis.quality import scene_change
from mimo.template import Template
from mimo.video import VideoError
from mimo.weights import licence


def make_video(
    template: Template,
    character: Character,
    output: Path,
    backend: ModuleType,
    settings: StageSettings,
    alpha: AlphaFormat | None = None,
) -> None:
    """Make one video and its record (``output`` with the suffix ``.json``); the template's sound is kept.

    Args:
        template, character: what it is made of.
        output: ``.mp4`` file; the record stands beside it.
        backend: module of this package, see `mimo.synthesis.interface`.
        settings: the backend's settings.
        alpha: also make the character without the scene, with straight alpha (`mimo.alpha_video.alpha_file`);
            the video then shows exactly that before the scene.

    Raises:
        Rejected: template or character cannot be used by this backend.
    """
    remove(output.with_suffix(".json"))
    job = Job(template, character, range(len(template.frame_numbers)))
    with result_writer(template, output) as writer, ExitStack() as files:
        frames = _rendered(job, backend, settings)
        if alpha is not None:
            beside = transparent_writer(template, output, alpha)
            files.enter_context(beside)
            frames = _in_scene(job, backend, settings, beside)
        for frame in frames:
            writer.write(frame)
    write_result_record(job, output, backend, settings, alpha)


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
    source, start = _sound(template)
    with (
        _readable(),
        GroupWriter(output, rate(template), audio_from=source, audio_start=start) as writer,
    ):
        yield writer


def transparent_writer(template: Template, output: Path, alpha: AlphaFormat) -> AlphaWriter:
    """Writer of the transparent file beside a whole video, with its template's sound."""
    return alpha_writer(output, alpha, rate(template), *_sound(template))


def write_result_record(
    job: Job,
    output: Path,
    backend: ModuleType,
    settings: StageSettings,
    alpha: AlphaFormat | None = None,
) -> None:
    """Write the record of a job's video that is whole, and of its transparent file, if it has one."""
    record_result(
        job.template,
        job.character.name,
        output,
        backend,
        settings,
        alpha,
        metrics=job.metrics,
        warnings=job.warnings,
        weights=job.weights,
    )


def record_result(
    template: Template,
    character: str,
    output: Path,
    backend: ModuleType,
    settings: StageSettings,
    alpha: AlphaFormat | None,
    *,
    metrics: dict[str, Any],
    warnings: list[str],
    weights: list[str],
    **more: Any,
) -> None:
    """Write the record of a video that is whole.

    Args:
        template: whose scene it shows.
        character: name of who plays in it.
        output, backend, settings, alpha: as for `make_video`.
        metrics, warnings, weights, more: as for `mimo.stage.write_record`.
    """
    if alpha is not None:
        beside = alpha_file(output, alpha)
        more["alpha"] = {"format": alpha, "file": beside.name, "sha256": alpha_digest(beside)}
    write_record(
        output.with_suffix(".json"),
        stage="synthesis",
        backend=backend_name(backend),
        settings=settings,
        metrics=metrics | {"scene_change": scene_change(template, output)},
        warnings=warnings,
        weights=weights,
        template=template.name,
        character=character,
        licences={name: licence(name).model_dump(mode="json") for name in weights},
        video_sha256=sha256(output),
        **more,
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


def _in_scene(
    job: Job, backend: ModuleType, settings: StageSettings, beside: AlphaWriter
) -> Iterator[np.ndarray]:
    """As `_rendered`, of the backend's layers, which are also written alone."""

    def made() -> Iterator[np.ndarray]:
        people = backend.layers(job, settings)
        for scene, person in zip(scenes(job.template, job.frames), people, strict=True):
            size = scene.background.shape[:2]
            beside.write(_even(transparent([person], size, scene.occlusion)))
            yield composite(scene.background, [person], scene.video, scene.occlusion)

    yield from timed(made, len(job.frames), job.metrics)


def _sound(template: Template) -> tuple[Path, float]:
    """The file whose sound belongs to the results, and the second at which the first frame is."""
    clip = template.videos["vid"]
    return clip.path, float(template.frame_numbers[0] / clip.info.fps)


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
    for frame in progress(map(_even, make()), "synthesis", total):
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


def _even(frame: np.ndarray) -> np.ndarray:
    """A frame without its last row or column where their number is odd, which H.264 cannot hold."""
    height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
    return frame[:height, :width]
