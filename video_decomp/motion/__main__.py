"""Command line: a file with 3D motion becomes a motion template, which moves a character on white."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from pydantic import Field

from mimo import weights
from mimo.body.figure import Figure
from mimo.body.model import BodyModel, Topology
from mimo.body.rig import rig_of
from mimo.body.smpl import install
from mimo.stage import Rejected, run, stage_arguments
from video_decomp.motion.arrange import looped, mirrored
from video_decomp.motion.grounding import on_ground
from video_decomp.motion.interface import SkeletonMotion, Source
from video_decomp.motion.measures import foot_metrics
from video_decomp.motion.reading import read_motion
from video_decomp.motion.rest_pose import with_standing_rest
from video_decomp.motion.retarget import retarget
from video_decomp.motion.timing import resampled
from video_decomp.motion.view import View, shot_of
from video_decomp.motion.writing import STAGE, motion_of, write_template

ANNY, SMPL = "anny-body", "smpl-neutral"
LONGEST = 20000
"""Frames of a template at most; about 11 minutes at 30 a second."""


class Settings(Source, View):
    """Settings of the import of 3D motion."""

    fps: float = Field(30, gt=1, le=120, description="frames a second of the template")
    start: float = Field(0, ge=0, description="seconds of the file to begin at")
    end: float | None = Field(None, gt=0, description="seconds of the file to end at; null: its end")
    speed: float = Field(1, ge=0.05, le=20, description="2 is twice as fast")
    mirror: bool = Field(False, description="exchange left and right")
    loop: int = Field(
        1, ge=1, le=1000, description="how often the motion is repeated, each from where it ended"
    )
    blend: float = Field(0.25, ge=0, le=5, description="seconds before a seam of the loop that pass over it")
    ground: bool = Field(True, description="keep standing feet from sliding, sinking and floating")
    body: Path | None = Field(
        None, description="SMPL or SMPL-H model file of yours, for a motion of that body; null: Anny's"
    )

    def weight_files(self) -> dict[str, Path | None]:
        """See `StageSettings.weight_files`."""
        return {ANNY: None} if self.body is None else {SMPL: self.body}


def main(argv: list[str] | None = None) -> int:
    """Run the import; see the module's help.

    Returns:
        0 when done, 3 when the input was rejected.
    """
    parser = argparse.ArgumentParser(prog="python -m video_decomp.motion", description=__doc__)
    parser.add_argument(
        "motion",
        type=Path,
        metavar="FILE",
        help="AMASS .npz, .bvh, DeepMimic's humanoid3d .txt, PHALP's .pkl, a template or motion.npz",
    )
    parser.add_argument("-o", "--template", type=Path, required=True, metavar="DIR", help="template to make")
    parser.add_argument("--name", help="name of the template (default: the folder's)")
    args, settings = stage_arguments(parser, Settings, argv)
    return run(
        lambda: make(args.motion, args.template, args.name or args.template.resolve().name, settings),
        makes=args.template / "records" / f"{STAGE}.json",
    )


def make(path: Path, folder: Path, name: str, settings: Settings) -> None:
    """Make a motion template of a file.

    Args:
        path: file with 3D motion.
        folder: template to make.
        name: what to call it.
        settings: how.

    Raises:
        Rejected: the file cannot be read or used.
    """
    source = with_standing_rest(read_motion(path, settings))
    part = resampled(source, settings.fps, settings.start, settings.end, settings.speed)
    if len(part) * settings.loop > LONGEST:
        raise Rejected(
            f"{path}: {len(part)} frames {settings.loop} times; a template has {LONGEST} at most: see "
            "--start, --end, --loop"
        )
    body = _body(source, settings)
    figure = Figure(body, rig_of(body.topology))
    poses = retarget(part, body, figure)
    if settings.mirror:
        poses = mirrored(poses, figure)
    poses = looped(poses, settings.loop, round(settings.blend * settings.fps))
    grounded = on_ground(poses, figure, settings.fps, fixed=settings.ground)
    metrics = foot_metrics(grounded.poses, figure, grounded.standing)
    shot = shot_of(grounded.poses, figure, settings, settings.fps)
    write_template(
        folder,
        name,
        path,
        motion_of(grounded.poses, figure, shot, _shape(source, body)),
        settings.fps,
        settings,
        metrics={
            "frames": len(grounded.poses),
            "source_frames": len(source),
            "source_fps": round(source.fps, 3),
        }
        | {"before": foot_metrics(grounded.before, figure, grounded.standing)}
        | metrics,
        warnings=list(source.warnings),
        weights=[SMPL if settings.body else ANNY],
        source=source.kind,
    )


def _body(source: SkeletonMotion, settings: Settings) -> BodyModel:
    """Whose motion it becomes: the file's person, where it is of that body, else an average one."""
    topology = Topology.load() if settings.body is None else install(weights.path(SMPL, settings.body))
    return topology.body(_shape_for(source, topology))


def _shape_for(source: SkeletonMotion, topology: Topology) -> np.ndarray:
    smpl = topology.model.startswith("smpl") and source.rest_of.startswith("smpl")
    if source.shape is None or not (smpl or source.rest_of == topology.model):
        return np.zeros(0, np.float32)
    return source.shape[: topology.components]


def _shape(source: SkeletonMotion, body: BodyModel) -> np.ndarray:
    shape = _shape_for(source, body.topology)
    return np.concatenate([shape, np.zeros(body.topology.components - len(shape), np.float32)])


if __name__ == "__main__":
    sys.exit(main())
