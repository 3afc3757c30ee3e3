"""Occlusion backend ``geometry``: what hides a part of the body that should be seen.

Where the fitted body should be seen for some frames and is not (`hidden`), something is in front of it.
Pixels that look there as the empty scene does belong to a thing that stands in the scene: its outline is
found on the empty scene (`still`), with the places where the person was seen as what is behind it. Pixels
that look different belong to something that moves: it is what differs from the empty scene (`moving`).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from pydantic import Field

from mimo.body.motion import Motion
from mimo.stage import StageSettings, progress
from mimo.video import VideoReader
from video_decomp.occlusion.hidden import views
from video_decomp.occlusion.interface import Occlusion
from video_decomp.occlusion.search import Found, Search, enough_hidden
from video_decomp.registration import CameraMotion, estimate_motion
from video_decomp.scene_plate import segments, to_canvas, warp

GAP = 2
IN_FRONT = 0.03


class Settings(StageSettings):
    """Settings of the geometry backend."""

    fit_tolerance: float = Field(
        0.02, gt=0, le=0.2, description="expected error of the fitted body's outline, share of its height"
    )
    min_share: float = Field(
        0.025, gt=0, le=1, description="share of the body that must be hidden in at least one frame"
    )
    min_frames: int = Field(3, ge=2, description="frames in which something must be hidden")
    reach: float = Field(
        1.0, gt=0, le=3, description="how far around the hidden places a thing is outlined, in body heights"
    )
    feather: float = Field(1.2, ge=0, le=10, description="softness of the edge, pixels")


def find_occluders(frames: VideoReader, masks: VideoReader, motion: Motion, settings: Settings) -> Occlusion:
    """Find what passes in front of the person; see `interface.Backend`."""
    shares = np.zeros(len(frames))
    for view in progress(views(masks, motion, settings.fit_tolerance), "hidden parts", total=len(frames)):
        shares[view.index] = view.share
    runs = hidden_runs(shares, settings)
    metrics = {
        "hidden_share_max": round(float(shares.max(initial=0)), 4),
        "frames_with_hidden_parts": sum(stop - start for start, stop in runs),
    }
    if not runs:
        return Occlusion([], iter(()), metrics)
    camera = estimate_motion(frames, masks)
    search = Search(frames, masks, motion, camera, settings.fit_tolerance, settings.reach)
    found = Found()
    for segment in segments(camera):
        search.look_at(segment, runs, settings, found)
    return Occlusion(
        found.occluders, _render(masks, camera, found, settings.feather), metrics, found.warnings
    )


def hidden_runs(shares: np.ndarray, settings: Settings) -> list[tuple[int, int]]:
    """Runs (start, stop) of frames in which enough of the body is hidden for long enough.

    Args:
        shares: (T,) hidden share of the body in every frame.
    """
    runs: list[tuple[int, int]] = []
    for index in np.flatnonzero(shares > settings.min_share / 3).tolist():
        if runs and index - runs[-1][1] <= GAP:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return [(start, stop) for start, stop in runs if enough_hidden(shares[start:stop], settings)]


def _render(masks: VideoReader, camera: CameraMotion, found: Found, feather: float) -> Iterator[np.ndarray]:
    """The soft mask of everything in front, frame by frame."""
    soft = [(segment, _softened(thing.mask, feather)) for segment, thing in found.still]
    for index, mask in enumerate(masks):
        result = np.zeros(mask.shape, np.uint8)
        person = mask > 127
        for segment, thing in soft:
            if not segment.start <= index < segment.stop:
                continue
            if not segment.static:
                matrix = np.linalg.inv(to_canvas(camera, segment, index))
                thing = warp(thing, matrix, camera.size, mask=True)
            # The person may walk around a thing: then it is behind.
            if (person & (thing > 250)).sum() <= IN_FRONT * person.sum():
                result = np.maximum(result, thing)
        if index in found.moving:
            result = np.maximum(result, _softened(found.moving_mask(index), feather))
        yield result


def _softened(mask: np.ndarray, feather: float) -> np.ndarray:
    """A bool mask as uint8 with a soft edge."""
    hard = mask.astype(np.uint8) * 255
    return np.asarray(cv2.GaussianBlur(hard, (0, 0), feather)) if feather > 0 else hard
