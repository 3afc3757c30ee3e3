"""Backend `sam2`: the person by RT-DETR and ViTPose, the mask by SAM 2.1 or the first SAM, body by `anny`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimo.stage import Rejected
from mimo.weights import registry
from video_decomp.character.choice import choose_person
from video_decomp.character.interface import CharacterSettings, Person
from video_decomp.character.matte import refine
from video_decomp.pose import anny
from video_decomp.sam2.interface import Prompt
from video_decomp.sam2.settings import NetworkSettings

pose = anny
"""The pose backend that fits the body."""
BODY = "pose/anny"


class Settings(CharacterSettings, NetworkSettings):
    """Settings of the backend `sam2`."""

    def weight_files(self) -> dict[str, Path | None]:
        """Entries of the registry for the chosen networks, and for the pose backend."""
        files = super().weight_files()
        if self.first_mask == "sam":
            del files[self.sam2]
        body = [
            name for name, item in registry().files.items() if BODY in item.needed_by and not item.optional
        ]
        return files | dict.fromkeys(body)


def find(image: np.ndarray, settings: Settings) -> Person:
    """Find and mask the person; see `video_decomp.character.interface`.

    Raises:
        Rejected: there is no person, or none where the settings say; a network's file is missing or wrong.
    """
    from video_decomp.sam2.networks import Networks

    networks = Networks(settings)
    [people] = networks.people_finder().find([image], [0])
    if not people:
        raise Rejected("no person found; give a picture that shows one person from head to feet")
    chosen = choose_person(people, settings.subject)
    prompt = Prompt(0, box=tuple(chosen.box.tolist()))
    soft = networks.first_mask(image, prompt)
    if not (soft > 0.5).any():
        place = [round(value) for value in chosen.box]
        raise Rejected(f"the mask of the person around {place} is empty; choose another subject")
    matter = networks.matter()
    mask = _matted(matter.alpha(image, soft > 0.5)) if matter else refine(image, soft, coarse=False)
    metrics = {"score": round(chosen.score, 4), "people": len(people), "from": "network"}
    return Person(mask, chosen.in_full, metrics, networks.used)


def _matted(alpha: np.ndarray) -> np.ndarray:
    return np.round(alpha * 255).astype(np.uint8)
