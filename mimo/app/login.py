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
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>MIMO: log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>
:root {{ --page: #f4f4f2; --card: #fff; --line: #d9dade; --ink: #1b1d20; --accent: #2a5c92; --bad: #b3261e }}
@media (prefers-color-scheme: dark) {{
  :root {{ --page: #17181a; --card: #202225; --line: #3a3d42; --ink: #eee; --accent: #3b74b3; --bad: #f88 }}
}}
body {{ font: 16px system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0;
  display: grid; place-items: center; min-height: 90vh }}
form {{ display: grid; gap: 12px; width: min(320px, 80vw); padding: 28px; border-radius: 12px;
  background: var(--card); border: 1px solid var(--line) }}
h1 {{ font-size: 20px; margin: 0 }}
label {{ font-size: 14px }}
input, button {{ font: inherit; color: inherit; padding: 10px 12px; border-radius: 8px;
  background: transparent; border: 1px solid var(--line) }}
button {{ background: var(--accent); border-color: var(--accent); color: #fff; font-weight: 600 }}
p {{ color: var(--bad); margin: 0; min-height: 1.2em; font-size: 14px }}
</style>
<form method="post"><h1>MIMO</h1><label for="password">Password of this server</label>
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
