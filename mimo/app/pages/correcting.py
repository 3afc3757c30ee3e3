"""Who is meant, and where the mask is wrong: what is clicked and painted on a frame."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from mimo import corrections
from mimo.app.pages.layers import corrections_folder
from mimo.app.pages.markup import render
from mimo.app.pages.section import Section
from mimo.app.pages.session import Session
from mimo.stage import Rejected
from mimo.video import VideoReader


class CorrectingSection(Section):
    """Tools beside a large frame; its markup is fixed, since a drawing lives in it."""

    def __init__(self) -> None:
        super().__init__("correcting", "corrections", fixed=render("corrections"))
        self.actions = {
            "subject": choose_person,
            "click": add_click,
            "painted": painted,
            "undo": undo,
            "clear-frame": clear_frame,
            "clear-all": clear_all,
        }


def _click(session: Session, told: dict[str, Any]) -> corrections.Click:
    """What was clicked.

    Raises:
        Rejected: it is not on a frame of the chosen video.
    """
    _require_video(session)
    try:
        click = corrections.Click.model_validate(
            {"person": True} | {k: told[k] for k in ("frame", "x", "y", "person") if k in told}
        )
    except ValidationError:
        raise Rejected("that click was not understood; load the page again") from None
    info = VideoReader(session.template / "vid.mp4").info
    if click.frame >= info.frames or click.x >= info.width or click.y >= info.height:
        raise Rejected("that click is not on the video; load the page again")
    return click


def _require_video(session: Session) -> None:
    if session.motion is None or session.motion.kind != "videos":
        raise Rejected("only videos of yours can be corrected; templates are used as they are")


def _frame(told: dict[str, Any]) -> int:
    frame = told.get("frame")
    if not isinstance(frame, int):
        raise Rejected("that frame was not understood; load the page again")
    return frame


def choose_person(session: Session, told: dict[str, Any]) -> None:
    """Follow the person at a point of a frame: a setting beside the video."""
    click = _click(session, told)
    fps = float(VideoReader(session.template / "vid.mp4").info.fps)
    subject = {"subject": [click.x, click.y], "subject_time": round((click.frame + 0.5) / fps, 4)}
    session.project.change_side_settings("videos", session.draft.motion, {"segmentation": subject})


def add_click(session: Session, told: dict[str, Any]) -> None:
    """Say of a point whether it belongs to the person."""
    corrections.add_click(corrections_folder(session), _click(session, told))


def painted(session: Session, told: dict[str, Any]) -> None:
    """A painted mask was sent; it lies there already."""
    _require_video(session)


def undo(session: Session, told: dict[str, Any]) -> None:
    """Take back the last click of a frame."""
    _require_video(session)
    corrections.undo_click(corrections_folder(session), _frame(told))


def clear_frame(session: Session, told: dict[str, Any]) -> None:
    """Take back what was clicked and painted on a frame."""
    _require_video(session)
    corrections.clear(corrections_folder(session), _frame(told))


def clear_all(session: Session, told: dict[str, Any]) -> None:
    """Take back all corrections of the video."""
    _require_video(session)
    corrections.clear(corrections_folder(session))
