"""One line of the perception benchmark's table; see `benchmarks.perception`."""

from __future__ import annotations

from dataclasses import dataclass


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
