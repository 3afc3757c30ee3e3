"""Workers that wait make room for a job: loaded networks of several stages must not pile up.

Before a job begins, its process looks whether the memory that the job asks for is free: on its GPU, and in
the computer (or the part of it that a cluster's scheduler or a container allows). If it is not, other workers
that have nothing to do are asked to end, those that have waited longest first, until it is. Workers at work
stay.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mimo.runtime_folder import runtime_folder
from mimo.worker.sockets import LEAVE, Order, card, connect

# Seconds within which a worker that waits answers; one at work does not.
_ANSWER = 2.0
# Seconds that it may take to end.
_END = 20.0


def make_room(order: Order, own: Path | None = None) -> None:
    """Let workers that wait end, as far as a job needs their memory.

    Args:
        order: the job.
        own: socket of the worker that does it, if one does.
    """
    _ask(own, f"{card()}-*.socket", order.gpu_mem_mb, gpu_mb_left)
    _ask(own, "*.socket", order.mem_mb, main_mb_left)


def _ask(own: Path | None, which: str, needed: int, left: Callable[[], float]) -> None:
    others = [path for path in runtime_folder().glob(which) if path != own] if needed else []
    for path in sorted(others, key=_last_used):
        if left() >= needed:
            return
        process = ask_to_leave(path)
        if process is not None:
            print(f"process {process}, which was waiting, has made room", file=sys.stderr)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def ask_to_leave(path: Path) -> int | None:
    """Ask a worker to end, and wait until it has; its number, None if it is at work or gone."""
    try:
        with connect(path) as connection:
            connection.settimeout(_ANSWER)
            connection.sendall(LEAVE.encode())
            process = int(json.loads(connection.makefile("r").readline())["worker"])
    except (OSError, ValueError):
        return None
    with suppress(ProcessLookupError):
        file = os.pidfd_open(process)
        poll = select.poll()
        poll.register(file, select.POLLIN)
        poll.poll(_END * 1000)
        os.close(file)
    return process


def gpu_mb_left() -> float:
    """MB that this process can have on its GPU: free ones, and those that it holds already."""
    # By name: only backends that compute with PyTorch have it in their environments, and only they come here.
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return math.inf
    return float(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()) / 1e6


def main_mb_left() -> float:
    """MB that this process can have: free ones, within what it may have in all, and those that it holds."""
    free = _fields(Path("/proc/meminfo")).get("MemAvailable", math.inf) * 1024
    own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return (min([free, *_allowances()]) + own) / 1e6


def _allowances() -> list[float]:
    """Bytes left of what each control group that this process is in may have."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    name = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if name is None:
        return []
    left = []
    root = Path("/sys/fs/cgroup")
    for group in [root / name, *(root / name).parents]:
        if not group.is_relative_to(root):
            break
        with suppress(FileNotFoundError, ValueError, PermissionError):
            most = int((group / "memory.max").read_text())
            used = int((group / "memory.current").read_text())
            left.append(most - used + _fields(group / "memory.stat").get("inactive_file", 0.0))
    return left


def _fields(path: Path) -> dict[str, float]:
    """Numbers by name of a file of the kernel's."""
    rows = (line.replace(":", " ").split() for line in path.read_text().splitlines())
    return {row[0]: float(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
