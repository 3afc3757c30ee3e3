"""Brings local copies of remote files up to date for those who look at a run, and sends what they wrote."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mimo.run.configuration import Configuration
from mimo.run.lock import is_running
from mimo.storage import bucket
from mimo.storage.addresses import address, bucket_and_key, companion

THREADS = 16


def bring(folder: Path, *patterns: str) -> None:
    """Download files of a remote folder that changed since they were copied; nothing for a local folder.

    What travels with a file (`companion`) is brought before it, or Snakemake would take both for brought.
    Copies of files that are gone are deleted, unless a run is at work, which may have written them just now.

    Args:
        folder: of the configuration.
        patterns: which files, such as ``*.json``.

    Raises:
        Rejected: see `mimo.storage.bucket.listing`.
    """
    if address(folder) is None:
        return
    bucket.listing.cache_clear()
    there = bucket.listing(folder)
    wanted = {
        path: entry for path, entry in there.items() if any(path.match(pattern) for pattern in patterns)
    }
    if not is_running(Path.cwd()):
        for pattern in patterns:
            for gone in {path for path in folder.rglob(pattern) if path.is_file()} - wanted.keys():
                gone.unlink(missing_ok=True)
    changed = [path for path, entry in wanted.items() if not _is_fresh(path, entry)]
    connection = bucket.client()

    def download(path: Path) -> None:
        beside = companion(path)
        if beside is not None and beside in there:
            download(beside)
        elif beside is not None:
            beside.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with bucket.explained(address(path) or ""):
            connection.download_file(*bucket_and_key(path), str(path))
        os.utime(path, (there[path].modified, there[path].modified))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(download, changed))


def bring_pictures(config: Configuration) -> None:
    """Bring what the report shows pictures of; nothing for local folders."""
    bring(config.templates, "preview.png", "vid.mp4")
    bring(config.characters, "*")
    bring(config.prepared, "*.png")
    bring(config.results, "*.mp4")


def _is_fresh(path: Path, entry: bucket.Entry) -> bool:
    """Whether a local copy is what the listing tells of; servers tell whole seconds."""
    try:
        here = path.stat()
    except FileNotFoundError:
        return False
    return here.st_size == entry.size and int(here.st_mtime) >= int(entry.modified)


def send(path: Path) -> str | None:
    """Upload a local copy that was written here; nothing for a local file.

    Returns:
        Its address, or None.

    Raises:
        Rejected: see `mimo.storage.bucket.listing`.
    """
    where = address(path)
    if where is not None:
        connection = bucket.client()
        with bucket.explained(where):
            connection.upload_file(str(path), *bucket_and_key(path))
    return where
