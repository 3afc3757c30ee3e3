"""Looks into buckets: each folder is listed once, whatever asks about its files.

Settings and credentials come from the environment alone: boto3's own (``AWS_ACCESS_KEY_ID``,
``AWS_PROFILE``, ``AWS_ENDPOINT_URL`` ...), or those of Snakemake's storage plugin
(``SNAKEMAKE_STORAGE_S3_ACCESS_KEY`` ...), which win, as they do for the plugin.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo.stage import Rejected
from mimo.storage.addresses import COPIES, RESERVED, SCHEME, address, bucket_and_key

if TYPE_CHECKING:
    from botocore.client import BaseClient

INSTALL = "install it with: pip install 'mimo-pipeline[storage]'"
SETTINGS = ("ENDPOINT_URL", "REGION", "ACCESS_KEY", "SECRET_KEY", "TOKEN")
BAD_CREDENTIALS = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken", "InvalidToken"),
    *("AllAccessDisabled", "403", "401"),
}


@dataclass(frozen=True)
class Entry:
    """What a listing says of one object: bytes, seconds since 1970, and the server's digest."""

    size: int
    modified: float
    etag: str


def plugin_setting(name: str) -> str | None:
    """A setting of Snakemake's storage plugin in the environment."""
    return os.environ.get(f"SNAKEMAKE_STORAGE_S3_{name}")


@cache
def client() -> BaseClient:
    """A connection with the settings and credentials of the environment.

    Raises:
        Rejected: the packages for it are not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError as error:
        raise Rejected(f"config.yaml names {SCHEME}...: {error.name} is missing; {INSTALL}") from None
    region = plugin_setting("REGION") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    # Some servers keep a checksum that is sent along as a part of the file (boto3 issue 4435).
    checksums: Any = "when_required"
    return boto3.client(
        "s3",
        endpoint_url=plugin_setting("ENDPOINT_URL"),
        region_name=region or "us-east-1",
        aws_access_key_id=plugin_setting("ACCESS_KEY"),
        aws_secret_access_key=plugin_setting("SECRET_KEY"),
        aws_session_token=plugin_setting("TOKEN"),
        config=Config(
            retries={"max_attempts": 5, "mode": "standard"},
            connect_timeout=10,
            read_timeout=60,
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
        ),
    )


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what goes wrong with a server into one line.

    Args:
        what: address of what is being worked on.

    Raises:
        Rejected: the server cannot be reached, refuses, or has no such bucket.
    """
    import botocore.exceptions as problems

    try:
        yield
    except (problems.NoCredentialsError, problems.PartialCredentialsError, problems.ProfileNotFound) as error:
        raise Rejected(
            f"{what}: no credentials ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or AWS_PROFILE"
        ) from None
    except (problems.HTTPClientError, problems.EndpointConnectionError) as error:
        raise Rejected(
            f"{what}: {client().meta.endpoint_url} does not answer ({type(error).__name__}); "
            "is the server up, and AWS_ENDPOINT_URL right?"
        ) from None
    except problems.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in BAD_CREDENTIALS:
            raise Rejected(
                f"{what}: the server refuses these credentials ({code}); "
                "check the key, its secret and its rights"
            ) from None
        if code in ("NoSuchBucket", "404"):
            raise Rejected(
                f"{what}: no such bucket at {client().meta.endpoint_url}; create it, or correct config.yaml"
            ) from None
        raise Rejected(f"{what}: {error}") from None
    except problems.BotoCoreError as error:
        raise Rejected(f"{what}: {error}") from None


@cache
def listing(folder: Path) -> dict[Path, Entry]:
    """Every object below a remote folder, by its local copy, sorted; asked of the server once.

    Raises:
        Rejected: see `explained`.
    """
    connection = client()
    bucket, key = bucket_and_key(folder)
    found = {}
    with explained(address(folder) or ""):
        pages = connection.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=f"{key}/" if key else ""
        )
        for item in (item for page in pages for item in page.get("Contents", [])):
            name = item["Key"]
            if name.endswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
                continue
            entry = Entry(item["Size"], item["LastModified"].timestamp(), item["ETag"].strip('"'))
            found[COPIES.joinpath(bucket, *name.split("/"))] = entry
    return dict(sorted(found.items()))


def listed_digest(path: Path) -> str:
    """What a listing says of a remote file's content: its ETag, which another content does not have."""
    return listing(path.parent)[path].etag


def files_in(folder: Path) -> list[Path]:
    """Files that lie directly in a folder, here or remote, sorted; a folder that is missing has none.

    Raises:
        Rejected: see `listing`, or a remote file has a name that the storage plugin would misread.
    """
    if address(folder) is None:
        return [path for path in sorted(folder.iterdir()) if not path.is_dir()] if folder.is_dir() else []
    files = [path for path in listing(folder) if path.parent == folder]
    for path in files:
        if any(sign in path.name for sign in RESERVED):
            raise Rejected(
                f"{address(path)}: no sign of {RESERVED} may stand in a remote file's name; rename it"
            )
    return files


def folders_in(folder: Path) -> list[Path]:
    """Folders that lie directly in a folder, here or remote, sorted."""
    if address(folder) is None:
        return [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
    depth = len(folder.parts)
    return sorted({Path(*path.parts[: depth + 1]) for path in listing(folder) if len(path.parts) > depth + 1})


def is_there(path: Path, folder: Path) -> bool:
    """Whether a file below a folder exists, here or remote."""
    return path.is_file() if address(folder) is None else path in listing(folder)
