"""Where the motion stands in a scene that is not its own, if it is said by hand."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageOps
from pydantic import ValidationError

from mimo.app.pages.draft import Placement
from mimo.app.pages.markup import render
from mimo.app.pages.section import Section
from mimo.app.pages.session import Session, text
from mimo.run.project import VIDEO_SUFFIXES
from mimo.stage import Rejected
from mimo.video import VideoError, VideoReader


class PlacementSection(Section):
    """The scene to click on, and sliders; its markup is fixed, since a drawing lives in it."""

    def __init__(self) -> None:
        super().__init__("placement", "placement", fixed=render("placement"))
        sliders = {name: _slide(name) for name in ("height", "horizon", "turn", "scale")}
        self.actions = {"feet": feet, "automatic": automatic, **sliders}


def ground(session: Session) -> dict[str, Any] | None:
    """Values of ``data-ground``: the picture to place the motion in; None where there is nothing to place."""
    if session.scene is None or session.motion is None:
        return None
    path = session.scene.path / "vid.mp4" if session.scene.kind == "templates" else session.scene.path
    if path.suffix.lower() in VIDEO_SUFFIXES:
        try:
            info = VideoReader(path).info
        except VideoError:
            return None
        width, height, address = info.width, info.height, session.previews.still(session.project, path)
    else:
        with Image.open(path) as image:
            width, height = ImageOps.exif_transpose(image).size
        address = session.previews.file(session.project, path, "").image
    if not address:
        return None
    placement = _placement(session)
    return {"address": address, "width": width, "height": height, "placement": placement.model_dump_json()}


def _placement(session: Session) -> Placement:
    return session.draft.placements.get(session.result_template, Placement())


def _place(session: Session, **values: Any) -> None:
    """Change how the motion is placed.

    Raises:
        Rejected: a value is out of range.
    """
    try:
        placement = Placement.model_validate(_placement(session).model_dump() | values)
    except ValidationError:
        raise Rejected("the motion cannot be placed like that; load the page again") from None
    placements = session.draft.placements | {session.result_template: placement}
    session.draft = session.draft.model_copy(update={"placements": placements})


def feet(session: Session, told: dict[str, Any]) -> None:
    """Say where the feet are when the motion begins."""
    _place(session, at=(told.get("x"), told.get("y")))


def _slide(name: str) -> Any:
    def slide(session: Session, told: dict[str, Any]) -> None:
        _place(session, **{name: text(told, "value")})

    return slide


def automatic(session: Session, told: dict[str, Any]) -> None:
    """Let staging find the place."""
    kept = {key: value for key, value in session.draft.placements.items() if key != session.result_template}
    session.draft = session.draft.model_copy(update={"placements": kept})
