"""One line of the perception benchmark's table, and how it is measured; see `benchmarks.perception`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Row:
    """What one variant of one stage reached.

    A section is a module ``benchmarks.perception_STAGE`` with
    ``measure(frames: int, size: tuple[int, int], device: str) -> list[Row]``, size as (width, height).

    Attributes:
        stage: ``segmentation``, ``pose``, ``occlusion`` or ``inpainting``.
        variant: what was measured: ours, a library's own way, with its settings.
        frames_per_second: frames of the clip over seconds of the whole loop, without loading and warming up;
            None for what cannot be said so.
        peak_gib: highest memory that PyTorch had allocated on the device in the measured part, GiB; None on
            a CPU.
        note: number of frames, batch, precision, what the number leaves out.
    """

    stage: str
    variant: str
    frames_per_second: float | None
    peak_gib: float | None
    note: str = ""


def timed(device: str, work: Callable[[], object]) -> tuple[float, float | None]:
    """Seconds of some work, and its peak of the device's memory in GiB (None on a CPU)."""
    if not device.startswith("cuda"):
        started = time.perf_counter()
        work()
        return time.perf_counter() - started, None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started, torch.cuda.max_memory_allocated() / 2**30
