"""Backend `mediapipe`: the person by BlazePose, the outline refined, the body by the pose backend `anny`."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from mimo.stage import Rejected
from video_decomp.blazepose import LandmarkNetwork, PersonDetector
from video_decomp.character.interface import CharacterSettings, Person
from video_decomp.character.matte import refine
from video_decomp.pose import anny
from video_decomp.segmentation.subject import Sighting, find_people

pose = anny
"""The pose backend that fits the body."""
PART_HIDDEN = 0.25
"""How much less a person counts who is not seen in full."""


class Settings(CharacterSettings):
    """Settings of the backend `mediapipe`."""

    network: Literal["full", "heavy"] = Field(
        "full", description="landmark network; heavy is fetched separately and takes twice the time"
    )
    threads: int = Field(2, ge=1, description="CPU threads of the networks")


def find(image: np.ndarray, settings: Settings) -> Person:
    """Find and mask the person; see `video_decomp.character.interface`.

    Raises:
        Rejected: there is no person, or none where the settings say.
    """
    network = LandmarkNetwork(settings.network, settings.threads)
    people = find_people(image, 0, PersonDetector(settings.threads), network, thorough=True)
    if not people:
        raise Rejected("no person found; give a picture that shows one person from head to feet")
    chosen = _choose(people, settings)
    landmarks = network.run_twice(image, chosen.roi)
    soft = landmarks.mask_in_image(*image.shape[:2])
    return Person(
        refine(image, soft),
        chosen.in_full,
        {"score": round(landmarks.score, 4), "people": len(people), "from": "network"},
        ["blazepose-detector", network.weights_name],
    )


def _choose(people: list[Sighting], settings: Settings) -> Sighting:
    """The subject among the people seen.

    Raises:
        Rejected: nobody is where the settings say.
    """
    ranked = sorted(people, key=lambda s: -s.area * (1 if s.in_full else PART_HIDDEN))
    wanted = settings.subject
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
