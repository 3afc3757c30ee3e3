"""A template's scene frame by frame: what is behind the person, and what is in front."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from mimo.composition.layers import PersonLayer, composite
from mimo.template import Template


class Scene(NamedTuple):
    """One frame of a template.

    Attributes:
        background: (H, W, 3) uint8, the scene without the person.
        video: (H, W, 3) uint8, the driving video.
        occlusion: (H, W) uint8, 255 where something stands in front of the person; None: nothing does.
        sdc: (H, W, 3) uint8 motion code; where it was asked for.
    """

    background: np.ndarray
    video: np.ndarray
    occlusion: np.ndarray | None = None
    sdc: np.ndarray | None = None


def scenes(template: Template, frames: range, *, with_sdc: bool = False) -> Iterator[Scene]:
    """Some of a template's frames, in order.

    Args:
        template: with its videos.
        frames: indices into its `frame_numbers`.
        with_sdc: read the motion code, too.
    """
    occluders = template.frames("occ", frames) if template.has_occluder else None
    codes = template.frames("sdc", frames) if with_sdc else None
    for background, video in zip(template.frames("bk", frames), template.frames("vid", frames), strict=True):
        yield Scene(
            background,
            video,
            next(occluders) if occluders is not None else None,
            next(codes) if codes is not None else None,
        )


def in_scene(template: Template, frames: range, people: Iterable[PersonLayer]) -> Iterator[np.ndarray]:
    """A person in a template's scene: finished frames, uint8 (H, W, 3).

    Args:
        template, frames: as for `scenes`.
        people: the person, one layer a frame.
    """
    for scene, person in zip(scenes(template, frames), people, strict=True):
        yield composite(scene.background, [person], scene.video, scene.occlusion)
