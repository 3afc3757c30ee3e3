"""What a benchmark ran on, for its table."""

from __future__ import annotations

import os
from pathlib import Path


def describe() -> str:
    """Number of cores this process may use, and the processor's name."""
    name = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{len(os.sched_getaffinity(0))} cores, {name}"
