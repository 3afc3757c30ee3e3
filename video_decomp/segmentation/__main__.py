"""Command line: the mask of the subject, `vid.mp4` to `mask.mp4`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mimo.stage import Rejected, backend_arguments, write_record
from mimo.video import VideoError, VideoReader, VideoWriter
from mimo.worker.handover import perform
from video_decomp.segmentation.correcting import corrected, corrections_of
from video_decomp.segmentation.interface import Backend, SubjectSettings
from video_decomp.segmentation.measures import MaskMeasures, not_found
from video_decomp.segments.part import add_survey_argument, known_of_whole

STAGE = "video_decomp.segmentation"


def main(argv: list[str] | None = None) -> int:
    """Read the template folder's ``vid.mp4``; write ``mask.mp4`` and ``records/segmentation.json``."""
    parser = argparse.ArgumentParser(prog=f"python -m {STAGE}", description=__doc__, allow_abbrev=False)
    parser.add_argument("--template", type=Path, required=True, metavar="DIR", help="the template's folder")
    add_survey_argument(parser)
    parser.add_argument(
        "--corrections",
        type=Path,
        metavar="FOLDER",
        help="what was corrected by hand, clicks.json and painted masks (docs/corrections.md)",
    )
    args, module = backend_arguments(parser, STAGE, "mediapipe", argv)
    backend: Any = module
    return perform(
        STAGE,
        args,
        argv,
        lambda: segment_template(
            args.template, args.backend, backend, args.settings, args.survey, args.corrections
        ),
        makes=args.template / "records" / "segmentation.json",
    )


def segment_template(
    template: Path,
    name: str,
    backend: Backend,
    settings: SubjectSettings,
    survey: Path | None = None,
    corrections: Path | None = None,
) -> None:
    """Run one backend on a template's folder.

    Args:
        template, name, backend, settings: where, which, how.
        survey: for a segment of a long video, what a look at all of it told.
        corrections: folder of what was corrected by hand; a missing or empty one is no correction.

    Raises:
        Rejected: there is no usable person in the clip, or no clip; a correction cannot be used.
    """
    path = template / "vid.mp4"
    try:
        video = VideoReader(path)
    except VideoError as error:
        raise Rejected(f"{error}; run ingest first") from None
    by_hand = corrections_of(corrections, template, video)
    told: dict[str, Any] = dict(known_of_whole(template, survey))
    if settings.prompted_by_corrections:
        told["corrections"] = by_hand
    result = corrected(backend.segment(video, settings, **told), video, by_hand, settings)
    measures = MaskMeasures()
    with VideoWriter(template / "mask.mp4", video.info.fps, kind="mask") as writer:
        for frame in result.masks:
            writer.write(frame.mask)
            measures.add(frame.image, frame.mask, frame.score)
    found = measures.frames_found()
    missing = sorted(set(range(len(video))) - set(found))
    warnings = [*result.warnings, *not_found(missing, len(video))]
    write_record(
        template / "records" / "segmentation.json",
        stage="segmentation",
        backend=name,
        settings=settings,
        metrics=measures.summary(),
        warnings=warnings,
        weights=result.weights,
        subject=result.subject,
        corrections=result.corrections,
        first_frame=found[0] if found else None,
        last_frame=found[-1] if found else None,
        missing_frames=missing,
    )


if __name__ == "__main__":
    sys.exit(main())
