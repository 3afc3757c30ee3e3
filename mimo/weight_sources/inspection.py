"""What is wrong with a model file, told in milliseconds: by its size, first bytes and table of contents.

Nothing in a file is executed, and no tensor is read.
"""

from __future__ import annotations

import fnmatch
import json
import pickletools
import struct
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

SAFETENSORS_HEADER_LIMIT = 100_000_000
PICKLED_TENSORS = {".pth", ".pt", ".bin", ".ckpt"}
ZIPPED = b"PK\x03\x04"
PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
POINTER = b"version https://git-lfs"
TYPES = {
    "HTML": "a web page (perhaps a login or error page saved under this name)",
    "pointer": "a git-LFS pointer, not the file itself: get it with `git lfs pull` or download it",
}


def problem(path: Path, size: int | None = None, keys: Iterable[str] = ()) -> str | None:
    """What is wrong with a file, or None.

    Args:
        path: the file; its suffix says what it should be.
        size: bytes it must have, if known.
        keys: names (``*`` allowed) of tensors that it must hold.
    """
    if not path.is_file():
        return "missing"
    actual = path.stat().st_size
    if not actual:
        return "empty"
    with path.open("rb") as file:
        start = file.read(512)
    if foreign := _foreign(start):
        return f"wrong kind: {foreign}"
    if size is not None and actual != size:
        return f"corrupt: {actual} bytes instead of {size}"
    if fault := _fault(path, start, actual):
        return fault
    if keys and (lacking := lacking_keys([path], keys)):
        return f"wrong kind: holds no tensor '{lacking[0]}'"
    return None


def lacking_keys(paths: Iterable[Path], keys: Iterable[str]) -> list[str]:
    """Those of some names (``*`` allowed) that no tensor in any of the files has."""
    names = {name for path in paths for name in tensor_names(path)}
    wanted = {key: key.removeprefix("module.") for key in keys}
    return [key for key, name in wanted.items() if name not in names and not fnmatch.filter(names, name)]


def tensor_names(path: Path) -> set[str]:
    """Names of the tensors in a file; of a pickled one every text in it that may be a name; else nothing."""
    if path.suffix == ".safetensors":
        names = set(_safetensors_header(path))
    elif path.suffix in PICKLED_TENSORS:
        names = set(_texts(path))
    else:
        names = set()
    return {name.removeprefix("module.") for name in names}


def _foreign(start: bytes) -> str | None:
    text = start.lstrip().lower()
    if text.startswith(PAGES):
        return TYPES["HTML"]
    if text.startswith(POINTER):
        return TYPES["pointer"]
    return None


def _fault(path: Path, start: bytes, size: int) -> str | None:
    """What is wrong with the form that the suffix promises."""
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        if start.startswith((ZIPPED, b"\x80")):
            return "wrong kind: a pickled PyTorch file, not safetensors"
        return _safetensors_fault(path, size)
    if suffix in PICKLED_TENSORS:
        if start.startswith(ZIPPED):
            return _archive_fault(path)
        if _is_safetensors(start, size):
            return "wrong kind: a safetensors file; give it the suffix .safetensors"
        return None if start.startswith(b"\x80") else "wrong kind: not a PyTorch file"
    if suffix == ".npz":
        return None if zipfile.is_zipfile(path) else "corrupt: not a whole npz archive"
    if suffix == ".tflite":
        return None if start[4:8] == b"TFL3" else "wrong kind: not a TensorFlow Lite model"
    if suffix == ".json":
        return _json_fault(path)
    return None


def _archive_fault(path: Path) -> str | None:
    """What is wrong with the zip archive that PyTorch writes; its table of contents stands at its end."""
    if not zipfile.is_zipfile(path):
        return "corrupt: cut off before its end"
    with zipfile.ZipFile(path) as archive:
        whole = any(name.endswith("data.pkl") for name in archive.namelist())
    return None if whole else "wrong kind: a zip archive, but not PyTorch's"


def _json_fault(path: Path) -> str | None:
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        return f"corrupt: not JSON ({error})"
    return None


def _is_safetensors(start: bytes, size: int) -> bool:
    return len(start) > 9 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] + 8 <= size


def _safetensors_fault(path: Path, size: int) -> str | None:
    try:
        header = _safetensors_header(path)
    except ValueError as error:
        return f"corrupt: {error}"
    with path.open("rb") as file:
        start = struct.unpack("<Q", file.read(8))[0] + 8
    end = start + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    return None if end == size else f"corrupt: {size} bytes, but its header speaks of {end}"


def _safetensors_header(path: Path) -> dict[str, dict[str, list[int]]]:
    """Table of tensors of a safetensors file.

    Raises:
        ValueError: it has none.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(SAFETENSORS_HEADER_LIMIT, path.stat().st_size - 8):
            raise ValueError("not a safetensors file, or cut off within its header")
        try:
            header = json.loads(file.read(length))
            return {
                name: {"data_offsets": value["data_offsets"]}
                for name, value in header.items()
                if name != "__metadata__"
            }
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"unreadable safetensors header ({error})") from None


def _texts(path: Path) -> Iterator[str]:
    """Every text in the pickle that names a PyTorch file's tensors: a zip member, or the old file's start."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            yield from _pickled_texts(file)
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("data.pkl"):
                with archive.open(name) as member:
                    yield from _pickled_texts(member)


def _pickled_texts(file: IO[bytes]) -> Iterator[str]:
    """Every text in the pickles at the start of a file; ends at what is no pickle."""
    try:
        while True:
            for code, value, _ in pickletools.genops(file):
                if isinstance(value, str) and "UNICODE" in code.name:
                    yield value
    except (ValueError, IndexError):
        return
