"""Who asks: the user's cookie, and the cookie of who has given the password."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import deque
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from mimo.app.signing import Signer
from mimo.app.workspace import Workspace
from mimo.stage import Rejected

USER_COOKIE, LOGIN_COOKIE = "mimo-user", "mimo-login"
YEAR = 365 * 24 * 3600
SHORTEST = 8
"""Signs of a password at least."""


def read_cookies(header: str) -> dict[str, str]:
    """Cookies of a request's header; none of a header that is no such list."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def cookie(name: str, value: str, seconds: int, *, secure: bool) -> str:
    """A header ``Set-Cookie`` that scripts cannot read and other sites' pages cannot send along."""
    text = f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax"
    return f"{text}; Secure" if secure else text


class Users:
    """Tells users by their cookie."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def known(self, cookies: dict[str, str]) -> str | None:
        """The user of a request; None: one that was never here."""
        if not self._workspace.many:
            return ""
        return self._workspace.signer.read("user", cookies.get(USER_COOKIE, ""))

    def new(self, *, secure: bool) -> tuple[str, str]:
        """A new user, and the header that makes the browser say so from now on."""
        user = self._workspace.new_user()
        value = self._workspace.signer.signed("user", user)
        return user, cookie(USER_COOKIE, value, YEAR, secure=secure)


class Password:
    """The password that all users share.

    Args:
        text: the password.
        signer: signs the cookies of those who gave it; another password makes them void.
        hours: after which it is asked for again.
    """

    TRIES, WINDOW = 5, 60.0
    """Wrong passwords from one address, and the seconds within which they count."""
    TRIES_OF_ALL = 50

    def __init__(self, text: str, signer: Signer, hours: float) -> None:
        self._digest = hashlib.sha256(text.encode()).digest()
        self._signer = signer
        self._seconds = hours * 3600
        self._purpose = f"login {hashlib.sha256(b'cookie' + self._digest).hexdigest()}"
        self._wrong: deque[tuple[float, str]] = deque()

    @classmethod
    def read(cls, path: Path, signer: Signer, hours: float) -> Password:
        """Read a file with the password in its first line.

        Raises:
            Rejected: it cannot be read, or the password is too short.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Rejected(f"{path}: cannot be read ({error}); give a file with the password") from None
        if not lines or len(lines[0].strip()) < SHORTEST:
            raise Rejected(f"{path}: give a password of at least {SHORTEST} signs in its first line")
        return cls(lines[0].strip(), signer, hours)

    def may_try(self, address: str) -> bool:
        """Whether another try of an address is looked at, or there were too many wrong ones."""
        now = time.monotonic()
        while self._wrong and self._wrong[0][0] < now - self.WINDOW:
            self._wrong.popleft()
        own = sum(other == address for _, other in self._wrong)
        return own < self.TRIES and len(self._wrong) < self.TRIES_OF_ALL

    def accepts(self, text: str, address: str) -> bool:
        """Whether it is the password; takes as long whatever is wrong with it."""
        right = hmac.compare_digest(hashlib.sha256(text.encode()).digest(), self._digest)
        if not right:
            self._wrong.append((time.monotonic(), address))
        return right

    def cookie(self, *, secure: bool) -> str:
        """The header for a browser that gave it."""
        until = int(time.time() + self._seconds)
        value = self._signer.signed(self._purpose, str(until))
        return cookie(LOGIN_COOKIE, value, int(self._seconds), secure=secure)

    def knows(self, cookies: dict[str, str]) -> bool:
        """Whether a request's cookies show that the password was given, and not too long ago."""
        until = self._signer.read(self._purpose, cookies.get(LOGIN_COOKIE, ""))
        return until is not None and int(until) > time.time()
