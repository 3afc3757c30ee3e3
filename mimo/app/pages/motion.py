"""How they move: a driving video, a motion in 3D, or a template."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mimo.app.pages.gallery import chosen, duration, tile, video_limits, zone
from mimo.app.pages.markup import render
from mimo.app.pages.section import Section
from mimo.app.pages.session import Session, text
from mimo.app.project_folder import Entry
from mimo.template import CONFIG
from mimo.video import VideoError, VideoReader

MARKS = {"motions": "3D", "templates": "template"}
WAITING = "Drop a video of one person, or pick a motion."


class MotionSection(Section):
    """Picks the motion."""

    def __init__(self) -> None:
        super().__init__("motion")
        self.actions = {"pick": pick, "uploaded": uploaded, "delete": delete}

    def draw(self, session: Session) -> str:
        """See `Section.draw`."""
        limits = session.core.limits
        return render(
            "picker",
            step=1,
            title="Motion",
            hint="how they move",
            chosen=chosen(session, session.motion, facts(session.template), WAITING, "Nothing chosen yet"),
            ground=None,
            colour="",
            tiles=[
                tile(session, entry, entry == session.motion, MARKS.get(entry.kind, ""))
                for entry in offered(session)
            ],
            empty="No motions yet. What you add appears here.",
            zones=[
                zone("videos", "Choose a video", video_limits(limits)),
                zone(
                    "motions",
                    "Choose 3D motion",
                    f"BVH, AMASS, DeepMimic, up to {limits.motion_megabytes:g} MB",
                ),
            ],
        )


def offered(session: Session) -> Iterator[Entry]:
    """Videos, motions, and templates that are neither made of these nor staged."""
    videos, motions = session.project.entries("videos"), session.project.entries("motions")
    yield from videos
    yield from motions
    names = {entry.name for entry in [*videos, *motions]}
    for entry in session.project.entries("templates"):
        if entry.name not in names and entry.template not in ("staged", "group"):
            yield entry


def facts(template: Path) -> Iterator[str]:
    """What is known of a motion: whether it is decomposed, its length, its size."""
    for name in ("vid.mp4", "sdc.mp4"):
        if (template / name).is_file():
            try:
                info = VideoReader(template / name).info
            except VideoError:
                continue
            yield f"{info.frames} frames, {duration(info.frames / float(info.fps))}"
            yield f"{info.width} × {info.height}"
            break
    if not (template / CONFIG).is_file():
        yield "not decomposed yet"


def pick(session: Session, told: dict[str, Any]) -> None:
    """Choose what a tile stands for."""
    kind = text(told, "kind")
    if kind in ("videos", "motions", "templates"):
        entry = session.project.entry(kind, text(told, "name"))  # type: ignore[arg-type]
        session.project.use(entry)
        session.draft.motion_kind, session.draft.motion = kind, entry.name  # type: ignore[assignment]


def uploaded(session: Session, told: dict[str, Any]) -> None:
    """Choose what has just been sent; motions are read at once, since that takes seconds and shows them."""
    pick(session, told)
    if session.motion is not None and session.motion.kind == "motions":
        name = session.motion.name
        session.start(f"Read {name}", "layers", session.template / CONFIG, [name])


def delete(session: Session, told: dict[str, Any]) -> None:
    """Delete a video, motion or template, and what was made of it."""
    if session.motion is not None and session.motion.name == text(told, "name"):
        session.core.delete(session.project, session.motion)
        session.draft.motion = ""
