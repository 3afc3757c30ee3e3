"""What the three pickers share: tiles, what is chosen, and where files are dropped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mimo.app.limits import Limits
from mimo.app.pages.session import Session
from mimo.app.project_folder import SUFFIXES, Entry, Kind

ACCEPTED = {"videos": "video/*", "motions": "", "characters": "image/*", "scenes": "video/*,image/*"}


def tile(session: Session, entry: Entry, chosen: bool, mark: str = "") -> dict[str, Any]:
    """Values of ``parts.tile`` for something that can be chosen."""
    return {
        "kind": entry.kind,
        "name": entry.name,
        "title": entry.name,
        "shown": session.previews.entry(session.project, entry),
        "look": "whole" if entry.kind == "characters" else "",
        "mark": "shared" if entry.shared and not mark else mark,
        "colour": "",
        "chosen": chosen,
    }


def chosen(
    session: Session, entry: Entry | None, facts: Iterable[str], words: str, nothing: str
) -> dict[str, Any]:
    """Values of ``picker.html`` for what is chosen.

    Args:
        session: of the user.
        entry: what is chosen; None: nothing.
        facts: about it.
        words: stand in its place if nothing is chosen.
        nothing: stand in the line below.
    """
    if entry is None:
        return {"look": "", "colour": "", "words": words, "title": "", "nothing": nothing}
    return {
        "look": "",
        "colour": "",
        "words": "",
        "shown": session.previews.entry(session.project, entry),
        "title": entry.name,
        "facts": list(facts),
        "kind": entry.kind,
        "name": entry.name,
        "deletable": not entry.shared,
    }


def zone(kind: Kind, words: str, limits: str) -> dict[str, Any]:
    """Values of ``parts.drop``: where files of a kind are dropped."""
    accept = ",".join(filter(None, [ACCEPTED[kind], *sorted(SUFFIXES[kind])]))
    return {
        "address": f"/upload/{kind}",
        "kind": kind,
        "words": words,
        "limits": limits,
        "accept": accept,
        "several": True,
    }


def video_limits(limits: Limits) -> str:
    """What a video may be, in words."""
    return f"up to {duration(limits.video_seconds)}, {limits.video_megabytes:g} MB"


def duration(seconds: float) -> str:
    """A time in words: ``4.2 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
