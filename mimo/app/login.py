"""The page that asks for the password."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from mimo.app.cookies import Password
from mimo.app.guard import LOGIN

_LARGEST = 4096
_PAUSE = 0.5
"""Seconds before a wrong password is answered."""
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>MIMO-pipeline</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; margin: 0 }}
form {{ display: grid; gap: 12px; width: min(320px, 90vw) }}
input, button {{ font: inherit; padding: 10px; border-radius: 8px; border: 1px solid #8886 }}
button {{ background: #d9480f; color: #fff; border: 0 }}
p {{ color: #c00; margin: 0 }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181c; color: #eee }} p {{ color: #f88 }} }}
</style>
<form method="post"><label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button><p role="alert">{words}</p></form></html>"""


def routes(password: Password | None) -> list[Route]:
    """The route ``/login``; it leads on where no password is asked for."""

    async def login(request: Request) -> Response:
        if password is None:
            return RedirectResponse("/", 303)
        if request.method != "POST":
            return HTMLResponse(_PAGE.format(words=""))
        address = request.client.host if request.client else ""
        if not password.may_try(address):
            words = "Too many wrong passwords. Wait a minute, then try again."
            return HTMLResponse(_PAGE.format(words=words), 429, {"Retry-After": "60"})
        if not password.accepts(await _given(request), address):
            await asyncio.sleep(_PAUSE)
            return HTMLResponse(_PAGE.format(words="That is not the password."), 403)
        header = password.cookie(secure=request.url.scheme == "https")
        return RedirectResponse("/", 303, {"Set-Cookie": header})

    return [Route(LOGIN, login, methods=["GET", "HEAD", "POST"])]


async def _given(request: Request) -> str:
    """The password of a sent form; empty if it is none."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
