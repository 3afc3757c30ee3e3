"""Finished videos: the player, files to save, all earlier ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mimo.app.pages.gallery import duration
from mimo.app.pages.markup import render
from mimo.app.pages.section import Section
from mimo.app.pages.session import Session, text
from mimo.app.project_folder import Result
from mimo.stage import Rejected
from mimo.video import VideoError, VideoReader

ALPHA = {".mov": "ProRes 4444", ".webm": "VP9 with alpha"}
EMPTY = "No results yet. Choose a motion, a character and a scene, and press Start."


class ResultsSection(Section):
    """Plays the results."""

    def __init__(self) -> None:
        super().__init__("results")
        self.actions = {"show": show, "delete": delete}

    def draw(self, session: Session) -> str:
        """See `Section.draw`."""
        results = session.project.results()
        shown = next((one for one in results if (one.template, one.character) == session.draft.shown), None)
        shown = shown or next(iter(results), None)
        report = session.project.place("results") / "report.html"
        count = len(results)
        return render(
            "results",
            summary=f"{count} {'video' if count == 1 else 'videos'}" if count else "",
            report=session.project.url(report) if report.is_file() else "",
            shown=_player(session, shown) if shown else None,
            history=[_tile(session, one, one == shown) for one in results] if count > 1 else [],
            empty=EMPTY,
        )


def _title(result: Result) -> str:
    return f"{result.character} · {result.template}"


def _tile(session: Session, result: Result, chosen: bool) -> dict[str, Any]:
    return {
        "template": result.template,
        "character": result.character,
        "title": _title(result),
        "shown": session.previews.file(session.project, result.path, _title(result)),
        "chosen": chosen,
    }


def _player(session: Session, result: Result) -> dict[str, Any]:
    facts, fps = [], 0.0
    try:
        info = VideoReader(result.path).info
    except VideoError:
        facts.append("cannot be read; make it again")
    else:
        fps = float(info.fps)
        facts += [f"{info.frames} frames, {duration(info.frames / fps)}", f"{info.width} × {info.height}"]
    name = f"{result.template} {result.character}"
    files = [
        {"title": f"Download {title}", "address": session.project.url(path, f"{name}{path.suffix}")}
        for suffix, title in ALPHA.items()
        if (path := result.path.with_suffix(suffix)).is_file()
    ]
    return {
        "title": _title(result),
        "template": result.template,
        "character": result.character,
        "address": session.project.url(result.path),
        "download": session.project.url(result.path, f"{name}.mp4"),
        "facts": facts,
        "fps": fps,
        "files": files,
        "warnings": _warnings(result.record),
    }


def _warnings(record: Path) -> list[str]:
    """What synthesis found worth saying."""
    if not record.is_file():
        return []
    return [str(warning) for warning in json.loads(record.read_text()).get("warnings", [])]


def _told(session: Session, told: dict[str, Any]) -> Result:
    wanted = text(told, "template"), text(told, "character")
    for result in session.project.results():
        if (result.template, result.character) == wanted:
            return result
    raise Rejected("this result is not there any more")


def show(session: Session, told: dict[str, Any]) -> None:
    """Play another result."""
    result = _told(session, told)
    session.draft.shown = (result.template, result.character)


def delete(session: Session, told: dict[str, Any]) -> None:
    """Delete a result."""
    session.core.delete_result(session.project, _told(session, told))
    session.draft.shown = None
