"""Which of the people in a picture becomes the character."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np

from mimo.stage import Rejected
from video_decomp.character.interface import Box, Point
from video_decomp.segmentation.subject import Sighting

Seen = TypeVar("Seen", bound=Sighting)

PART_HIDDEN = 0.25
"""How much less a person counts who is not seen in full."""


def choose_person(people: list[Seen], wanted: Literal["largest"] | int | Box | Point) -> Seen:
    """The wanted one of the people seen.

    Args:
        people: at least one.
        wanted: `subject` of the stage's settings.

    Raises:
        Rejected: nobody is where the settings say.
    """
    ranked = sorted(people, key=lambda s: -s.area * (1 if s.in_full else PART_HIDDEN))
    if wanted == "largest":
        return ranked[0]
    if isinstance(wanted, int):
        if wanted < len(ranked):
            return ranked[wanted]
    elif isinstance(wanted, tuple):
        x, y = (wanted[0], wanted[1]) if len(wanted) == 2 else np.mean([wanted[:2], wanted[2:]], axis=0)
        around = [s for s in people if s.box[0] <= x < s.box[2] and s.box[1] <= y < s.box[3]]
        if around:
            return min(around, key=lambda s: float(np.hypot(*(s.centre - (x, y)))))
    places = "; ".join(f"around {[round(float(v)) for v in s.box]}" for s in ranked)
    raise Rejected(f"no person found at subject {wanted}; people seen: {places}")
