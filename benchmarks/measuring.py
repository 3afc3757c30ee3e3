"""Times, peaks and differences on a GPU, printed as they come."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Report:
    """Collects numbers, prints them as they come and writes them to a file, if there is one, at once."""

    def __init__(self, output: Path | None) -> None:
        self.values: dict[str, Any] = {}
        self._output = output
        self._started = time.perf_counter()

    def add(self, name: str, value: Any, unit: str = "") -> None:
        """Record and print one value."""
        self.values[name] = value
        text = f"{value:.4g}" if isinstance(value, float) else value
        print(f"[{time.perf_counter() - self._started:6.1f} s] {name}: {text} {unit}", flush=True)
        if self._output is not None:
            self._output.write_text(json.dumps(self.values, indent=1) + "\n")

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Peak memory and wall time of a block."""
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        yield
        torch.cuda.synchronize()
        self.add(f"{name} seconds", time.perf_counter() - started, "s")
        self.add(f"{name} peak", torch.cuda.max_memory_allocated() / 2**30, "GiB")


def timed(run: Callable[[], Any], repeats: int) -> float:
    """Milliseconds of a call on the GPU: median of `repeats`, after one that warms up."""
    run()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return float(np.median(times))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Decibels between two videos in [0, 1]; identical ones give infinity."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def relative(value: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest value."""
    return float((value.float() - expected.float()).abs().max() / expected.float().abs().max())
