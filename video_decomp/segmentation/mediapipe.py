"""Backend `mediapipe`: the landmark network's mask, tracked, refined to the image and steadied in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from mimo.stage import progress
from mimo.video import VideoReader
from video_decomp.blazepose import LandmarkNetwork, PersonDetector
from video_decomp.segmentation.interface import FrameMask, Segmentation, SubjectSettings
from video_decomp.segmentation.subject import Sighting, Track, choose, find_people, link
from video_decomp.segmentation.tracking import follow, key_frame_spacing


class Settings(SubjectSettings):
    """Settings of the backend `mediapipe`."""

    network: Literal["full", "heavy"] = Field(
        "full", description="landmark network; heavy is fetched separately and takes twice the time"
    )
    threads: int = Field(2, ge=1, description="CPU threads of the networks")


def segment(video: VideoReader, settings: Settings) -> Segmentation:
    """Find the subject and mask them.

    Raises:
        mimo.stage.Rejected: no person, person too small, or no full body in view.
    """
    network = LandmarkNetwork(settings.network, settings.threads)
    detector = PersonDetector(settings.threads)
    tracks = _survey(video, detector, network)
    subject = choose(tracks, settings, float(video.info.fps))
    best = max(subject.values(), key=lambda sighting: sighting.area * sighting.score)
    return Segmentation(
        masks=_masks(video, subject, network),
        subject={
            "chosen": settings.subject,
            "frame": best.frame,
            "box": [round(value) for value in best.box.tolist()],
            "area": round(best.area, 4),
            "people": len(tracks),
        },
        weights=["blazepose-detector", network.weights_name],
    )


def _survey(video: VideoReader, detector: PersonDetector, network: LandmarkNetwork) -> list[Track]:
    """Everyone in the clip, seen in key frames."""
    fps = float(video.info.fps)
    spacing = key_frame_spacing(fps)
    key_frames = []
    for index, image in enumerate(progress(video, "finding people", len(video))):
        if index % spacing == 0 or index == len(video) - 1:
            key_frames.append(find_people(image, index, detector, network))
    return link(key_frames, fps)


def _masks(video: VideoReader, subject: dict[int, Sighting], network: LandmarkNetwork) -> Iterator[FrameMask]:
    spacing = key_frame_spacing(float(video.info.fps))
    for tracked in follow(progress(video, "masking", len(video)), subject, spacing, network):
        height, width = tracked.image.shape[:2]
        if tracked.landmarks is None:
            yield FrameMask(tracked.image, np.zeros((height, width), np.uint8), 0.0)
            continue
        soft = tracked.landmarks.mask_in_image(height, width)
        mask = np.where(soft > 0.5, 255, 0).astype(np.uint8)
        yield FrameMask(tracked.image, mask, tracked.landmarks.score)
