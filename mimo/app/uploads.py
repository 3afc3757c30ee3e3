"""Takes files from browsers: ``POST /upload/KIND?name=NAME`` with the file as the request's body."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

import anyio
from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mimo.app.content import MEGABYTE, size_limit, suffix_of
from mimo.app.core import Core
from mimo.app.limits import Limits
from mimo.app.names import safe_name
from mimo.app.project_folder import SUFFIXES, ProjectFolder
from mimo.app.usage import require_room
from mimo.stage import Rejected

logger = logging.getLogger(__name__)

CHECKS = 2
"""Files whose content is looked at at the same time."""
_WORDS = {"videos": "video", "motions": "motion", "characters": "character", "scenes": "scene"}


def routes(core: Core) -> list[Route]:
    """The route ``/upload/KIND``. Answers ``{"name": NAME}``, or ``{"error": WORDS}`` with status 4xx."""
    checks = anyio.CapacityLimiter(CHECKS)

    async def upload(request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in SUFFIXES:
            return JSONResponse({"error": "there is nothing here"}, 404)
        project = core.project(request)
        await to_thread.run_sync(_require_room, project, core.limits)
        part = project.place(kind) / f".{secrets.token_hex(8)}.upload"
        try:
            await receive(request, part, size_limit(kind, core.limits))
            given = request.query_params.get("name", "")
            name = await to_thread.run_sync(take, project, kind, part, given, core.limits, limiter=checks)
        except ClientDisconnect:
            return JSONResponse({"error": "the browser has gone"}, 400)
        finally:
            part.unlink(missing_ok=True)
        logger.info("upload of %s: %s/%s", project.user or "the user", kind, name)
        return JSONResponse({"name": name})

    return [Route("/upload/{kind}", upload, methods=["POST"])]


async def receive(request: Request, path: Path, most: int) -> None:
    """Write a request's body to a file as it comes.

    Raises:
        Rejected: it is larger than `most` bytes, or empty; nothing more is read then.
    """
    words = f"the file is larger than {most / MEGABYTE:g} MB; make it smaller"
    if int(request.headers.get("content-length") or 0) > most:
        raise Rejected(words)
    size = 0
    async with await anyio.open_file(path, "xb") as file:
        async for block in request.stream():
            size += len(block)
            if size > most:
                raise Rejected(words)
            await file.write(block)
    if not size:
        raise Rejected("the file is empty")


def take(project: ProjectFolder, kind: str, part: Path, given: str, limits: Limits) -> str:
    """Make an uploaded file part of a project, if it is what it should be.

    Args:
        project: where to.
        kind: key of `SUFFIXES`.
        part: the file, in the folder of its kind.
        given: what the browser calls it.
        limits: for its content.

    Returns:
        Its name.

    Raises:
        Rejected: see `mimo.app.content.suffix_of`.
    """
    suffix = suffix_of(part, kind, limits)
    with project.naming():
        name = safe_name(given, project.taken_names(), _WORDS[kind])
        part.chmod(0o644)
        part.rename(part.with_name(f"{name}{suffix}"))
    return name


def _require_room(project: ProjectFolder, limits: Limits) -> None:
    project.prepare()
    require_room(project.folder, limits)
    if sum(len(project.entries(kind)) for kind in project.own_kinds()) >= limits.inputs:
        raise Rejected(f"you have {limits.inputs} files already; delete some that you do not need")
