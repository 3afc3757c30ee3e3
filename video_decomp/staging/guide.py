"""Somebody who is seen in a picture shows how large people are in it, where the ground is, and the light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimo.body.motion import Motion
from mimo.body.world import World
from mimo.stage import Rejected
from video_decomp.character import mediapipe
from video_decomp.occlusion.hidden import silhouette
from video_decomp.pose import anny

NETWORK = "full"
WEIGHTS = ("blazepose-detector", f"blazepose-landmarks-{NETWORK}", "anny-body")
OVERLAP = 0.7
"""Least overlap of mask and fitted body with which it is believed."""
SMALLEST = 0.12
"""Least height of the person, in heights of the picture."""


@dataclass(frozen=True, eq=False)
class Guide:
    """A person who is seen in full.

    Attributes:
        mask: (h, w) uint8, soft.
        motion: one frame, whose ground is known.
    """

    mask: np.ndarray
    motion: Motion


def find_guide(image: np.ndarray, focal: float) -> Guide | None:
    """Look for a person who stands in a picture.

    Args:
        image: (h, w, 3) uint8 RGB.
        focal: focal length, pixels.

    Returns:
        None where nobody is seen in full and large enough, or the body cannot be fitted well.
    """
    try:
        person = mediapipe.find(image, mediapipe.Settings.model_validate({"network": NETWORK}))
    except Rejected:
        return None
    seen = person.mask > 127
    if not person.in_full or seen.any(1).sum() < SMALLEST * len(image):
        return None
    settings = anny.Settings.model_validate({"network": NETWORK, "focal_length": focal})
    motion = anny.estimate([(image, person.mask)], 1.0, settings).motion
    body = silhouette(motion, 0, motion.camera, seen.shape)
    fits = (body & seen).sum() > OVERLAP * (body | seen).sum()
    return Guide(person.mask, motion) if fits and World.of(motion).known else None
