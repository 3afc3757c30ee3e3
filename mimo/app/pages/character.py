"""Who: a picture of a person, head to feet."""

from __future__ import annotations

from typing import Any

from mimo.app.pages.gallery import chosen, tile, zone
from mimo.app.pages.markup import render
from mimo.app.pages.section import Section
from mimo.app.pages.session import Session, text


class CharacterSection(Section):
    """Picks the character."""

    def __init__(self) -> None:
        super().__init__("character")
        self.actions = {"pick": pick, "uploaded": pick, "delete": delete}

    def draw(self, session: Session) -> str:
        """See `Section.draw`."""
        limits = session.core.limits
        prepared = session.project.place("prepared") / session.draft.character / "character.json"
        return render(
            "picker",
            step=2,
            title="Character",
            hint="who moves",
            chosen=chosen(
                session,
                session.character,
                ["prepared"] if prepared.is_file() else [],
                "Drop a picture of one person, head to feet.",
                "Nobody chosen yet",
            ),
            ground=None,
            colour="",
            tiles=[
                tile(session, one, one == session.character) for one in session.project.entries("characters")
            ],
            empty="No characters yet. Pictures you add appear here.",
            zones=[zone("characters", "Choose a picture", f"up to {limits.picture_megabytes:g} MB")],
        )


def pick(session: Session, told: dict[str, Any]) -> None:
    """Choose a character."""
    entry = session.project.entry("characters", text(told, "name"))
    session.project.use(entry)
    session.draft.character = entry.name


def delete(session: Session, told: dict[str, Any]) -> None:
    """Delete a character, and what was made with it."""
    if session.character is not None and session.character.name == text(told, "name"):
        session.core.delete(session.project, session.character)
        session.draft.character = ""
