"""Choice between kernels that compute the same, by a short measurement on the device at hand."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Kernel = Callable[[], Tensor]

# Chosen kernel for (operation, shape, dtype, device); "math" is tried only if nothing else runs.
_choice: dict[tuple[str, ...], str] = {}
_forced: str | None = None


def force_kernel(name: str | None) -> None:
    """Use one kernel everywhere, such as ``cudnn``, ``flash``, ``efficient`` or ``hopper``, or measure again.

    Where the named kernel does not exist for an operation, the measured choice stays.
    """
    global _forced
    _forced = name
    _choice.clear()


def chosen_kernels() -> dict[str, str]:
    """What was chosen so far: operation and shape in words → kernel."""
    return {" ".join(key[:3]): name for key, name in _choice.items()}


def in_half(x: Tensor) -> bool:
    """Whether our own kernels may be tried: in float32 they would round to TensorFloat-32."""
    return x.is_cuda and x.dtype in (torch.float16, torch.bfloat16)


def fastest(operation: str, shape: str, like: Tensor, kernels: dict[str, Kernel]) -> Tensor:
    """Run the kernel chosen for a shape; the first call of a shape measures all of them.

    Args:
        operation, shape: what is computed, in words.
        like: tensor of the computation's type and device.
        kernels: by name; with a single one nothing is measured.
    """
    if len(kernels) == 1:
        return next(iter(kernels.values()))()
    key = (operation, shape, str(like.dtype).removeprefix("torch."), str(like.device))
    if key not in _choice:
        _choice[key] = _measure(" ".join(key[:3]), kernels)
    return kernels[_choice[key]]()


def _measure(what: str, kernels: dict[str, Kernel]) -> str:
    """Name of the fastest kernel that runs and agrees with the others; the forced one if it does."""
    times: dict[str, float] = {}
    expected: Tensor | None = None
    for name, run in kernels.items():
        if name == "math" and times:
            continue
        try:
            result = run()
            if expected is None:
                expected = result
            elif not _close(result, expected):
                logger.warning("%s: %s gives other numbers; not used", what, name)
                continue
            times[name] = _milliseconds(run)
        except Exception as error:  # a kernel that fails in whatever way is only not used
            logger.info("%s: %s does not run here: %s", what, name, str(error).split("\n")[0])
    if not times:
        raise RuntimeError(f"{what}: no kernel runs on this device")
    best = min(times, key=lambda name: times[name])
    if _forced in times:
        best = str(_forced)
    table = ", ".join(f"{name} {time:.3f} ms" for name, time in times.items())
    logger.info("%s: %s (of %s)", what, best, table)
    return best


def _close(result: Tensor, expected: Tensor) -> bool:
    difference = (result - expected).abs().max()
    return bool(difference <= 0.02 * expected.abs().max() + 1e-6)


def _milliseconds(run: Kernel, repeats: int = 3) -> float:
    """Mean time of a call on the GPU, after one call to warm up."""
    run()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats
