"""Where the GPU's time goes: by kind of kernel, by kernel, and by operation with its shapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

# Our own kernels by their whole names.
OWN_KINDS = {
    "attend": "attention",
    "pack": "attention",
    "_over_frames": "attention over frames",
    "_gated_product": "matrix product, gated",
    "_gate": "norms and other elementwise work",
}
# Of all others the first word found in the name decides.
KINDS = {
    "attention": ("flash", "fmha", "sdpa", "attention"),
    "convolution": ("conv", "fprop", "implicit", "winograd", "dgrad", "nhwcToNchw", "nchwToNhwc"),
    "matrix product": ("gemm", "nvjet", "cutlass", "cublas", "matmul", "triton_tem", "_mm_", "splitk"),
    "norms and other elementwise work": ("triton_", "elementwise", "softmax", "reduce", "layer_norm"),
    "copies": ("memcpy", "memset", "copy", "cat"),
}


# Parts of the denoiser by the operations that launch their kernels; compiled elementwise work has none.
PARTS = {
    "mimo::self_attention": "attention cores",
    "mimo::reference_attention": "attention cores",
    "mimo::shared_attention": "attention cores",
    "mimo::temporal_attention": "attention over frames",
    "mimo::gated_linear": "feed-forwards",
    "aten::convolution": "convolutions",
    "aten::mm": "projections",
    "aten::addmm": "projections",
    "aten::bmm": "projections",
}


def kernel_table(run: Callable[[], Any], top: int = 16) -> str:
    """Profile one call: milliseconds by kind, then the longest kernels, then the longest operations.

    Args:
        run: does GPU work; called once to warm up and once profiled.
        top: how many single kernels and operations to list.
    """
    run()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], record_shapes=True) as recorded:
        run()
        torch.cuda.synchronize()
    kinds: dict[str, float] = defaultdict(float)
    kernels: list[tuple[float, int, str]] = []
    for event in recorded.key_averages():
        # Spans that the compiler marks on the GPU's time line are no kernels.
        if event.device_type == DeviceType.CPU or event.key.startswith("## "):
            continue
        milliseconds = event.self_device_time_total / 1e3
        kinds[kind_of(event.key)] += milliseconds
        kernels.append((milliseconds, event.count, event.key))
    lines = [f"{time:9.2f} ms  {kind}" for kind, time in sorted(kinds.items(), key=lambda item: -item[1])]
    lines.append(f"{sum(kinds.values()):9.2f} ms  in all kernels; by part of the network:")
    lines += _parts(recorded, sum(kinds.values()))
    lines += _longest(kernels, top)
    return "\n".join([*lines, *_longest(_operations(recorded), top)])


def part_of(operation: str, shapes: list[Any]) -> str | None:
    """Part of the denoiser that an operation belongs to, by its name and its inputs' shapes."""
    if operation == "mimo::add_product":
        columns, channels = [shape for shape in shapes if len(shape) == 2 and isinstance(shape[0], int)][-1]
        return "feed-forwards" if channels == 4 * columns else "projections"
    return PARTS.get(operation)


def kind_of(kernel: str) -> str:
    """Kind of a kernel by its name."""
    if kernel in OWN_KINDS:
        return OWN_KINDS[kernel]
    name = kernel.lower()
    for kind, words in KINDS.items():
        if any(word.lower() in name for word in words):
            return kind
    return "other"


def _parts(recorded: profile, whole: float) -> list[str]:
    """Milliseconds by part of the denoiser; what no operation launched is compiled elementwise work."""
    parts: dict[str, float] = defaultdict(float)
    for event in recorded.events():
        part = part_of(event.name, event.input_shapes) if event.device_type == DeviceType.CPU else None
        outer = event.cpu_parent
        while part is not None and outer is not None:
            if outer.name.startswith("mimo::") or outer.name in PARTS:
                part = None
            outer = outer.cpu_parent
        if part is not None:
            parts[part] += event.device_time_total / 1e3
    parts["norms and other elementwise work, copies"] = whole - sum(parts.values())
    return [f"{time:9.2f} ms  {part}" for part, time in sorted(parts.items(), key=lambda item: -item[1])]


def _operations(recorded: profile) -> list[tuple[float, int, str]]:
    """Our operations with all that they run, and the library's outside of them, by shapes of their inputs."""
    found = []
    for event in recorded.key_averages(group_by_input_shape=True):
        if event.device_type != DeviceType.CPU or event.key == "Command Buffer Full":
            continue
        ours = event.key.startswith("mimo::")
        time = event.device_time_total if ours else event.self_device_time_total
        shapes = ", ".join(str(shape) for shape in event.input_shapes if shape)
        found.append((time / 1e3, event.count, f"{event.key} {shapes}"))
    return found


def _longest(items: list[tuple[float, int, str]], top: int) -> list[str]:
    return [f"{time:9.2f} ms {count:5d} x  {name[:110]}" for time, count, name in sorted(items)[::-1][:top]]
