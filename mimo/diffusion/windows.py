"""Which frames the denoiser sees together: overlapping windows over a clip of any length."""

from __future__ import annotations

import math


def closed_windows(
    frames: int, size: int = 24, overlap: int = 4, *, stride: int = 1, step: int = 0
) -> list[list[int]]:
    """Windows of the reference implementation: the clip is a ring, so the last window wraps to frame 0.

    Args:
        frames: length of the clip.
        size: frames in a window; a clip of at most `size` frames is one window.
        overlap: frames that neighbouring windows share.
        stride: number of scales; scale s takes every 2^s-th frame (the reference runs with 1).
        step: denoising step; other values than 0 turn the ring (the reference always passes 0).

    Returns:
        Frame indices of each window. With ``stride > 1`` a frame can stand twice in a window.
    """
    if frames <= size:
        return [list(range(frames))]
    turn = _reversed_bits(step)
    offset = round(frames * turn)
    windows = []
    for scale in range(min(stride, math.ceil(math.log2(frames / size)) + 1)):
        spacing = 1 << scale
        for start in range(int(turn * spacing) + offset, frames + offset, size * spacing - overlap):
            windows.append([i % frames for i in range(start, start + size * spacing, spacing)])
    return windows


def open_windows(frames: int, size: int = 24, overlap: int = 4) -> list[list[int]]:
    """Windows that never join the end of a clip to its start; the last two overlap more than the rest.

    Args:
        frames, size, overlap: as for `closed_windows`.

    Returns:
        Frame indices of each window, consecutive and ascending.
    """
    if frames <= size:
        return [list(range(frames))]
    starts = [*range(0, frames - size, size - overlap), frames - size]
    return [list(range(start, start + size)) for start in starts]


def _reversed_bits(value: int) -> float:
    """The 64 bits of `value` read backwards as a fraction in [0, 1): a low-discrepancy sequence."""
    return int(f"{value:064b}"[::-1], 2) / (1 << 64)
