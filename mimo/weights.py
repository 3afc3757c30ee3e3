"""Where the files lie that the stages load and that are not in this repository.

`weights.yaml` names each file or folder, where it comes from, its digest and its licence. They are put into
the cache folder by ``python -m mimo.weights fetch``, or lie in folders of the user's; stages ask for them by
name with `path`, which never downloads.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import platformdirs

from mimo.stage import Rejected
from mimo.weight_sources.registry import Entry, Licence, Registry, registry

__all__ = ["Entry", "Licence", "Registry", "registry"]

FETCH = "python -m mimo.weights fetch"
ELSEWHERE = "(or set MIMO_CACHE, or MIMO_WEIGHTS to a folder that has it)"


class WeightsError(Rejected):
    """A model file is missing, damaged or cannot be fetched; the message says what to do."""


def entry(name: str) -> Entry:
    """The registry's entry of a name.

    Raises:
        WeightsError: no such name.
    """
    try:
        return registry().files[name]
    except KeyError:
        raise WeightsError(f"no model file '{name}'; `python -m mimo.weights list` shows them all") from None


def licence(name: str) -> Licence:
    """Terms of one entry of the registry."""
    return entry(name).licence


def cache_dir() -> Path:
    """The cache folder: ``$MIMO_CACHE`` or the system's folder for caches."""
    return Path(os.environ.get("MIMO_CACHE") or platformdirs.user_cache_dir("mimo-pipeline"))


def own_folders() -> list[Path]:
    """Folders with files that the user has already, of ``$MIMO_WEIGHTS`` (separated by ``:``)."""
    return [Path(folder) for folder in os.environ.get("MIMO_WEIGHTS", "").split(os.pathsep) if folder]


def use_folders(folders: Iterable[Path]) -> None:
    """Look for files in some folders first, in this process and those it starts."""
    new = [str(folder.absolute()) for folder in folders]
    old = [str(folder) for folder in own_folders() if str(folder) not in new]
    if new:
        os.environ["MIMO_WEIGHTS"] = os.pathsep.join([*new, *old])


def path(name: str, own: Path | None = None) -> Path:
    """Where a file or folder of the registry lies.

    Args:
        name: an entry; or one of the registry's `folders`, whose entries are loaded as one folder.
        own: the user's file or folder to use in its place, from a backend's setting; None: the registry's.

    Raises:
        WeightsError: it is not there; the message gives the command that fetches it.
    """
    if own is not None:
        if not own.exists():
            raise WeightsError(f"{own}: not there (it is set in place of the registry's '{name}')")
        return own
    if name in registry().folders:
        return _whole_folder(name)
    item = entry(name)
    found = place(item)
    if found is None:
        lacking = [part for part in item.parts if not (cache_dir() / part).is_file()]
        raise WeightsError(f"{cache_dir() / lacking[0]}: not there; run `{FETCH} {name}` first {ELSEWHERE}")
    return found


def place(item: Entry) -> Path | None:
    """Where an entry lies with all its files, the user's folders first; None when nowhere."""
    return next((place for place in _places(item) if _is_whole(item, place)), None)


def _places(item: Entry) -> Iterator[Path]:
    for folder in own_folders():
        yield from places_in(folder, item)
    yield cache_dir() / item.file


def places_in(folder: Path, item: Entry) -> Iterator[Path]:
    """Where an entry may lie in a folder of the user's: under its path, or that without its first parts."""
    parts = PurePosixPath(item.file).parts
    yield from (folder.joinpath(*parts[start:]) for start in range(len(parts)))


def _is_whole(item: Entry, place: Path) -> bool:
    if item.members:
        return all((place / name).is_file() for name in item.members)
    return place.is_file()


def _whole_folder(name: str) -> Path:
    """The folder that has all entries of a registry's folder, or else one with links to each of them."""
    parts = registry().folders[name]
    lacking = [part for part in parts if place(entry(part)) is None]
    if lacking:
        raise WeightsError(f"{', '.join(lacking)}: not there; run `{FETCH} {name}` first {ELSEWHERE}")
    inner = {PurePosixPath(entry(part).file).relative_to(name): path(part) for part in parts}
    roots = {target.parents[len(at.parts) - 1] for at, target in inner.items()}
    if len(roots) == 1:
        return roots.pop()
    text = "".join(f"{at}\0{target.resolve()}\0" for at, target in inner.items())
    folder = cache_dir() / "linked" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    for at, target in inner.items():
        (folder / at).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (folder / at).symlink_to(target.resolve())
    return folder


# What follows is not imported by name: code that downloads does not count for what the stages make, see
# `mimo.fingerprint`.


def fetch(names: Iterable[str], archives: Path | None = None) -> None:
    """Bring entries into the cache; those that are there and intact are left alone.

    Args:
        names: names of the registry.
        archives: folder with packages downloaded elsewhere; none are downloaded then.

    Raises:
        WeightsError: a download or a build failed; the message says what to do.
    """
    importlib.import_module("mimo.weight_sources.fetching").fetch(names, archives)


def select(patterns: list[str], everything: bool = False) -> list[str]:
    """Names of the registry that match; see `mimo.weight_sources.fetching.select`."""
    chosen: list[str] = importlib.import_module("mimo.weight_sources.fetching").select(patterns, everything)
    return chosen


def main(argv: list[str] | None = None) -> int:
    """Command line; see `mimo.weight_sources.commands`."""
    code: int = importlib.import_module("mimo.weight_sources.commands").main(argv)
    return code


if __name__ == "__main__":
    sys.exit(main())
