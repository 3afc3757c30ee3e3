"""Backend `mediapipe`: the person by BlazePose, the outline refined, the body by the pose backend `anny`."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from mimo.stage import Rejected
from video_decomp.blazepose import LandmarkNetwork, PersonDetector
from video_decomp.character.choice import choose_person
from video_decomp.character.interface import CharacterSettings, Person
from video_decomp.character.matte import refine
from video_decomp.pose import anny
from video_decomp.segmentation.landmark_sightings import find_people

pose = anny
"""The pose backend that fits the body."""


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
    chosen = choose_person(people, settings.subject)
    landmarks = network.run_twice(image, chosen.roi)
    soft = landmarks.mask_in_image(*image.shape[:2])
    return Person(
        refine(image, soft),
        chosen.in_full,
        {"score": round(landmarks.score, 4), "people": len(people), "from": "network"},
        ["blazepose-detector", network.weights_name],
    )
