"""Plain downloads that go on where they were interrupted."""

from __future__ import annotations

import email.message
import http.client
import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from mimo.files import write_json
from mimo.weights import WeightsError

BLOCK = 1 << 20
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dropped."""

ATTEMPTS = 5
"""Connections that bring nothing new, one after the other, before the download is given up."""


class _Dropped(Exception):
    """The connection ended early; the next one may go on."""


def download(
    url: str, partial: Path, size: int | None, *, identity: str | None = None, token: str | None = None
) -> None:
    """Fetch a file; what an earlier, interrupted call left in `partial` is kept and completed.

    Args:
        url: http or https.
        partial: file to write; whole when the call returns. Beside it, ``.json`` remembers the version.
        size: bytes, if known; None: what the server says.
        identity: names the file where its address changes from call to call; else the address does.
        token: sent to the server as the user's authorisation.

    Raises:
        WeightsError: the server refuses, cannot be reached, or offers a file of another size.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    request = urllib.request.Request(
        url, headers={"User-Agent": "mimo-pipeline", "Accept-Encoding": "identity"}
    )
    if token is not None:
        # Not sent on to a server that this one redirects to.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    fruitless = 0
    while True:
        before = _length(partial)
        try:
            _transfer(request, partial, size, identity or url)
            break
        except _Dropped as error:
            fruitless = 0 if _length(partial) > before else fruitless + 1
            if fruitless == ATTEMPTS:
                raise WeightsError(
                    f"{url}: the connection broke {ATTEMPTS} times ({error}); what came is kept, "
                    "run the command again to go on"
                ) from None
            print(f"connection broke ({error}), going on at {_length(partial) / 1e6:.1f} MB", file=sys.stderr)
            time.sleep(min(2**fruitless - 1, 10))
    _version(partial).unlink(missing_ok=True)


def _transfer(request: urllib.request.Request, partial: Path, size: int | None, identity: str) -> None:
    """One connection: the rest of the file, or all of it when the server has another version now."""
    url = request.full_url
    version = _read_version(partial, identity)
    start = _length(partial) if version else 0
    request.headers.pop("Range", None)
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-range", str(version))
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                start = 0
            total = _total(response.headers, start)
            if size is not None and total is not None and total != size:
                raise WeightsError(
                    f"{url}: is {total} bytes long instead of {size}: another file, or a page about it"
                )
            _remember(partial, identity, response.headers)
            _write(response, partial, start, total)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            partial.unlink()
            raise _Dropped("what was there does not fit the file") from None
        if error.code >= 500 or error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise _Dropped(f"HTTP {error.code}") from None
        raise WeightsError(f"{url}: HTTP {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        if start:
            raise _Dropped(str(error.reason)) from None
        raise WeightsError(f"{url}: cannot be reached ({error.reason})") from None
    except (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as error:
        raise _Dropped(str(error) or type(error).__name__) from None


def _write(response: http.client.HTTPResponse, partial: Path, start: int, total: int | None) -> None:
    """Append what comes at `start`; the bar counts the bytes that are there already."""
    with (
        partial.open("r+b" if start else "wb") as file,
        tqdm(desc=partial.name, initial=start, total=total, unit="B", unit_scale=True) as bar,
    ):
        file.seek(start)
        file.truncate()
        # read1: bytes that came before a connection breaks are not lost.
        while block := response.read1(BLOCK):
            file.write(block)
            bar.update(len(block))
        done = file.tell()
    if total is not None and done < total:
        raise _Dropped(f"ended after {done} of {total} bytes")


def _total(headers: email.message.Message, start: int) -> int | None:
    length = headers.get("Content-Length")
    return start + int(length) if length is not None else None


def _length(partial: Path) -> int:
    return partial.stat().st_size if partial.is_file() else 0


def _version(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _remember(partial: Path, identity: str, headers: email.message.Message) -> None:
    """Note which version of the file is coming, so that two versions are never joined."""
    version = headers.get("ETag") or headers.get("Last-Modified")
    weak = version is not None and version.startswith("W/")
    write_json(_version(partial), {"identity": identity, "version": None if weak else version})


def _read_version(partial: Path, identity: str) -> str | None:
    """The version that `partial` is a part of; None: it cannot be completed."""
    path = _version(partial)
    if not path.is_file():
        return None
    noted = json.loads(path.read_bytes())
    return noted["version"] if noted["identity"] == identity else None
