"""Numbers a finished background is judged by, measured on the decoded files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mimo.video import VideoReader
from video_decomp.inpainting.interface import mask_distance

RING = 3
RUNS, RUN = 5, 6


def psnr(squared_error: float, count: float) -> float | None:
    """Peak signal-to-noise ratio in dB of summed squared errors over `count` values; None without values."""
    if not count:
        return None
    return float(10 * np.log10(255**2 / max(squared_error / count, 1e-9)))


def measure(template: Path, changed: float) -> dict[str, Any]:
    """Compare a template's ``bk.mp4`` with its ``vid.mp4`` in some runs of frames, evenly spread.

    Args:
        template: folder with both and ``mask.mp4``.
        changed: pixels around the mask that may differ.

    Returns:
        ``psnr_outside_db``: beyond `changed`, what the codec cost. ``seam``: mean step in brightness across
        the border of the changed area, minus the mean step just outside it (levels; about 0 = no visible
        border). ``flicker``: mean change from frame to frame of places that are filled in both, over that of
        the same number of places around them (levels, both; a static scene has the noise of the camera).
    """
    error = count = 0.0
    seams: list[float] = []
    inside_change: list[float] = []
    around_change: list[float] = []
    before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    for first, frame, filled, mask in _triples(template):
        before = None if first else before
        distance = mask_distance(mask)
        outside = distance > changed + 1
        difference = cv2.absdiff(frame, filled).astype(np.float32)
        error += float((difference[outside] ** 2).sum())
        count += 3 * float(outside.sum())
        gray = cv2.cvtColor(filled, cv2.COLOR_RGB2GRAY).astype(np.float32)
        core = distance < changed / 2
        near = (distance > changed + 1) & (distance < 3 * changed + 8)
        if core.any() and near.any():
            seams.append(_seam(gray, distance, changed))
            if before is not None:
                inside_change.extend(_change(gray, before[0], core & before[1]))
                around_change.extend(_change(gray, before[0], near & before[2]))
        before = (gray, core, near)
    return {
        "psnr_outside_db": _rounded(psnr(error, count)),
        "seam": _rounded(_mean(seams)),
        "flicker": {"filled": _rounded(_mean(inside_change)), "around": _rounded(_mean(around_change))},
    }


def _triples(template: Path) -> Iterator[tuple[bool, np.ndarray, np.ndarray, np.ndarray]]:
    """Frames of ``vid.mp4``, ``bk.mp4`` and ``mask.mp4``, and whether they are the first of a run."""
    frames = VideoReader(template / "vid.mp4")
    filled = VideoReader(template / "bk.mp4")
    masks = VideoReader(template / "mask.mp4", gray=True)
    starts = np.linspace(0, max(0, len(frames) - RUN), min(RUNS, -(-len(frames) // RUN))).round().astype(int)
    for start in starts.tolist():
        runs = (reader.frames(start, start + RUN) for reader in (frames, filled, masks))
        for index, triple in enumerate(zip(*runs, strict=True)):
            yield (index == 0, *triple)


def _seam(gray: np.ndarray, distance: np.ndarray, changed: float) -> float:
    """Mean gradient along the border of the changed area less that along a line some pixels outside."""
    steps = cv2.magnitude(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)) / 8
    border = np.abs(distance - changed) < RING
    outside = np.abs(distance - changed - 4 * RING) < RING
    if not border.any() or not outside.any():
        return 0.0
    return float(steps[border].mean() - steps[outside].mean())


def _change(gray: np.ndarray, before: np.ndarray, where: np.ndarray) -> list[float]:
    return [float(np.abs(gray[where] - before[where]).mean())] if where.any() else []


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
