"""Puts the server together: own routes, Gradio's pages behind them, the guard before all."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from mimo.app import corrections_route, guard, login, media, uploads
from mimo.app.cookies import Password, Users
from mimo.app.core import Core
from mimo.app.guard import Guard, Names
from mimo.app.housekeeping import Housekeeping
from mimo.stage import Rejected

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "pages" / "static"
"""Scripts and styles of the pages, served to everybody who may ask."""

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Gradio asks nobody for anything."""


def application(core: Core, names: Names, password: Password | None) -> ASGIApp:
    """The whole server as an ASGI application; its queue works while it is at work."""
    os.environ.update(QUIET)
    os.environ["GRADIO_TEMP_DIR"] = str(core.workspace.private / "gradio")
    import gradio

    from mimo.app.pages import page

    @asynccontextmanager
    async def at_work(_: FastAPI) -> AsyncIterator[None]:
        core.queue.start()
        housekeeping = Housekeeping(core)
        housekeeping.start()
        try:
            yield
        finally:
            housekeeping.stop()
            core.queue.stop()

    inner = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=at_work,
        exception_handlers={Rejected: guard.refused, Exception: guard.faulty},
    )
    for module in (media, uploads, corrections_route):
        inner.router.routes += module.routes(core)
    inner.router.routes += login.routes(password)
    inner.mount("/static-app", StaticFiles(directory=STATIC))
    gradio.mount_gradio_app(
        inner,
        page.build(core),
        path="/",
        allowed_paths=[],
        blocked_paths=["/"],
        show_error=False,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        max_file_size=1,
        **page.MOUNT,
    )
    return Guard(inner, names, Users(core.workspace), password)


def serve(core: Core, host: str, port: int, proxied: Iterable[str], password: Password | None) -> None:
    """Serve until the process is told to end."""
    app = application(core, Names.of(host, proxied), password)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        ws="none",
        limit_concurrency=400,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
    )
