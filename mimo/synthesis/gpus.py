"""Which GPU a clip goes to, where there are several: one that no other clip of this user is using.

Snakemake counts GPUs but does not say which one a job may use. A clip takes the first whose lock it gets; the
kernel gives the lock back when its process ends, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia/gpus")


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, in PyTorch's order; found without loading PyTorch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    return [str(i) for i, _ in enumerate(_DRIVER.iterdir())] if _DRIVER.is_dir() else []


@contextmanager
def free_gpu(folder: Path, device: str) -> Iterator[str]:
    """Hold a GPU; waits while all are taken.

    Args:
        folder: where the locks lie.
        device: setting of a backend; only ``auto`` leaves a choice.

    Yields:
        The device to use: `device` itself where there is nothing to choose.
    """
    gpus = visible_gpus()
    if device != "auto" or len(gpus) < 2:
        yield device
        return
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"gpu-{gpu}.lock").open("w")) for gpu in gpus]
        for number, file in enumerate(files):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield f"cuda:{number}"
            return
        waiting = os.getpid() % len(files)
        fcntl.flock(files[waiting], fcntl.LOCK_EX)
        yield f"cuda:{waiting}"
