"""Stands before every route: who may ask, from where, for what; and what browsers are told besides."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import socket
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mimo.app import gradio_routes
from mimo.app.cookies import Password, Users, read_cookies
from mimo.app.core import USER
from mimo.app.queue import FAULT

logger = logging.getLogger(__name__)

OWN_ROUTES = ("/media/", "/gallery/", "/upload/", "/corrections/", "/static-app/")
LOGIN = "/login"
LARGEST_EVENT = 1_000_000
"""Bytes of an event's data from a page at most; files go to `mimo.app.uploads`."""
SESSIONS = 20_000
"""Pages that are remembered with their users."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing is fetched from, or sent to, any other place. Gradio compiles its templates in the browser."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Names:
    """Names that this server is called by.

    Attributes:
        own: this computer's names.
        proxied: names of a proxy before it, which browsers see.
    """

    own: frozenset[str]
    proxied: frozenset[str]

    @classmethod
    def of(cls, host: str, proxied: Iterable[str]) -> Names:
        """Names of a server that listens at `host`."""
        own = {"localhost", socket.gethostname(), socket.getfqdn(), host}
        return cls(frozenset(map(str.lower, own)), frozenset(map(str.lower, proxied)))

    def has(self, host: str) -> bool:
        """Whether a header ``Host`` means this server.

        A page of another site can have its own name point here, so that names count; numbers cannot.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
            urlsplit(f"//{host}").port  # noqa: B018 (raises)
        except ValueError:
            return False
        return name in self.own | self.proxied or _is_address(name)

    def sent_by_own_page(self, headers: Headers) -> bool:
        """Whether a request that changes something comes from a page of this server."""
        origin = headers.get("origin", "")
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return False
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme not in ("http", "https"):
            return False
        return parts.netloc == headers.get("host") or parts.netloc.lower() in self.proxied


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """The outermost application of the server.

    Args:
        app: what it stands before.
        names: of the server.
        users: tells users.
        password: None: none is asked for.
    """

    def __init__(self, app: ASGIApp, names: Names, users: Users, password: Password | None) -> None:
        self._app = app
        self._names = names
        self._users = users
        self._password = password
        self._sessions: OrderedDict[str, str] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(send)
        try:
            await self._checked(scope, receive, answer)
        except asyncio.CancelledError:
            # The server ends, and pages that are open listen for ever: nobody needs to read about that.
            logger.debug("%s is cut off", scope["path"])
        except Exception:
            logger.exception("%s %s", scope["method"], scope["path"])
            if not answer.begun:
                await _refusal(500, FAULT)(scope, receive, answer)

    async def _checked(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        cookies = read_cookies(headers.get("cookie", ""))
        secure = scope.get("scheme") == "https"
        refusal: Response | None = None
        if not self._names.has(headers.get("host", "")):
            refusal = _refusal(421, "this server is not called so; see --name in docs/app.md")
        elif method not in ("GET", "HEAD") and not self._names.sent_by_own_page(headers):
            refusal = _refusal(403, "this was not sent by a page of this server; load the page again")
        elif self._password and path != LOGIN and not self._password.knows(cookies):
            refusal = RedirectResponse(LOGIN, 303) if path == "/" else _refusal(401, "log in first")
        elif path != LOGIN and not path.startswith(OWN_ROUTES) and not gradio_routes.is_open(method, path):
            refusal = _refusal(404, "there is nothing here")
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        user = self._users.known(cookies)
        if user is None and (method, path) == ("GET", "/"):
            user, header = self._users.new(secure=secure)
            answer.cookies.append(header)
        scope.setdefault("state", {})[USER] = user
        if path.startswith("/gradio_api/"):
            try:
                receive = await self._own_session(scope, receive, user or "")
            except PermissionError as error:
                await _refusal(403, str(error))(scope, receive, answer)
                return
        await self._app(scope, receive, answer)

    async def _own_session(self, scope: Scope, receive: Receive, user: str) -> Receive:
        """Make sure that the page that a request speaks of is of the user who asks.

        Returns:
            What to receive the request's body from.

        Raises:
            PermissionError: it is another user's, or the body is too large or unreadable.
        """
        query = parse_qs(scope["query_string"].decode("latin-1"))
        hashes = set(query.get("session_hash", []))
        if found := gradio_routes.SESSION.fullmatch(scope["path"]):
            hashes.add(found[1])
        if scope["method"] == "POST":
            body = await _body(receive, LARGEST_EVENT)
            hashes |= _session_of(body)
            receive = _replay(body, receive)
        for name in hashes:
            if self._sessions.setdefault(name, user) != user:
                raise PermissionError("this page is of another session; load it again")
            self._sessions.move_to_end(name)
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return receive


class _Answer:
    """Sends an answer with the headers that all answers have."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.cookies: list[str] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            for header in self.cookies:
                headers.append("Set-Cookie", header)
                headers["Cache-Control"] = "no-store"
        await self._send(message)


async def refused(_: Request, error: Exception) -> Response:
    """Answer of a route that has raised `Rejected`: its words."""
    return _refusal(400, str(error))


async def faulty(_: Request, error: Exception) -> Response:
    """Answer of a route that has a fault, which `Guard` writes into the log."""
    return _refusal(500, FAULT)


def _refusal(status: int, words: str) -> Response:
    return JSONResponse({"error": words, "detail": words}, status)


async def _body(receive: Receive, most: int) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise PermissionError("the browser has gone")
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise PermissionError("too much at once")
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receiver that gives a body that was read already, and then what else comes."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


def _session_of(body: bytes) -> set[str]:
    """The page that an event speaks of.

    Raises:
        PermissionError: the body is no event.
    """
    try:
        event = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise PermissionError("this cannot be read") from None
    if not isinstance(event, dict):
        raise PermissionError("this cannot be read")
    name = event.get("session_hash")
    return {str(name)} if name is not None else set()
