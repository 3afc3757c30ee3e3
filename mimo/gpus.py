"""Which GPU a job computes on, where there are several: one that no other job of this user is using.

Snakemake counts GPUs but does not say which one a job may use. A job takes the first whose lock it gets; the
kernel gives the lock back when the last process that holds it ends, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mimo.runtime_folder import runtime_folder

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable with the GPUs that a process sees."""

_DRIVER = Path("/proc/driver/nvidia/gpus")
# Seconds between two looks whether a GPU has become free.
_PAUSE = 0.5


@dataclass(frozen=True)
class Held:
    """A GPU that is held.

    Attributes:
        name: for `VISIBLE`; None where there is nothing to choose, or the settings have chosen.
        lock: open file that holds it, to pass on to another process; None where nothing is locked.
    """

    name: str | None = None
    lock: int | None = None


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, in PyTorch's order; found without loading PyTorch."""
    chosen = os.environ.get(VISIBLE)
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    return [str(i) for i, _ in enumerate(_DRIVER.iterdir())] if _DRIVER.is_dir() else []


@contextmanager
def held_gpu(device: str) -> Iterator[Held]:
    """Hold a GPU; waits while all are taken.

    A process that sees one GPU because somebody chose it (a cluster's scheduler, or the user by
    ``CUDA_VISIBLE_DEVICES``) holds none: who chose knows who shares it.

    Args:
        device: setting of a backend: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    """
    gpus = visible_gpus()
    if device == "cpu" or not gpus or (VISIBLE in os.environ and len(gpus) == 1):
        yield Held()
        return
    with ExitStack() as stack:
        files = {
            name: stack.enter_context((runtime_folder() / f"gpu-{name}.lock").open("w"))
            for name in (gpus if device == "auto" else gpus[_number(device) :][:1])
        }
        name = _first_free(files) if files else None
        yield Held(name if device == "auto" else None, files[name].fileno() if name else None)


@contextmanager
def sees_only(held: Held) -> Iterator[None]:
    """Let this process, which has not used CUDA yet, and those it starts see only the GPU that is held."""
    before = os.environ.get(VISIBLE)
    if held.name is not None:
        os.environ[VISIBLE] = held.name
    yield
    if before is None:
        os.environ.pop(VISIBLE, None)
    else:
        os.environ[VISIBLE] = before


def _number(device: str) -> int:
    """Which of the visible GPUs a device is."""
    number = device.partition(":")[2]
    return int(number) if number.isdigit() else 0


def _first_free(files: Mapping[str, IO[Any]]) -> str:
    """Lock one of some files, as soon as one is free; its name."""
    told = False
    while True:
        for name, file in files.items():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return name
        if not told:
            print(f"waiting for a GPU: {', '.join(files)} in use", file=sys.stderr, flush=True)
            told = True
        time.sleep(_PAUSE)
