"""What a motion is put into: every kind of scene answers with the same `Scene`.

A kind of scene is a module of this package with ``recognises(text) -> bool`` and
``open_scene(text, driver, wishes, scratch) -> Scene``; `video_decomp.staging.scenes` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import Field

from mimo.body.motion import Motion
from mimo.stage import StageSettings
from video_decomp.motion.placing import Ground
from video_decomp.motion.view import Shot
from video_decomp.staging.driver import Driver, Performance

Frames = Callable[[np.ndarray], Iterator[np.ndarray]]
"""Gives a video's frames of some numbers (N,), in that order, streamed: uint8 RGB, or grey for masks."""


class Wishes(StageSettings):
    """What may be said by hand about a scene and the place of the motion in it."""

    at: tuple[float, float] | None = Field(
        None,
        description="[x, y] where the feet are when the motion begins, pixels of the scene as it was given; "
        "null: where the scene's person begins; without one, so that the way lies in the middle",
    )
    turn: float | None = Field(
        None,
        ge=-360,
        le=360,
        description="degrees to the left of the way that the scene's person goes; without one, of the way to "
        "the camera; null: 0, or another if the motion would leave the picture",
    )
    scale: float = Field(1, gt=0.05, lt=20, description="how much larger the person is than life")
    height: float | None = Field(
        None,
        gt=0,
        description="how tall a person is who stands at `at` (null: in the middle of the lower edge): pixels "
        "of the scene, or up to 2 in heights of the picture; null: from the camera's height, 1.6 m",
    )
    horizon: float | None = Field(
        None,
        description="row of the horizon, in heights of the picture from its top, in a picture or video; "
        "null: guessed",
    )
    lens: float | None = Field(
        None,
        ge=0.3,
        le=20,
        description="focal length of a picture's or video's camera, in widths of its longer side; null: as "
        "the file says, else 1",
    )
    people: bool = Field(
        True,
        description="let somebody who is seen in full in a picture, or at a video's beginning, show scale, "
        "ground and light, unless height or horizon are given",
    )
    size: tuple[int, int] | None = Field(
        None,
        description="[width, height] of the picture where the scene has none (colour, transparent), with a "
        "camera that frames the whole motion; null: the motion's own camera",
    )
    short_side: int = Field(
        720, ge=64, le=4320, description="pixels of the shorter side of a picture or video, at most"
    )
    occluder: Path | None = Field(
        None, description="picture that is white where something stands in front, for a picture or video"
    )
    occluders: Literal["auto", "always", "never"] = Field(
        "auto",
        description="whether what stands in front covers the person: auto, where it is nearer; always; never",
    )


@dataclass(frozen=True, eq=False)
class Placed:
    """A motion in a scene.

    Attributes:
        shot: the scene's camera, in the motion's world.
        metrics: numbers about the place.
        warnings: one sentence each, for the user.
    """

    shot: Shot
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene.

    Attributes:
        kind: of scene.
        name: for the record.
        size: width and height, even.
        fps: frames a second; None: those of the motion.
        length: frames that there are; None: one that does for all time.
        view: puts a performance into it.
        vid, bk: pictures of the scene, with and without its person.
        mask: the person seen in `vid`; None: nobody.
        occ: soft masks of what stands in front; None: nothing.
        ground: before the camera, at the scale of the person put into it; None where nothing can be in front.
        person: motion of whoever is seen, of `length` frames, at the scene's own scale.
        ground_from: what told where the ground is: template, person, hand, guess, or the motion itself.
        sound: file with the scene's sound.
        warnings: one sentence each, for the user.
        weights: names in the weights registry of what the scene was made with.
        plain, transparent: see `Template`.
    """

    kind: str
    name: str
    size: tuple[int, int]
    fps: Fraction | None
    length: int | None
    view: Callable[[Performance], Placed]
    vid: Frames
    bk: Frames
    mask: Frames | None = None
    occ: Frames | None = None
    ground: Ground | None = None
    person: Motion | None = None
    ground_from: str = "motion"
    sound: Path | None = None
    warnings: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    plain: bool = False
    transparent: bool = False


class Kind(Protocol):
    """A module that opens one kind of scene."""

    recognises: Callable[[str], bool]
    open_scene: Callable[[str, Driver, Wishes, Path], Scene]
