"""How much device memory a clip needs, told before it starts."""

from __future__ import annotations

import torch

from mimo.stage import Rejected
from video_decomp.propainter.windows import Windows

GIB = 2**30
WEIGHTS = 50e6
RESERVE = 0.5 * GIB
"""Libraries' own buffers and what the allocator cannot use."""
WORKSPACE = 1500
"""Bytes a pixel that convolutions over time take for their own work: measured 7.2 GiB where 5.9 are counted
(1280x720), and 3.6 where 3.1 are (672x720); see benchmarks/results/perception.md."""


def estimate(height: int, width: int, windows: Windows, dtype: torch.dtype) -> float:
    """Bytes that a device needs at most; the stages come one after the other, features of frames stay.

    Args:
        height, width: of the crop, pixels.
        windows: the plan.
        dtype: of the networks.
    """
    pixels, size = height * width, 4 if dtype == torch.float32 else 2
    near = min(windows.count, 2 * windows.neighbours + 1)
    distant = min(windows.count, windows.sub_video) / windows.reference_stride
    sub_video = min(windows.count, windows.sub_video + 20)
    # All pairs of places at an eighth of the size, and the same turned round, coarser copies; in float32.
    flow = (pixels / 64) ** 2 * 4 * (2 + 1 / 3) + pixels * 64 * size
    # Two flows and a mask, features at a quarter (64) and an eighth (128, five times) of the size; and a
    # piece of 28 frames in the encoder, 32 channels at half the size, three times.
    completion = (
        pixels * size * (sub_video * (4 + 3 + 4 + 64 / 16 + 5 * 128 / 64) + 28 * 3 * 32 / 4)
        + pixels * WORKSPACE
    )
    propagation = pixels * size * (sub_video * 5 + 64)
    tokens = (near + distant) / 144 * 512 * 8
    generator = pixels * size * (near * 3 * 128 / 16 + tokens + 4 * 3 * 1960 / 144 + 64 * 3 + 600)
    kept = pixels * size * (near + 2 * distant) * 128 / 16
    return WEIGHTS * size + RESERVE + kept + max(flow, completion, propagation, generator)


def check_memory(device: torch.device, needed: float, height: int, width: int) -> None:
    """Refuse a clip for which a GPU has too little memory.

    Raises:
        Rejected: with what is needed, what is there, and what to change.
    """
    if device.type != "cuda":
        return
    free, total = torch.cuda.mem_get_info(device)
    if needed > free:
        raise Rejected(
            f"the person's path of {width}x{height} pixels needs about {needed / GIB:.1f} GiB of GPU memory, "
            f"and {free / GIB:.1f} of {total / GIB:.1f} are free: end what else runs there, lower sub_video "
            "or context, use float16, or ingest the video at a smaller size"
        )
