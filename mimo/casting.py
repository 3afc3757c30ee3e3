"""Who plays whom in a video with several people: ``anna=woman;ben=keep``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mimo.stage import Rejected

KEEP, REMOVE = "keep", "remove"
"""Roles that are no character: the person stays as filmed, or goes and the scene behind them shows."""
_SIGNS = "=;,"
"""Signs that separate: they cannot stand in names of members, nor of characters that are cast."""


def check_name(name: str) -> None:
    """Check that a member or a character can stand in a cast.

    Raises:
        Rejected: the name is empty, or holds a sign that separates, or a slash.
    """
    if not name or any(sign in name for sign in _SIGNS + "/"):
        raise Rejected(f"'{name}' cannot stand in a cast: a name without {' '.join(_SIGNS)} and / is needed")


@dataclass(frozen=True)
class Cast:
    """Which character plays which member of a group.

    Attributes:
        roles: member, and the name of the character, `KEEP` or `REMOVE`; in member order, so that two casts
            that mean the same are equal. Members that are not named are kept.
    """

    roles: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, roles: Iterable[tuple[str, str]]) -> Cast:
        """A cast of (member, role) pairs.

        Raises:
            Rejected: no pair, an empty name, or a member named twice.
        """
        pairs = sorted((member.strip(), role.strip()) for member, role in roles)
        if not pairs:
            raise Rejected("an empty cast; say who plays whom: anna=woman;ben=keep")
        for member, role in pairs:
            if not member or not role:
                raise Rejected(
                    f"cast '{member}={role}': give MEMBER=CHARACTER, MEMBER={KEEP} or MEMBER={REMOVE}"
                )
            check_name(member)
            check_name(role)
        members = [member for member, _ in pairs]
        if twice := sorted({member for member in members if members.count(member) > 1}):
            raise Rejected(f"cast: '{twice[0]}' is named twice; a member has one role")
        return cls(tuple(pairs))

    @classmethod
    def parse(cls, text: str) -> Cast:
        """A cast as it stands in a table or in the name of a result: pairs joined by ``;`` or ``,``.

        Raises:
            Rejected: it is empty, a pair is no pair, or a member is named twice.
        """
        pairs = []
        for part in text.replace(",", ";").split(";"):
            if part.strip():
                member, sign, role = part.partition("=")
                if not sign:
                    raise Rejected(f"cast '{text}': '{part.strip()}' is not MEMBER=CHARACTER")
                pairs.append((member, role))
        return cls.of(pairs)

    @property
    def name(self) -> str:
        """Name of its result, ``anna=woman,ben=man``: the same for the same cast, however it was written."""
        return ",".join(f"{member}={role}" for member, role in self.roles)

    @property
    def characters(self) -> list[str]:
        """Characters that play in it, sorted, each once."""
        return sorted({role for _, role in self.roles if role not in (KEEP, REMOVE)})

    @property
    def changes(self) -> bool:
        """Whether it makes anything that the video is not already."""
        return any(role != KEEP for _, role in self.roles)

    def role(self, member: str) -> str:
        """What becomes of a member; those that are not named are kept."""
        return dict(self.roles).get(member, KEEP)

    def check(self, members: Iterable[str], characters: Mapping[str, object] | None = None) -> None:
        """Check that it fits a group.

        Args:
            members: the group's.
            characters: those there are, by name; None: not checked.

        Raises:
            Rejected: a member or a character does not exist, or everybody is kept.
        """
        known = list(members)
        for member, _ in self.roles:
            if member not in known:
                raise Rejected(f"cast {self.name}: no member '{member}' (there is {', '.join(known)})")
        for character in self.characters if characters is not None else []:
            if characters is not None and character not in characters:
                there = ", ".join(characters) or "none"
                raise Rejected(
                    f"cast {self.name}: no character '{character}' (there is {there}; or {KEEP}, {REMOVE})"
                )
        if not self.changes:
            raise Rejected(f"cast {self.name}: everybody is kept, so nothing would change; replace somebody")
