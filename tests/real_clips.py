"""Short templates with ``vid.mp4`` and ``mask.mp4`` from real footage, for stages after segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from mimo import weights
from mimo.video import VideoReader, VideoWriter
from video_decomp.blazepose import LandmarkNetwork, PersonDetector


def balancing_man(
    template: Path,
    frames: int,
    size: tuple[int, int] = (270, 480),
    nobody: tuple[int, ...] = (),
    variant: Literal["full", "heavy"] = "full",
) -> Path:
    """A man on a beam, every fourth frame, with MediaPipe's masks; frames in `nobody` have an empty mask."""
    weights.fetch(["blazepose-detector", f"blazepose-landmarks-{variant}", "pose2sim-cam02"])
    network, detector = LandmarkNetwork(variant), PersonDetector()
    roi = None
    with (
        VideoWriter(template / "vid.mp4", 15) as video,
        VideoWriter(template / "mask.mp4", 15, kind="mask") as masks,
    ):
        for number, image in enumerate(VideoReader(weights.path("pose2sim-cam02")).frames(0, 4 * frames)):
            if number % 4:
                continue
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            roi = roi or max(detector.detect_small(small), key=lambda one: one.roi.side).roi
            found = network.run_twice(small, roi)
            mask = np.where(found.mask_in_image(size[1], size[0]) > 0.5, 255, 0).astype(np.uint8)
            video.write(small)
            masks.write(np.zeros_like(mask) if number // 4 in nobody else mask)
    return template
