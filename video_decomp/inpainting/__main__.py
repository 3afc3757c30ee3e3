"""Command line of the inpainting stage: ``vid.mp4`` and ``mask.mp4`` become ``bk.mp4``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimo.stage import backend_arguments, write_record
from mimo.video import VideoWriter
from mimo.worker.handover import perform
from video_decomp.inpainting.quality import measure
from video_decomp.masked_video import open_masked_video
from video_decomp.segments.part import add_survey_argument, known_of_whole

STAGE = "video_decomp.inpainting"


def main(argv: list[str] | None = None) -> int:
    """Run the stage; see the module's help."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {STAGE}",
        description="Take the person out of a template's video: writes bk.mp4 and records/inpainting.json.",
    )
    parser.add_argument("--template", type=Path, required=True, help="folder with vid.mp4 and mask.mp4")
    add_survey_argument(parser)
    args, backend = backend_arguments(parser, STAGE, "plate", argv)
    template, settings = args.template, args.settings
    record = template / "records" / "inpainting.json"

    def work() -> None:
        frames, masks = open_masked_video(template)
        told = known_of_whole(template, args.survey)
        output = template / "bk.mp4"
        with VideoWriter(output, frames.info.fps) as writer:
            outcome = backend.inpaint(frames, masks, writer.write, settings, **told)
        changed = backend.changed_within(settings, frames)
        write_record(
            record,
            stage="inpainting",
            backend=args.backend,
            settings=settings,
            metrics=outcome.metrics
            | measure(template, changed)
            | {"changed_within_pixels": round(changed, 1)},
            warnings=outcome.warnings,
            weights=outcome.weights,
        )

    return perform(STAGE, args, argv, work, makes=record)


if __name__ == "__main__":
    sys.exit(main())
