"""The driver's motion of a template, and the drawing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mimo.body.colours import chosen_colours
from mimo.body.motion import Motion
from mimo.stage import Rejected
from mimo.template import Template


def driver_motion(template: Template, needed_by: str, instead: str) -> Motion:
    """The driver's motion.

    Args:
        template: whose.
        needed_by: what needs it, for the message.
        instead: what to do without it, for the message.

    Raises:
        Rejected: there is none, or it does not belong to the clip.
    """
    if template.motion is None:
        raise Rejected(
            f"{template.folder}: {needed_by} needs motion.npz, which templates of the reference "
            f"implementation lack; {instead}, or make the template from the video again"
        )
    motion = Motion.load(template.motion)
    if len(motion) != template.info.frames:
        raise Rejected(
            f"{template.motion}: {len(motion)} frames, but vid.mp4 has {template.info.frames}; "
            "run the pose stage again"
        )
    return motion


def drawn_in(template: Template, motion: Motion) -> np.ndarray:
    """Colours (V, 3) uint8 of the body's vertices in which a template's motion code is drawn.

    Raises:
        Rejected: they stood in a file that is not there any more.
    """
    stages: dict[str, Any] = (template.config.pipeline or {}).get("stages", {})
    choice = stages.get("pose", {}).get("settings", {}).get("colours", "canonical")
    topology = motion.body.topology
    chosen = chosen_colours(
        choice if choice in ("canonical", "reference") else Path(choice), len(topology.mean_vertices)
    )
    return topology.colours if chosen is None else chosen
