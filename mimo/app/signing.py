"""The workspace's secret, and short texts that nobody can write without it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from mimo.stage import Rejected

BYTES = 32


class Signer:
    """Signs texts with the secret that lies in a file which only its owner may read.

    Args:
        path: the file; made, with mode 600, if it is not there.

    Raises:
        Rejected: others may read or write it, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass_on = path.lstat()
            if pass_on.st_mode & 0o177077 != 0o100000 or pass_on.st_uid != os.getuid():
                raise Rejected(f"{path}: only its owner may read it; remove it, a new one is made") from None
        else:
            with os.fdopen(file, "wb") as new:
                new.write(secrets.token_bytes(BYTES))
        self._secret = path.read_bytes()
        if len(self._secret) != BYTES:
            raise Rejected(f"{path}: damaged; remove it, a new one is made and everybody begins anew")

    def signed(self, purpose: str, text: str) -> str:
        """``TEXT.SIGNATURE``; a signature for one purpose does not count for another."""
        return f"{text}.{self._signature(purpose, text)}"

    def read(self, purpose: str, signed: str) -> str | None:
        """The text of `signed`, None if it was not signed here for that purpose."""
        text, _, signature = signed.rpartition(".")
        known = self._signature(purpose, text)
        return text if hmac.compare_digest(known.encode(), signature.encode()) else None

    def _signature(self, purpose: str, text: str) -> str:
        message = f"{len(purpose)}:{purpose}:{text}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
