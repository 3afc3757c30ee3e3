"""A staged template on disk: the scene's videos, the motion in it, record, preview; ``config.json`` last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from mimo.body.motion import Motion
from mimo.body.motion_code import drawn_motion
from mimo.files import remove
from mimo.stage import progress
from mimo.template import CONFIG, SCENE_MOTION, STAGED, open_videos
from mimo.video import VideoWriter
from video_decomp.pack import write_template_config
from video_decomp.preview import write_preview
from video_decomp.records import read_record
from video_decomp.staging.interface import Scene

STAGE = "staging"
PREVIEW_TIMES = 8


@dataclass(frozen=True)
class Sound:
    """Sound of the result: a file, and the second of it that belongs to the first frame."""

    path: Path
    start: float


def write_videos(
    folder: Path,
    scene: Scene,
    motion: Motion,
    numbers: np.ndarray,
    fps: Fraction,
    front: Iterator[np.ndarray] | None,
    sound: Sound | None,
) -> None:
    """Write videos and motions of a template.

    Args:
        folder: the template; its ``config.json`` goes first.
        scene: what is seen.
        motion: (T frames) in the scene.
        numbers: (T,) frames of the scene.
        fps: frames a second.
        front: T soft masks of what covers the person; None: nothing does.
        sound: to put beside the pictures.
    """
    for name in (CONFIG, "occ.mp4", SCENE_MOTION):
        remove(folder / name)
    motion.save(folder / "motion.npz")
    if scene.person is not None:
        scene.person.taken(numbers).save(folder / SCENE_MOTION)
    with VideoWriter(
        folder / "vid.mp4",
        fps,
        audio_from=sound.path if sound else None,
        audio_start=sound.start if sound else 0.0,
    ) as writer:
        _write(writer, scene.vid(numbers), "scene", len(numbers))
    with VideoWriter(folder / "bk.mp4", fps) as writer:
        _write(writer, scene.bk(numbers), "background", len(numbers))
    with VideoWriter(folder / "sdc.mp4", fps) as writer:
        _write(writer, (image for image, _ in drawn_motion(motion)), "body", len(numbers))
    with VideoWriter(folder / "mask.mp4", fps, kind="mask") as writer:
        nobody = np.zeros((scene.size[1], scene.size[0]), np.uint8)
        masks = scene.mask(numbers) if scene.mask else (nobody for _ in numbers)
        _write(writer, masks, "mask", len(numbers))
    if front is not None:
        with VideoWriter(folder / "occ.mp4", fps, kind="mask") as writer:
            _write(writer, front, "in front", len(numbers))


def _write(writer: VideoWriter, frames: Iterator[np.ndarray], what: str, count: int) -> None:
    for frame in progress(frames, what, total=count):
        writer.write(np.ascontiguousarray(frame))


def write_config(folder: Path, name: str, scene: Scene, frames: int, fps: Fraction) -> None:
    """Write ``preview.png`` and, last, ``config.json``.

    Args:
        folder: the template with its videos, motion and record.
        name: of the template.
        scene: what it shows.
        frames: how many.
        fps: frames a second.
    """
    write_preview(folder / "preview.png", open_videos(folder), PREVIEW_TIMES, range(frames))
    records = {STAGE: read_record(folder, STAGE)}
    write_template_config(
        folder,
        name,
        fps,
        frames,
        scene.size,
        (0, frames),
        records,
        kind=STAGED,
        plain=scene.plain,
        transparent=scene.transparent,
    )
