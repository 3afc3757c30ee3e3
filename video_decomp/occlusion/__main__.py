"""Command line of the occlusion stage: what passes in front of the person becomes ``occ.mp4``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimo.body.motion import Motion
from mimo.files import remove, sha256
from mimo.stage import Rejected, backend_arguments, progress, write_record
from mimo.video import VideoReader, VideoWriter
from mimo.worker.handover import perform
from video_decomp.masked_video import open_masked_video
from video_decomp.occlusion.interface import Occlusion
from video_decomp.occlusion.measures import LayerMeasures

STAGE = "video_decomp.occlusion"


def main(argv: list[str] | None = None) -> int:
    """Run the stage; see the module's help."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {STAGE}",
        description="Find what passes in front of the person: writes records/occlusion.json, and occ.mp4 "
        "only if there is something (an occ.mp4 of an earlier run is removed if there is not).",
    )
    parser.add_argument(
        "--template", type=Path, required=True, help="folder with vid.mp4, mask.mp4 and motion.npz"
    )
    args, backend = backend_arguments(parser, STAGE, "geometry", argv)
    template, settings = args.template, args.settings
    record = template / "records" / "occlusion.json"

    def work() -> None:
        frames, masks = open_masked_video(template)
        motion = load_motion(template / "motion.npz", frames)
        output = template / "occ.mp4"
        if motion.visible.any():
            found = backend.find_occluders(frames, masks, motion, settings)
        else:
            found = Occlusion([], iter(()))
        measures = LayerMeasures()
        if found.occluders:
            with VideoWriter(output, frames.info.fps, kind="mask") as writer:
                for mask in progress(found.frames, "occluders", total=len(frames)):
                    writer.write(mask)
                    measures.add(mask)
        else:
            remove(output)
        write_record(
            record,
            stage="occlusion",
            backend=args.backend,
            settings=settings,
            metrics=found.metrics | measures.summary(),
            warnings=found.warnings,
            weights=found.weights,
            occluders=[occluder.model_dump(mode="json") for occluder in found.occluders],
            occ_sha256=sha256(output) if found.occluders else None,
        )

    return perform(STAGE, args, argv, work, makes=record)


def load_motion(path: Path, frames: VideoReader) -> Motion:
    """Read a clip's motion.

    Raises:
        Rejected: it is damaged or of another clip.
    """
    motion = Motion.load(path)
    width, height = (round(float(value)) for value in motion.camera[3:])
    ours = (frames.info.width, frames.info.height, frames.info.frames)
    if (width, height, len(motion)) != ours:
        raise Rejected(
            f"{path}: motion of {len(motion)} frames at {width}x{height}, but {frames.path.name} has "
            f"{ours[2]} frames at {ours[0]}x{ours[1]}; run the pose stage of this video again"
        )
    return motion


if __name__ == "__main__":
    sys.exit(main())
