"""Look at the whole of a long video once, for what the segments of it must agree about.

What that is, the backend of the stage knows: who the subject is and where, how the person is built, how the
camera moves.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimo.run.stages import STAGES
from mimo.segments import DIVIDED_STAGES, FOLDER
from mimo.stage import Rejected, backend_arguments
from mimo.video import VideoError, VideoReader
from mimo.worker.handover import perform
from video_decomp.masked_video import open_masked_video
from video_decomp.segments.part import write_survey

MODULE = "video_decomp.segments.survey"


def main(argv: list[str] | None = None) -> int:
    """Read the template's ``vid.mp4`` (and ``mask.mp4``); write ``segments/STAGE.npz``."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__, allow_abbrev=False)
    parser.add_argument("stage", choices=DIVIDED_STAGES, help="what for")
    parser.add_argument("--template", type=Path, required=True, metavar="DIR", help="of the whole video")
    arguments = sys.argv[1:] if argv is None else argv
    chosen = next((word for word in arguments if word in DIVIDED_STAGES), DIVIDED_STAGES[0])
    args, backend = backend_arguments(parser, STAGES[chosen], "", arguments)

    survey = args.template / FOLDER / f"{args.stage}.npz"

    def work() -> None:
        clips = _clips(args.template, args.stage)
        write_survey(survey, backend.survey(*clips, args.settings))

    return perform(MODULE, args, argv, work, makes=survey, stage=args.stage)


def _clips(template: Path, stage: str) -> tuple[VideoReader, ...]:
    """What the survey of a stage reads.

    Raises:
        Rejected: it is missing or damaged.
    """
    if stage != "segmentation":
        return open_masked_video(template)
    try:
        return (VideoReader(template / "vid.mp4"),)
    except VideoError as error:
        raise Rejected(f"{error}; run ingest first") from None


if __name__ == "__main__":
    sys.exit(main())
