"""The layers of a template as an artist wants to see them: small, some over the dimmed source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimo.video import VideoReader, VideoWriter

SIDE = 800
"""Longer side at most, pixels."""
QUALITY = 24
DIMMED = 0.3
"""Brightness of the source where a layer is not."""
OUTLINE = (255, 210, 63)
CODE_FROM = 10
"""Grey value from which on a pixel of the motion code is body (the reference implementation's)."""


@dataclass(frozen=True)
class Layer:
    """One of the pictures that stand side by side.

    Attributes:
        name: of the layer, and of the template's video that it shows.
        title: for users.
        hint: what to look for.
        missing: what it means that it is not there in a finished template.
    """

    name: str
    title: str
    hint: str
    missing: str


ABSENT = "Not part of this template."
LAYERS = (
    Layer("vid", "Source", "the driving video", ABSENT),
    Layer("mask", "Mask", "who is replaced", ABSENT),
    Layer("sdc", "Body", "how they move", ABSENT),
    Layer("bk", "Background", "the scene without them", ABSENT),
    Layer("occ", "Occluder", "what passes in front", "Nothing passes in front."),
)


def write_layer(path: Path, template: Path, layer: str) -> None:
    """Write one layer of a template as a small video with as many frames.

    Args:
        path: ``.mp4`` to write.
        template: its folder; the layer's video must be there. ``vid.mp4`` is dimmed behind mask, body and
            occluder, if it is there.
        layer: name of one of `LAYERS`.

    Raises:
        VideoError: a video cannot be read.
    """
    video = VideoReader(template / f"{layer}.mp4", gray=layer in ("mask", "occ"))
    behind = template / "vid.mp4"
    alone = layer in ("vid", "bk") or not behind.is_file()
    frames = _small(video)
    if not alone:
        frames = _over_source(frames, _small(VideoReader(behind)), layer)
    with VideoWriter(path, video.info.fps, crf=QUALITY) as writer:
        for frame in frames:
            writer.write(frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, 2))


def _small(video: VideoReader) -> Iterator[np.ndarray]:
    """Frames, uint8, (h, w, 3) or (h, w) grey, even, with a longer side of at most `SIDE`."""
    width, height = video.info.width, video.info.height
    scale = min(1.0, SIDE / max(width, height))
    size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
    for frame in video.frames():
        yield cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _over_source(
    frames: Iterator[np.ndarray], sources: Iterator[np.ndarray], layer: str
) -> Iterator[np.ndarray]:
    """A layer's frames over the dimmed source's, (h, w, 3) uint8."""
    for frame, source in zip(frames, sources, strict=True):
        code = layer == "sdc"
        inside = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) > CODE_FROM if code else frame > 127
        picture = cv2.convertScaleAbs(source, alpha=DIMMED)
        cv2.copyTo(frame if code else source, inside.astype(np.uint8), picture)
        if layer == "mask":
            edges, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, edges, -1, OUTLINE, 1, cv2.LINE_AA)
        yield picture
