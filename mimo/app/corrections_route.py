"""Takes painted masks: ``POST /corrections/VIDEO/FRAME`` with a PNG as large as the video's frames."""

from __future__ import annotations

import secrets
from pathlib import Path

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mimo import corrections
from mimo.app.core import Core
from mimo.app.project_folder import ProjectFolder
from mimo.app.uploads import receive
from mimo.stage import Rejected
from mimo.video import VideoError, VideoReader

LARGEST = 16_000_000
"""Bytes of a painted mask at most."""


def routes(core: Core) -> list[Route]:
    """The route ``/corrections/VIDEO/FRAME``; answers as that of uploads."""

    async def painted(request: Request) -> Response:
        project = core.project(request)
        video = project.entry("videos", request.path_params["video"]).name
        part = project.private / f".{secrets.token_hex(8)}.png"
        try:
            await receive(request, part, LARGEST)
            await to_thread.run_sync(_paint, project, video, request.path_params["frame"], part)
        except ClientDisconnect:
            return JSONResponse({"error": "the browser has gone"}, 400)
        finally:
            part.unlink(missing_ok=True)
        return JSONResponse({"name": video})

    return [Route("/corrections/{video}/{frame:int}", painted, methods=["POST"])]


def _paint(project: ProjectFolder, video: str, frame: int, part: Path) -> None:
    """Lay a painted mask over what is painted in its frame already.

    Raises:
        Rejected: it is no mask of that frame.
    """
    try:
        info = VideoReader(project.place("templates") / video / "vid.mp4").info
    except VideoError:
        raise Rejected("the video is not there yet; look at its layers first") from None
    if not 0 <= frame < info.frames:
        raise Rejected(f"the video has no frame {frame}")
    try:
        new = corrections.read_painted(part, info.width, info.height)
    except Rejected as error:
        raise Rejected(str(error).removeprefix(f"{part}: ")) from None
    folder = project.place("corrections") / video
    before = corrections.load(folder).painted.get(frame)
    if before is not None:
        old = corrections.read_painted(before, info.width, info.height)
        new[new == corrections.UNTOUCHED] = old[new == corrections.UNTOUCHED]
    corrections.paint(folder, frame, new)
