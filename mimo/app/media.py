"""Serves files of the asking user's project and of the gallery, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from mimo.app.core import Core
from mimo.app.project_folder import GALLERY_KINDS, SERVED_KINDS, ProjectFolder
from mimo.run.project import MOTION_SUFFIXES

TYPES = {
    **{".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"},
    **{".mkv": "video/x-matroska", ".ogv": "video/ogg"},
    **{".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"},
    **{".avif": "image/avif", ".bmp": "image/bmp", ".tif": "image/tiff", ".tiff": "image/tiff"},
    ".json": "application/json",
}
"""What is shown in a page, by suffix."""

ONLY_SAVED = {
    *(".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg"),
    *(".wmv", ".flv", ".3gp", ".mxf"),
    *MOTION_SUFFIXES,
}
"""What is served to be saved only."""

REPORT = ("results", "report.html")
REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; media-src data: blob:; frame-ancestors 'none'"
)
"""The report is a page with names and measures that users have given: it may not act as the app."""


def routes(core: Core) -> list[Route]:
    """Routes ``/media/KIND/PATH`` of the user's project, and ``/gallery/KIND/PATH``."""

    def media(request: Request) -> Response:
        project = core.project(request)
        kind, rest = request.path_params["kind"], request.path_params["path"]
        if kind not in SERVED_KINDS:
            return _not_found()
        places = [project.place(kind)]
        if project.gallery is not None and kind in GALLERY_KINDS:
            places.append(project.gallery / kind)
        if (kind, rest) == REPORT:
            return _report(project, find(places[0], rest, places))
        return _answer(request, rest, places)

    def gallery(request: Request) -> Response:
        project = core.project(request)
        kind, rest = request.path_params["kind"], request.path_params["path"]
        if project.gallery is None or kind not in GALLERY_KINDS:
            return _not_found()
        return _answer(request, rest, [project.gallery / kind])

    return [
        Route("/media/{kind}/{path:path}", media, methods=["GET", "HEAD"]),
        Route("/gallery/{kind}/{path:path}", gallery, methods=["GET", "HEAD"]),
    ]


def find(place: Path, rest: str, roots: Iterable[Path]) -> Path | None:
    """The file that an address means, if it may be served.

    Args:
        place: folder that the address counts from.
        rest: path within it, as it stands in the address, decoded once.
        roots: folders that the file may lie in, after links have been followed.
    """
    parts = rest.split("/")
    if any(part in ("", ".", "..") or part.startswith(".") or not part.isprintable() for part in parts):
        return None
    try:
        path = place.joinpath(*parts).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    inside = [root for root in map(Path.resolve, roots) if path.is_relative_to(root)]
    if not inside or not path.is_file():
        return None
    hidden = any(part.startswith(".") for part in path.relative_to(inside[0]).parts)
    return None if hidden else path


def _answer(request: Request, rest: str, places: list[Path]) -> Response:
    path = find(places[0], rest, places)
    if path is None:
        return _not_found()
    suffix, headers = path.suffix.lower(), {"Cache-Control": "private, no-cache"}
    if suffix not in TYPES and suffix not in ONLY_SAVED:
        return _not_found()
    name = request.query_params.get("download") or (path.name if suffix in ONLY_SAVED else "")
    if name:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return _file(request, path, TYPES.get(suffix, "application/octet-stream"), headers)


def _report(project: ProjectFolder, path: Path | None) -> Response:
    """The report, without the place of the project on the server."""
    if path is None:
        return _not_found()
    page = project.words(path.read_text(encoding="utf-8"))
    if project.user:
        page = page.replace(project.user, "your project")
    headers = {"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "private, no-cache"}
    return HTMLResponse(page, headers=headers)


def _file(request: Request, path: Path, kind: str, headers: dict[str, str]) -> Response:
    """The file, whole or the part that is asked for; nothing if the browser has it."""
    status = path.stat()
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    headers |= {"ETag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=kind, stat_result=status)


def _not_found() -> Response:
    return PlainTextResponse("there is no such file", 404)
