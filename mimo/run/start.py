"""What a run makes sure of before its first job, so that no job fails for it hours later."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from mimo.files import why_not_written
from mimo.stage import Rejected


def require_writable(folders: Iterable[Path]) -> None:
    """Make sure that files can be written into some folders, which are made if they are missing.

    Raises:
        Rejected: into one they cannot; one line says why.
    """
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            error.filename = str(folder)
            raise Rejected(why_not_written(error) or f"{folder}: {error.strerror}") from None


def dated_now(paths: Iterable[str]) -> Iterator[str]:
    """Give files that are dated in the future today's date.

    Snakemake refuses what was made from such a file, since it is older. Cameras with a wrong clock make them.

    Args:
        paths: files; missing ones are passed over.

    Yields:
        A line for each file that was changed.

    Raises:
        Rejected: its date cannot be changed.
    """
    for path in paths:
        try:
            date = os.stat(path).st_mtime
            if date > time.time() + 1:
                os.utime(path)
                yield f"{path}: was dated in the future ({datetime.fromtimestamp(date):%Y-%m-%d %H:%M})"
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Rejected(f"{path}: is dated in the future, {error.strerror}; `touch` it") from None
