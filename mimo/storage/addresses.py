"""Folders on S3-compatible storage, and where the copies of their files lie on this computer.

A folder ``s3://BUCKET/PREFIX`` of the configuration is, everywhere in the program, the folder
``.snakemake/storage/s3/BUCKET/PREFIX``: there Snakemake's storage plugin puts what a job reads, and takes
what it wrote. Whatever reads files reads them there; only what asks which files there are, and what
brings and sends them, has to know more (`mimo.storage.bucket`, `mimo.storage.copies`).
"""

from __future__ import annotations

from pathlib import Path

SCHEME = "s3://"
COPIES = Path(".snakemake", "storage", "s3")
"""Where the storage plugin keeps its copies, as long as Snakemake is not told otherwise."""
RESERVED = "?#"
"""Signs that an address cannot have: the plugin would take them for the end of the file's name."""


COMPANIONS: dict[tuple[str, ...], str] = {("records", "occlusion.json"): "occ.mp4"}
"""Undeclared file of a template that travels with a declared one, by the end of that one's name."""


def companion(path: Path) -> Path | None:
    """The file that travels with a file, there or not: ``occ.mp4`` with the record that holds its digest."""
    name = COMPANIONS.get(path.parts[-2:])
    return path.parents[1] / name if name else None


def local_folder(value: object) -> object:
    """The folder of local copies of an ``s3://BUCKET/PREFIX``; anything else as it is.

    Raises:
        ValueError: there is no bucket, or the address cannot be used.
    """
    if not isinstance(value, str) or not value.startswith(SCHEME):
        return value
    parts = value.removeprefix(SCHEME).rstrip("/").split("/")
    if not parts[0] or any(part in ("", ".", "..") for part in parts) or any(c in value for c in RESERVED):
        raise ValueError("give s3://BUCKET or s3://BUCKET/FOLDER")
    return COPIES.joinpath(*parts)


def address(path: Path | str) -> str | None:
    """``s3://BUCKET/NAME`` of a file or folder that is a local copy; None for those that are only here."""
    path = Path(path)
    return f"{SCHEME}{path.relative_to(COPIES).as_posix()}" if path.is_relative_to(COPIES) else None


def bucket_and_key(path: Path | str) -> tuple[str, str]:
    """Bucket and key of a local copy; a bucket's own folder has an empty key."""
    bucket, *rest = Path(path).relative_to(COPIES).parts
    return bucket, "/".join(rest)


def shown(path: Path) -> str:
    """What to call a file or folder in a message: its address if it has one."""
    return address(path) or str(path)
