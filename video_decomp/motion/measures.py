"""How well feet keep to the ground, in metres of the motion itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from mimo.body.figure import Figure, Poses
from mimo.body.rig import SIDES
from mimo.retargeting.contacts import Stance

MILLIMETRES = 1000


def foot_metrics(poses: Poses, figure: Figure, standing: tuple[list[Stance], list[Stance]]) -> dict[str, Any]:
    """Numbers for the record; the ground is z = 0.

    Returns:
        `planted_share`: part of the frames in which a foot stands; `slide_mm`: mean distance of what touches
        the ground (heel, ball) from its mean place in the stance; `slide_max_mm`: the largest; `hover_mm`:
        mean height of what touches; `sunk_mm`: how deep the body's lowest point gets under the ground.
    """
    places = figure.places(poses)
    slides, heights, planted = [np.zeros(0)], [np.zeros(0)], np.zeros(len(poses), bool)
    for side, own in zip(SIDES, standing, strict=True):
        points = figure.foot_points(poses, places, side)
        for stance in own:
            planted[stance.start : stance.stop] = True
            for point in range(2):
                touching = points[stance.start : stance.stop, point][stance.touches[:, point]]
                if len(touching):
                    slides.append(np.linalg.norm(touching[:, :2] - touching[:, :2].mean(0), axis=1))
                    heights.append(np.abs(touching[:, 2]))
    slide, height = np.concatenate(slides), np.concatenate(heights)
    lowest = figure.skin(poses, figure.sample, places)[:, :, 2].min()
    return {
        "planted_share": round(float(planted.mean()), 3),
        "stances": sum(map(len, standing)),
        "slide_mm": round(float(slide.mean()) * MILLIMETRES, 2) if len(slide) else 0.0,
        "slide_max_mm": round(float(slide.max()) * MILLIMETRES, 2) if len(slide) else 0.0,
        "hover_mm": round(float(height.mean()) * MILLIMETRES, 2) if len(height) else 0.0,
        "sunk_mm": round(float(max(-lowest, 0)) * MILLIMETRES, 2),
    }
