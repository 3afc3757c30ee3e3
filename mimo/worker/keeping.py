"""What a worker keeps from one job to the next: networks, as their loaders made them.

A backend opts in by `kept` before its loader, and by the setting `keep_loaded` (`KeptSettings`). In a process
that makes one video only, `kept` does nothing.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Hashable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pydantic import Field

from mimo.stage import StageSettings

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class KeptSettings(StageSettings):
    """Settings of a backend whose networks a worker keeps."""

    keep_loaded: float = Field(
        60,
        ge=0,
        description="seconds that the networks stay loaded for the next video of the same run; 0: not at all",
    )


class _Kept:
    """What is kept, and what of it the present job has used.

    Attributes:
        active: whether this process keeps anything.
    """

    def __init__(self) -> None:
        self.active = False
        self._values: dict[Hashable, Any] = {}
        self._used: set[Hashable] = set()

    def begin(self) -> None:
        """A job begins."""
        self._used.clear()

    def get(self, key: Hashable, load: Callable[[], Any]) -> Any:
        """A kept value, or a new one, before which all that this job has not used makes room."""
        self._used.add(key)
        if key not in self._values:
            self._values = {other: value for other, value in self._values.items() if other in self._used}
            give_memory_back()
            self._values[key] = load()
        return self._values[key]


_kept = _Kept()


def keep() -> None:
    """Let this process keep what its loaders make; called at the beginning of every job of a worker."""
    _kept.active = True
    _kept.begin()


def is_worker() -> bool:
    """Whether this process keeps what its loaders make."""
    return _kept.active


def kept(load: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a worker keep what a loader makes, for later calls with equal arguments.

    Args:
        load: its arguments must be hashable. A file or folder among them counts with names, sizes and times
            of its files, so that other weights under the same name are loaded anew.
    """

    @wraps(load)
    def loaded(*args: Arguments.args, **more: Arguments.kwargs) -> Result:
        if not _kept.active:
            return load(*args, **more)
        parts = [*args, *more.values()]
        key = (load.__module__, load.__qualname__, tuple(more), *map(_part, parts))
        result: Result = _kept.get(key, lambda: load(*args, **more))
        return result

    return loaded


def _part(value: Any) -> Hashable:
    """What tells an argument from another one."""
    if not isinstance(value, Path):
        return (type(value), value)
    files = sorted(path for path in value.rglob("*") if path.is_file()) if value.is_dir() else [value]
    stats = [(path, path.stat()) for path in files if path.exists()]
    return (value.resolve(), tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats))


def give_memory_back() -> None:
    """Free what nobody refers to any more, on the GPU too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def forget_randomness() -> None:
    """Set global generators of random numbers to what they are in a new process."""
    if "cv2" in sys.modules:
        sys.modules["cv2"].setRNGSeed(0)
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.manual_seed(torch.Generator().initial_seed())
