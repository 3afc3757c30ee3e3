"""Backend `puppet`: the character's picture, lifted onto its body, acts out the driver's motion.

A fast preview on the CPU after Weng, Curless and Kemelmacher-Shlizerman, "Photo Wake-Up: 3D Character
Animation from a Single Photo" (CVPR 2019). Nothing is generated: every pixel of the character stems from
its picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field

from mimo.body.model import Topology
from mimo.body.motion import Motion
from mimo.character import Character
from mimo.composition.layers import Layer, PersonLayer
from mimo.composition.scenes import in_scene
from mimo.puppet.hands import posed
from mimo.puppet.lift import Puppet, lift
from mimo.puppet.light import Tone, blur_to_match, exposure, tone_table
from mimo.puppet.render import Renderer, contact_shadow, feet
from mimo.puppet.scene import NOWHERE, Scene, measure
from mimo.retargeting.driver import driver_motion
from mimo.retargeting.performance import Performance
from mimo.retargeting.proportions import performing_body
from mimo.retargeting.settings import BodySettings
from mimo.stage import Rejected
from mimo.synthesis.interface import Job
from mimo.template import Template

WEIGHTS = "anny-body"


class Settings(BodySettings):
    """Settings of the puppet backend."""

    body_model: ClassVar[str | None] = "Anny"

    relight: float = Field(
        0.9,
        ge=0,
        le=1,
        description="how much the direction of light follows the scene instead of the picture",
    )
    tone: float = Field(
        0.5, ge=0, le=1, description="how much contrast and tint follow the scene instead of the picture"
    )
    shadow: float = Field(0.45, ge=0, le=1, description="darkness of the contact shadow; 0 draws none")
    sharpness: Literal["scene", "picture"] = Field(
        "scene", description="blur and grain of the character: as in the scene, or untouched"
    )
    samples: int = Field(2, ge=1, le=4, description="samples per pixel along each axis, for smooth edges")


def synthesise(job: Job, settings: Settings) -> Iterator[np.ndarray]:
    """Finished frames of the template with the character in it; see `mimo.synthesis.interface`.

    Raises:
        Rejected: as `layers`.
    """
    return in_scene(job.template, job.frames, layers(job, settings))


def layers(job: Job, settings: Settings) -> Iterator[PersonLayer]:
    """The character alone, frame by frame; see `mimo.synthesis.interface`.

    Raises:
        Rejected: the template holds no motion of its own kind.
    """
    template = job.template
    motion = _motion(template)
    has_scene = "mask" in template.videos and not template.plain
    if not has_scene:
        settings = settings.model_copy(update={"relight": 0.0, "tone": 0.0, "sharpness": "picture"})
    job.weights.append(WEIGHTS)
    puppet = lift(job.character, settings.relight)
    job.metrics.update(puppet.metrics)
    if puppet.metrics["silhouette_iou_lifted"] < 0.85:
        job.warnings.append(
            f"{job.character.name}: body and mask of the character agree badly "
            f"(overlap {puppet.metrics['silhouette_iou_lifted']:.2f}); another picture may look better"
        )
    body = performing_body(puppet.body, job.character.body, motion, settings)
    actor = Performance(motion, body, float(template.info.fps), template.camera_stands)
    scene = measure(template, motion) if has_scene else NOWHERE
    job.metrics["scene"] = {
        "light": [round(float(value), 3) for value in scene.light],
        "grain": round(scene.grain, 2),
        "height": round(float(np.ptp(body.rest_vertices[:, 2])), 3),
    }
    return _drawn(job, actor, _dressed_texture(job.character, puppet, scene, settings), scene, settings)


def _motion(template: Template) -> Motion:
    """The driver's motion.

    Raises:
        Rejected: there is none, it does not belong to the clip, or it moves another body than Anny's.
    """
    motion = driver_motion(template, "the puppet backend", "use --backend mimo")
    ours = Topology.load().model
    if motion.model != ours:
        raise Rejected(
            f"{template.motion}: the puppet backend needs a motion of Anny ({ours}), this one is of "
            f"{motion.model}; make the template with pose backend: anny, or use synthesis backend: mimo, "
            "which needs no motion"
        )
    return motion


def _dressed_texture(character: Character, puppet: Puppet, scene: Scene, settings: Settings) -> np.ndarray:
    """The texture in the scene's tone."""
    crop, (width, height) = character.record.crop, character.record.source_size
    rows, columns = np.indices(character.mask.shape)
    x, y = crop.left + (columns + 0.5) / crop.scale, crop.top + (rows + 0.5) / crop.scale
    inside = (x > 0) & (y > 0) & (x < width) & (y < height)
    background = character.image[inside & (character.mask < 10)]
    # A studio's plain background says nothing about the light: there the person alone has to.
    plain = len(background) < 500 or background.std(axis=0).mean() < 8
    person = character.image[character.mask > 240]
    tone = Tone.of(person if plain else character.image[inside])
    gain = exposure(float(person.mean()), scene.person)
    table = tone_table(tone, scene.tone, gain, settings.tone * (0.5 if plain else 1.0))
    return cv2.LUT(puppet.texture, table[:, None])


def _drawn(
    job: Job, actor: Performance, texture: np.ndarray, scene: Scene, settings: Settings
) -> Iterator[PersonLayer]:
    """Draw the character and its shadow frame by frame."""
    template, motion = job.template, actor.motion
    light = settings.relight * scene.light
    renderer = Renderer(actor.body, texture, motion.camera, settings.samples)
    present = _present(motion, template)
    blur = grain = 0.0
    if settings.sharpness == "scene":
        whole_clip = (number for number in template.frame_numbers.tolist() if number in present)
        drawn = (renderer.draw(posed(*actor.at(number)), light) for number in whole_clip)
        blur = _matching_blur(drawn, scene)
        grain = scene.grain
    shadow_feet = feet(actor.body)
    for number in template.frame_numbers[job.frames.start : job.frames.stop].tolist():
        points = posed(*actor.at(number)) if number in present else None
        layer = renderer.draw(points, light) if points is not None else None
        if points is None or layer is None:
            yield PersonLayer()
            continue
        shadow = None
        if settings.shadow > 0:
            ground = actor.ground(points)
            shadow = contact_shadow(points, shadow_feet, actor.up, ground, motion.camera, settings.shadow)
        yield PersonLayer(layer.blurred(blur).grained(grain, number), shadow)


def _present(motion: Motion, template: Template) -> range:
    """Frames in which the character may be seen.

    Before it first appears and after it left, a person can only be behind something.
    """
    seen = np.flatnonzero(motion.visible)
    if not len(seen):
        return range(0)
    return range(len(motion)) if template.has_occluder else range(seen[0], seen[-1] + 1)


def _matching_blur(layers: Iterator[Layer | None], scene: Scene) -> float:
    """Blur, in pixels, that makes a clip's first layer as soft as the scene."""
    layer = next((layer for layer in layers if layer is not None), None)
    if layer is None:
        return 0.0
    solid = cv2.erode((layer.alpha > 0.99).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    image = np.clip(layer.colour, 0, 255).astype(np.uint8)
    return blur_to_match(image, solid, scene.sharpness)
