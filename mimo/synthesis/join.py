"""Command line that joins the parts of a video: nothing is coded again but the few blended frames."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mimo.animation import open_template
from mimo.character import Character
from mimo.files import remove
from mimo.stage import Rejected, StageSettings, backend_arguments, run
from mimo.synthesis.interface import Job
from mimo.synthesis.parts import Part, PartFiles, PartRecord
from mimo.synthesis.rendering import backend_name, result_writer, write_result_record
from mimo.template import Template

TIMES = ("seconds_per_frame", "cpu_seconds_per_frame")


def join_parts(
    template: Template,
    character: Character,
    parts: Sequence[Path],
    output: Path,
    backend: ModuleType,
    settings: StageSettings,
) -> None:
    """Join the parts of a video and write its record; arguments as for `mimo.synthesis.rendering.make_video`.

    Args:
        parts: ``.mp4`` file of each, as `make_part` wrote it, in any order.

    Raises:
        Rejected: a part is missing, damaged, or of another video; the message names it.
    """
    remove(output.with_suffix(".json"))
    found = sorted(
        ((PartFiles(path), PartFiles(path).read()) for path in parts), key=lambda one: _number(one[1])
    )
    job = Job(template, character, range(len(template.frame_numbers)))
    _check(found, job, backend, settings)
    tail = np.empty((0,))
    with result_writer(template, output) as writer:
        for files, record in found:
            if record.frames[0] == record.frames[1]:
                continue
            head, own_tail = files.read_edges()
            for frame in blended(tail, head):
                writer.write(frame)
            if files.video.stat().st_size:
                writer.append(files.video)
            tail = own_tail
    if writer.frames_written != len(job.frames):
        raise RuntimeError(f"{output}: {writer.frames_written} frames of {len(job.frames)}")
    records = [record for _, record in found]
    job.metrics |= joined_metrics(records)
    job.warnings += dict.fromkeys(text for record in records for text in record.warnings)
    job.weights += dict.fromkeys(name for record in records for name in record.weights)
    write_result_record(job, output, backend, settings)


def blended(last: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Frames in which one part passes into the next, evenly.

    Args:
        last: uint8 (n, height, width, 3), as the part before has them.
        first: the same frames, as the next part has them.
    """
    weight = (np.arange(len(first), dtype=np.float32) + 1) / (len(first) + 1)
    weight = weight.reshape(-1, *[1] * (first.ndim - 1))
    return np.rint(last * (1 - weight) + first * weight).astype(np.uint8)


def joined_metrics(records: Sequence[PartRecord]) -> dict[str, Any]:
    """Metrics of the whole: what parts agree on, times a frame, peaks, and what they differ in."""
    made = [record.metrics for record in records if record.metrics]
    common = {key: value for key, value in made[0].items() if all(one.get(key) == value for one in made)}
    frames = sum(one["frames"] for one in made)
    times = {key: round(sum(one[key] * one["frames"] for one in made) / frames, 4) for key in TIMES}
    peaks = {key: max(one.get(key, 0) for one in made) for key in made[0] if key.startswith("peak_")}
    own = [{key: value for key, value in one.items() if key not in common} for one in made]
    return common | times | peaks | {"frames": records[0].total, "parts": own}


def _number(record: PartRecord) -> int:
    return Part.parse(record.part).number


def _check(
    found: Sequence[tuple[PartFiles, PartRecord]], job: Job, backend: ModuleType, settings: StageSettings
) -> None:
    """Check that parts make up one video, all of it, and the one that is wanted."""
    wanted = {
        "template": job.template.name,
        "character": job.character.name,
        "backend": backend_name(backend),
        "settings": settings.model_dump(mode="json"),
        "total": len(job.frames),
    }
    count = Part.parse(found[0][1].part).count
    for files, record in found:
        for key, value in wanted.items():
            if getattr(record, key) != value:
                raise Rejected(f"{files.video}: made with another {key}; make this part again")
    numbers = [_number(record) for _, record in found]
    missing = sorted({*range(1, count + 1)} - {*numbers})
    if missing or len(numbers) != count:
        what = f"part {missing[0]}-of-{count} is missing" if missing else "a part is there twice"
        raise Rejected(f"{found[0][0].video.parent}: {what}")
    for (_, one), (files, other) in pairwise(found):
        if one.frames[1] != other.frames[0]:
            raise Rejected(f"{files.video}: does not begin where part {one.part} ends; make both again")


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and join the parts.

    Returns:
        0 when done, 3 when the input was rejected.
    """
    parser = argparse.ArgumentParser(prog="python -m mimo.synthesis.join", description=__doc__)
    parser.add_argument("parts", type=Path, nargs="+", metavar="PART.mp4", help="all parts of the video")
    parser.add_argument("--template", type=Path, required=True, metavar="DIR", help="template they show")
    parser.add_argument("--character", type=Path, required=True, metavar="DIR", help="character in it")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.mp4", help="video to write")
    args, backend = backend_arguments(parser, "mimo.synthesis", "puppet", argv)

    def work() -> None:
        template, character = open_template(args.template), Character.load(args.character)
        join_parts(template, character, args.parts, args.output, backend, args.settings)

    return run(work, makes=args.output)


if __name__ == "__main__":
    sys.exit(main())
