"""Where: the motion's own scene, another one, a colour, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from mimo.app.pages.draft import Draft
from mimo.app.pages.gallery import chosen, tile, video_limits, zone
from mimo.app.pages.markup import render
from mimo.app.pages.placement import ground
from mimo.app.pages.previews import Shown
from mimo.app.pages.section import Section
from mimo.app.pages.session import Session, text
from mimo.app.project_folder import Entry
from mimo.stage import Rejected

KINDS = ("scenes", "templates", "videos")
PLAIN = {
    "own": ("Own scene", "the scene of the motion; white, if it has none"),
    "transparent": ("Transparent", "the character alone, to be composited elsewhere"),
    "colour": ("Colour", "one colour behind the character"),
}


class SceneSection(Section):
    """Picks the scene."""

    def __init__(self) -> None:
        super().__init__("scene")
        self.actions = {"pick": pick, "uploaded": pick, "colour": colour, "delete": delete}

    def draw(self, session: Session) -> str:
        """See `Section.draw`."""
        limits = session.core.limits
        return render(
            "picker",
            step=3,
            title="Scene",
            hint="where it happens",
            chosen=_chosen(session),
            tiles=[
                *(_plain(session, kind) for kind in PLAIN),
                *(tile(session, one, one == session.scene, _mark(one)) for one in offered(session)),
            ],
            empty="",
            ground=ground(session),
            colour=session.draft.colour if session.draft.scene_kind == "colour" else "",
            zones=[zone("scenes", "Choose a picture or video", f"of a place; {video_limits(limits)}")],
        )


def offered(session: Session) -> Iterator[Entry]:
    """Pictures and videos of places, and templates with a scene of their own."""
    yield from session.project.entries("scenes")
    for entry in session.project.entries("templates"):
        if entry.template not in ("staged", "motion") and entry.name != session.draft.motion:
            yield entry


def _mark(entry: Entry) -> str:
    return "template" if entry.kind == "templates" else ""


def _plain(session: Session, kind: str) -> dict[str, Any]:
    draft = session.draft
    return {
        "kind": kind,
        "name": "",
        "title": PLAIN[kind][0],
        "shown": session.previews.template(session.project, session.template) if kind == "own" else Shown(),
        "look": "checks" if kind == "transparent" else "",
        "colour": draft.colour if kind == "colour" else "",
        "mark": "",
        "chosen": draft.scene_kind == kind,
    }


def _chosen(session: Session) -> dict[str, Any]:
    draft = session.draft
    if draft.scene_kind in KINDS:
        return chosen(session, session.scene, [], "This scene is not there any more.", "Pick another scene")
    title, fact = PLAIN[draft.scene_kind]
    words = (
        "The scene of the motion that you choose."
        if draft.scene_kind == "own" and session.motion is None
        else ""
    )
    return _plain(session, draft.scene_kind) | {
        "words": words,
        "title": title,
        "facts": [fact],
        "deletable": False,
    }


def pick(session: Session, told: dict[str, Any]) -> None:
    """Choose a scene."""
    kind = text(told, "kind")
    if kind in KINDS:
        entry = session.project.entry(kind, text(told, "name"))  # type: ignore[arg-type]
        session.project.use(entry)
        session.draft.scene = entry.name
    session.draft = _changed(session.draft, scene_kind=kind)


def colour(session: Session, told: dict[str, Any]) -> None:
    """Choose a colour."""
    session.draft = _changed(session.draft, scene_kind="colour", colour=text(told, "value").lower())


def delete(session: Session, told: dict[str, Any]) -> None:
    """Delete a scene, and what was made in it."""
    if session.scene is not None and session.scene.name == text(told, "name"):
        session.core.delete(session.project, session.scene)
        session.draft = _changed(session.draft, scene_kind="own", scene="")


def _changed(draft: Draft, **values: Any) -> Draft:
    try:
        return Draft.model_validate(draft.model_dump() | values)
    except ValidationError:
        raise Rejected("there is no such scene; load the page again") from None
