"""What a benchmark measured and ran on, for its table."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def describe() -> str:
    """Commit of the checkout, number of cores this process may use, and the processor's name."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    commit = result.stdout.strip() or "unknown"
    name = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"commit {commit}, {len(os.sched_getaffinity(0))} cores, {name}"
