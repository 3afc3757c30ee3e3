"""Where the GPU's time goes, by kind of kernel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

# First word found in a kernel's name decides its kind.
KINDS = {
    "attention": ("flash", "fmha", "sdpa", "attention", "with_bank", "over_frames"),
    "convolution": ("conv", "fprop", "implicit", "winograd", "dgrad", "nhwcToNchw", "nchwToNhwc"),
    "matrix product": ("gemm", "nvjet", "cutlass", "cublas", "matmul", "triton_tem", "_mm_"),
    "fused elementwise and norms": ("triton_",),
    "copies": ("memcpy", "memset", "copy", "cat"),
}


def kernel_table(run: Callable[[], Any], top: int = 12) -> str:
    """Profile one call: milliseconds by kind, then the longest kernels.

    Args:
        run: does GPU work; called once to warm up and once profiled.
        top: how many single kernels to list.
    """
    run()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        run()
        torch.cuda.synchronize()
    kinds: dict[str, float] = defaultdict(float)
    kernels: list[tuple[float, int, str]] = []
    for event in recorded.key_averages():
        milliseconds = event.self_device_time_total / 1e3
        kinds[kind_of(event.key)] += milliseconds
        kernels.append((milliseconds, event.count, event.key))
    lines = [f"{time:9.2f} ms  {kind}" for kind, time in sorted(kinds.items(), key=lambda item: -item[1])]
    lines.append(f"{sum(kinds.values()):9.2f} ms  in all kernels")
    lines += [
        f"{time:9.2f} ms {count:5d} x  {name[:90]}" for time, count, name in sorted(kernels)[::-1][:top]
    ]
    return "\n".join(lines)


def kind_of(kernel: str) -> str:
    """Kind of a kernel by its name."""
    name = kernel.lower()
    for kind, words in KINDS.items():
        if any(word.lower() in name for word in words):
            return kind
    return "other"
