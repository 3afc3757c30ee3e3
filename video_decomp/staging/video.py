"""A video as a scene: whoever is in it stays there; camera and ground are said by hand or guessed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mimo.video import VideoReader, VideoWriter, has_audio
from video_decomp.ingest.__main__ import Settings as Ingest
from video_decomp.ingest.__main__ import ingest
from video_decomp.records import read_record
from video_decomp.registration import estimate_motion
from video_decomp.staging.camera import LENS
from video_decomp.staging.driver import Driver
from video_decomp.staging.frames import of_image, of_video
from video_decomp.staging.guide import WEIGHTS
from video_decomp.staging.interface import Scene, Wishes
from video_decomp.staging.picture import in_front
from video_decomp.staging.unattended import Unattended

TREMBLE = 0.01
"""Shorter sides by which the picture may be off in most frames for its camera to count as standing."""


def recognises(text: str) -> bool:
    """Whether it is a file; that it is a video shows when it is opened."""
    return Path(text).is_file()


def open_scene(text: str, driver: Driver, wishes: Wishes, scratch: Path) -> Scene:
    """Normalise a video and open it; see `video_decomp.staging.interface`.

    Raises:
        Rejected: it cannot be read.
    """
    path = Path(text)
    ingest(path, scratch, Ingest.model_validate({"short_side": wishes.short_side, "min_frames": 1}))
    record = read_record(scratch, "ingest")
    video = VideoReader(scratch / "vid.mp4")
    size = (video.info.width, video.info.height)
    source = sorted((record["source"]["width"], record["source"]["height"]))
    pixel = min(size) / source[0]
    found = Unattended.of(video.frame(0), (wishes.lens or LENS) * max(size), wishes, pixel, driver)
    warnings = [*record["warnings"]]
    if not _stands(video, scratch):
        warnings.append("the scene's camera moves, and the motion does not move with it; use a still scene")
    return Scene(
        kind="video",
        name=path.name,
        size=size,
        fps=video.info.fps,
        length=len(video),
        view=found.view(wishes, pixel),
        vid=of_video(video),
        bk=of_video(video),
        occ=None if wishes.occluder is None else of_image(in_front(wishes.occluder, size)),
        ground=found.ground,
        ground_from=found.source,
        weights=() if found.guide is None else WEIGHTS,
        sound=video.path if has_audio(video.path) else None,
        warnings=tuple(warnings),
    )


def _stands(video: VideoReader, scratch: Path) -> bool:
    """Whether the camera stands still, or trembles so little that nobody sees feet slip."""
    nobody = scratch / "mask.mp4"
    empty = np.zeros((video.info.height, video.info.width), np.uint8)
    with VideoWriter(nobody, video.info.fps, kind="mask") as writer:
        for _ in range(len(video)):
            writer.write(empty)
    width, height = video.info.width, video.info.height
    corners = np.array([[[0, 0]], [[width, 0]], [[width, height]], [[0, height]]], np.float64)
    camera = estimate_motion(video, VideoReader(nobody, gray=True))
    moved = np.array([cv2.perspectiveTransform(corners, way) - corners for way in camera.homographies])
    away = np.linalg.norm(moved, axis=-1).mean(axis=(1, 2))
    return bool(camera.shots.max() == 0 and np.quantile(away, 0.95) < TREMBLE * min(width, height))
