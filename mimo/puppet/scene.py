"""What the puppet must fit into: the scene's light, tone, sharpness and grain, measured on a few frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mimo.body.motion import Motion
from mimo.body.raster import fragments
from mimo.puppet.lift import albedo_groups, normals_of
from mimo.puppet.light import LightEstimate, Tone, grain, sharpness
from mimo.template import Template

SAMPLES = 5
"""Frames looked at."""


@dataclass(frozen=True)
class Scene:
    """The scene around the driver.

    Attributes:
        light: (3,) light direction coefficients, camera space.
        tone: of the surroundings of the person.
        person: mean brightness of the person's pixels, 0..255.
        sharpness: of the person's pixels, see `mimo.puppet.light.sharpness`.
        grain: standard deviation of the noise, levels.
    """

    light: np.ndarray
    tone: Tone
    person: float
    sharpness: float
    grain: float


NOWHERE = Scene(np.zeros(3, np.float32), Tone(0.0, 255.0, np.ones(3, np.float32)), 128.0, 1.0, 0.0)
"""No scene at all, as behind an animation on white: nothing to take light, tone or grain from."""


def measure(template: Template, motion: Motion) -> Scene:
    """Look at frames spread over the clip in which somebody is seen.

    Where nobody is, the direction of the light stays unknown, and the surroundings of the place where the
    character will be tell the rest.

    Args:
        template: with its scene.
        motion: of the character, as long as the template.
    """
    seen_person = _seen_person(template, motion)
    person = seen_person or motion
    numbers = template.frame_numbers
    seen = numbers[person.visible[numbers]]
    chosen = np.unique(np.linspace(0, max(len(seen) - 1, 0), SAMPLES).round().astype(int))
    topology = person.body.topology
    labels = albedo_groups(topology.bone_names, topology.skin_indices, topology.skin_weights)[
        topology.faces[:, 0]
    ]
    estimate = LightEstimate(len(topology.bone_names))
    sharp, noise, pixels, levels = [], [], [], []
    for number in seen[chosen] if len(seen) else numbers[:1]:
        frame, *after = template.videos["vid"].frames(int(number), int(number) + 2)
        mask = template.videos["mask"].frame(int(number)) > 127
        points = person.vertices(int(number))
        drawn = fragments(points, topology.faces, person.camera)
        inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        around = _around(mask if seen_person else drawn.faces >= 0)
        if seen_person:
            normals = drawn.interpolate(normals_of(person.body, points), topology.faces)
            estimate.add(frame, normals, labels[drawn.faces], inside & (drawn.faces >= 0))
        else:
            inside = around
        sharp.append(sharpness(frame, inside))
        levels.append(float(frame[inside].mean()) if inside.any() else 128.0)
        pixels.append(frame[around][:: max(1, int(around.sum()) // 20000)])
        noise += [grain(frame, second, ~_grown(mask)) for second in after]
    return Scene(
        estimate.solve(),
        Tone.of(np.concatenate(pixels)),
        float(np.median(levels)),
        float(np.median(sharp)),
        float(np.median(noise)) if noise else 0.0,
    )


def _seen_person(template: Template, motion: Motion) -> Motion | None:
    """Motion of the person whom the scene's mask shows; None for nobody."""
    if template.scene_motion is None:
        return None
    return motion if template.scene_motion == template.motion else Motion.load(template.scene_motion)


def _grown(mask: np.ndarray) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0


def _around(mask: np.ndarray) -> np.ndarray:
    """The person and the surroundings, half the person's height to all sides; everything if there is none."""
    if not mask.any():
        return np.ones_like(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    reach = (rows[-1] - rows[0]) // 2
    result = np.zeros_like(mask)
    result[max(rows[0] - reach, 0) : rows[-1] + reach, max(columns[0] - reach, 0) : columns[-1] + reach] = (
        True
    )
    return result
