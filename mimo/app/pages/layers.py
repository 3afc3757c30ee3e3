"""What was understood of a motion: its layers side by side, who is meant, and what is wrong with the mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mimo import corrections
from mimo.app.job import Job
from mimo.app.pages.jobs import time_words
from mimo.app.pages.layer_clips import LAYERS, Layer
from mimo.app.pages.markup import render
from mimo.app.pages.section import Section
from mimo.app.pages.session import Session
from mimo.stage import Rejected
from mimo.template import CONFIG
from mimo.video import VideoError, VideoInfo, VideoReader

EMPTY = (
    "Choose a motion above. Decomposing it shows here what was understood: who is replaced, how they move, "
    "what is behind and in front of them."
)
WAITING = "Corrections are waiting: decompose again. Only what depends on them is made anew."
NOT_YET = "Not made yet."
COMING = "A small copy is being made…"


class LayersSection(Section):
    """Shows the layers, and starts the decomposition."""

    def __init__(self) -> None:
        super().__init__("layers")
        self.actions = {"decompose": decompose, "look": look}

    def draw(self, session: Session) -> str:
        """See `Section.draw`."""
        folder = session.template
        info = _info(folder) if session.motion else None
        job = session.job_for(folder / CONFIG)
        busy = job is not None and not job.finished
        opening = session.job_for(folder / "vid.mp4")
        closed = session.motion is not None and session.motion.kind == "videos" and info is None
        finished = (folder / CONFIG).is_file()
        whole = finished and not busy and (job is None or job.state == "done")
        shown = [layer for layer in LAYERS if layer.name == "sdc" or (folder / "vid.mp4").is_file()]
        layers = [_layer(session, folder, layer, whole) for layer in shown] if info else []
        notes = []
        if job is not None and job.state == "failed":
            notes.append({"look": "bad", "words": job.problem})
        stale = finished and not busy and _stale(session)
        if stale:
            notes.append(
                {
                    "look": "plain",
                    "words": WAITING,
                }
            )
        marks = _marks(session) if info else []
        return render(
            "layers",
            clip=session.draft.motion,
            fps=float(info.fps) if info else 1,
            frames=info.frames if info else 0,
            width=info.width if info else 0,
            height=info.height if info else 0,
            marks=json.dumps(marks),
            corrections=f"/corrections/{session.draft.motion}/" if _correctable(session) else "",
            layers=layers,
            playable=any(layer["address"] for layer in layers),
            notes=notes,
            empty=EMPTY if session.motion is None else "Not decomposed yet.",
            busy=busy,
            progress=_progress(job) if job is not None and busy else None,
            openable=closed and not busy and (opening is None or opening.finished),
            **_action(session, finished, busy, stale),
        )


def _action(session: Session, finished: bool, busy: bool, stale: bool) -> dict[str, str]:
    if session.motion is None or session.motion.kind == "templates":
        return {"action": "", "action_look": ""}
    if busy:
        return {"action": "Decomposing…", "action_look": ""}
    if finished:
        return {"action": "Decompose again", "action_look": "strong" if stale else ""}
    return {"action": "Decompose", "action_look": "strong"}


def _progress(job: Job) -> dict[str, Any]:
    return {
        "share": round(job.progress.share, 3),
        "words": job.progress.step or job.state,
        "time": time_words(job),
    }


def _info(folder: Path) -> VideoInfo | None:
    """Size, rate and length of a template's videos, as far as there are any."""
    for name in ("vid.mp4", "sdc.mp4"):
        if (folder / name).is_file():
            try:
                return VideoReader(folder / name).info
            except VideoError:
                return None
    return None


def _layer(session: Session, folder: Path, layer: Layer, whole: bool) -> dict[str, Any]:
    values = {"name": layer.name, "title": layer.title, "hint": layer.hint, "address": None, "words": ""}
    if not (folder / f"{layer.name}.mp4").is_file():
        return values | {"words": layer.missing if whole else NOT_YET}
    address = session.previews.layer(session.project, folder, layer.name)
    return values | {"address": address, "words": COMING}


def corrections_folder(session: Session) -> Path:
    """Where corrections of the chosen video's mask lie."""
    return session.project.place("corrections") / session.draft.motion


def _correctable(session: Session) -> bool:
    """Whether the chosen motion comes from a video here, whose person is found by segmentation."""
    return session.motion is not None and session.motion.kind == "videos"


def _marks(session: Session) -> list[dict[str, Any]]:
    if not _correctable(session):
        return []
    try:
        found = corrections.load(corrections_folder(session))
    except Rejected:
        return []
    return [click.model_dump() for click in found.clicks] + [
        {"frame": frame, "painted": True} for frame in found.painted
    ]


def _stale(session: Session) -> bool:
    """Whether corrections or the choice of the person are newer than the mask."""
    if not _correctable(session):
        return False
    mask = session.template / "mask.mp4"
    side = session.project.side_file("videos", session.draft.motion)
    changed = [side, *corrections.correction_files(corrections_folder(session))]
    times = [path.stat().st_mtime for path in changed if path.is_file()]
    return mask.is_file() and any(time > mask.stat().st_mtime for time in times)


def decompose(session: Session, told: dict[str, Any]) -> None:
    """Make the template, or what changed of it."""
    if session.motion is None:
        raise Rejected("choose a motion first")
    name = session.motion.name
    session.start(f"Decompose {name}", "layers", session.template / CONFIG, [name])


def look(session: Session, told: dict[str, Any]) -> None:
    """Bring the video into form only, so that the person can be chosen in it."""
    if session.motion is None or session.motion.kind != "videos":
        raise Rejected("choose a video first")
    name = session.motion.name
    session.start(f"Open {name}", "look", session.template / "vid.mp4", [name])
