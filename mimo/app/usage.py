"""How much room projects take."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from mimo.app.limits import GIGABYTE, Limits
from mimo.stage import Rejected


def bytes_in(folder: Path) -> int:
    """Bytes of all files of a folder; links do not count."""
    return sum(entry.stat(follow_symlinks=False).st_size for entry in _files(folder))


def require_room(folder: Path, limits: Limits) -> None:
    """Refuse what would fill the disk.

    Args:
        folder: a user's project.
        limits: of the user.

    Raises:
        Rejected: the project is too large, or the disk is nearly full.
    """
    if shutil.disk_usage(folder).free < limits.free_gigabytes * GIGABYTE:
        raise Rejected("the disk of this server is nearly full; tell whoever runs it")
    if bytes_in(folder) > limits.project_gigabytes * GIGABYTE:
        raise Rejected(
            f"your files take more than {limits.project_gigabytes:g} GB; delete some that you do not need"
        )


def last_use(paths: Iterator[Path] | list[Path]) -> float:
    """When the latest of some files or folders was changed, seconds since 1970; 0 if none is there."""
    times = [path.lstat().st_mtime for path in paths if path.exists() or path.is_symlink()]
    return max(times, default=0.0)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield entry
