"""Command line of the synthesis stage: a template and a character in, a video out."""

from __future__ import annotations

import argparse
import sys
import time
from fractions import Fraction
from pathlib import Path
from types import ModuleType

from mimo import weights
from mimo.character import Character
from mimo.files import sha256
from mimo.stage import Rejected, StageSettings, backend_arguments, progress, run, write_record
from mimo.synthesis.interface import Job
from mimo.template import Template
from mimo.video import VideoError, VideoWriter


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and make the video.

    Returns:
        0 when done, 3 when the input was rejected.
    """
    parser = argparse.ArgumentParser(prog="python -m mimo.synthesis", description=__doc__)
    parser.add_argument("--template", type=Path, required=True, metavar="DIR", help="template to use")
    parser.add_argument("--character", type=Path, required=True, metavar="DIR", help="character to use")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.mp4", help="video to write")
    args, backend = backend_arguments(parser, "mimo.synthesis", "puppet", argv)
    if args.output.suffix.lower() != ".mp4":
        parser.error(f"--output {args.output}: must end in .mp4")
    return run(lambda: make_video(args.template, args.character, args.output, backend, args.settings))


def make_video(
    template: Path, character: Path, output: Path, backend: ModuleType, settings: StageSettings
) -> None:
    """Make one video and its record (``output`` with the suffix ``.json``).

    Args:
        template, character: folders.
        output: ``.mp4`` file; the record stands beside it.
        backend: module of this package, see `mimo.synthesis.interface`.
        settings: the backend's settings.

    Raises:
        Rejected: template or character cannot be used by this backend.
    """
    record = output.with_suffix(".json")
    record.unlink(missing_ok=True)
    job = Job(Template.load(template), Character.load(character))
    started, processor = time.perf_counter(), time.process_time()
    frames = backend.synthesise(job, settings)
    total = len(job.template.frame_numbers)
    clip = job.template.videos["vid"]
    start = float(job.template.frame_numbers[0] / clip.info.fps)
    try:
        with VideoWriter(output, _rate(job.template), audio_from=clip.path, audio_start=start) as writer:
            for frame in progress(frames, "synthesis", total):
                writer.write(frame)
    except VideoError as error:
        raise Rejected(str(error)) from None
    job.metrics["frames"] = writer.frames_written
    job.metrics["seconds_per_frame"] = round((time.perf_counter() - started) / total, 4)
    job.metrics["cpu_seconds_per_frame"] = round((time.process_time() - processor) / total, 4)
    write_record(
        record,
        stage="synthesis",
        backend=backend.__name__.rpartition(".")[2].replace("_", "-"),
        settings=settings,
        metrics=job.metrics,
        warnings=job.warnings,
        weights=job.weights,
        template=job.template.name,
        character=job.character.name,
        licences={name: weights.licence(name).model_dump(mode="json") for name in job.weights},
        video_sha256=sha256(output),
    )


def _rate(template: Template) -> Fraction:
    """Frame rate of the result: the template's own exact rate unless its config asks for another."""
    own = template.info.fps
    wanted = template.config.fps
    return own if abs(float(own) / wanted - 1) < 1e-3 else Fraction(wanted).limit_denominator(1001)


if __name__ == "__main__":
    sys.exit(main())
