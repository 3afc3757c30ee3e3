"""The folder of what lives only as long as processes do: locks of GPUs, sockets of workers."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from mimo.stage import Rejected

# A socket's whole path has about a hundred letters at most.
_LONGEST_BASE = 50


def runtime_folder() -> Path:
    """Folder of this user on this computer, which nobody else may enter.

    Raises:
        Rejected: it exists and others may enter, or it is somebody else's.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if not base or not Path(base).is_dir():
        base = tempfile.gettempdir()
    if len(base) > _LONGEST_BASE:
        base = "/tmp"
    folder = Path(base) / f"mimo-pipeline-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise Rejected(f"{folder}: must be a folder that only you may enter; remove it")
    return folder
