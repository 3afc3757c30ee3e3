"""Command line of the pose stage: ``vid.mp4`` and ``mask.mp4`` become ``motion.npz`` and ``sdc.mp4``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mimo.stage import backend_arguments, progress, write_record
from mimo.video import VideoReader, VideoWriter
from mimo.worker.handover import perform
from video_decomp.masked_video import open_masked_video
from video_decomp.pose.interface import NobodySeen
from video_decomp.pose.render import Coverage, motion_code
from video_decomp.pose.unseen import nobody, write_drawing
from video_decomp.sam2.streams import ahead
from video_decomp.segments.part import add_survey_argument, is_segment, known_of_whole

STAGE = "video_decomp.pose"
DECODED_AHEAD = 8


def main(argv: list[str] | None = None) -> int:
    """Run the stage; see the module's help."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {STAGE}",
        description="Fit a body to a template's video: writes motion.npz, sdc.mp4 and records/pose.json.",
    )
    parser.add_argument("--template", type=Path, required=True, help="folder with vid.mp4 and mask.mp4")
    add_survey_argument(parser)
    args, backend = backend_arguments(parser, STAGE, "anny", argv)
    template: Path = args.template
    record = template / "records" / "pose.json"

    def work() -> None:
        started = time.perf_counter()
        frames, masks = open_masked_video(template)
        pairs = progress(masked_frames(frames, masks), "pose", len(frames))
        told = known_of_whole(template, args.survey)
        try:
            estimate = backend.estimate(pairs, float(frames.info.fps), args.settings, **told)
        except NobodySeen:
            if not is_segment(template):
                raise
            estimate = nobody(frames.info)
        if is_segment(template):
            write_drawing(estimate, template)
        estimate.motion.save(template / "motion.npz")
        coverage = Coverage()
        with VideoWriter(template / "sdc.mp4", frames.info.fps) as writer:
            drawn = motion_code(estimate, masks, coverage)
            for image in progress(drawn, "drawing", len(frames)):
                writer.write(image)
        seconds = (time.perf_counter() - started) / len(frames)
        write_record(
            record,
            stage="pose",
            backend=args.backend,
            settings=args.settings,
            metrics=estimate.metrics
            | {"mask_iou_median": round(coverage.median, 4), "seconds_per_frame": round(seconds, 3)},
            warnings=estimate.warnings,
            weights=estimate.weights,
        )

    return perform(STAGE, args, argv, work, makes=record)


def masked_frames(frames: VideoReader, masks: VideoReader) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames with their masks, both decoded while the backend works on earlier ones."""
    return zip(ahead(frames, DECODED_AHEAD), ahead(masks, DECODED_AHEAD), strict=True)


if __name__ == "__main__":
    sys.exit(main())
