"""A colour as a scene: the motion is seen by its own camera, or by one that frames all of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import ImageColor

from mimo.scene_names import colour
from mimo.stage import Rejected
from video_decomp.motion.placing import Ground, axes_at, mark_at
from video_decomp.motion.timing import between
from video_decomp.motion.view import Shot, View, shot_at, shot_of
from video_decomp.staging.driver import Driver, Performance
from video_decomp.staging.frames import of_image
from video_decomp.staging.interface import Placed, Scene, Wishes
from video_decomp.staging.placement import place_at

SMALLEST = 64


def recognises(text: str) -> bool:
    """Whether it is a colour: ``#203040``, ``#234``, or a name of CSS."""
    return colour(text) is not None


def open_scene(text: str, driver: Driver, wishes: Wishes, scratch: Path) -> Scene:
    """A scene of one colour; see `video_decomp.staging.interface`.

    Raises:
        Rejected: the size that is asked for is not possible.
    """
    name = colour(text)
    assert name is not None
    rgb = ImageColor.getrgb(name if name in ImageColor.colormap else f"#{name}")[:3]
    return plain_scene("colour", text, (rgb[0], rgb[1], rgb[2]), driver, wishes)


def plain_scene(kind: str, name: str, rgb: tuple[int, int, int], driver: Driver, wishes: Wishes) -> Scene:
    """A scene that is the same everywhere.

    Raises:
        Rejected: the size that is asked for is not possible.
    """
    width, height = wishes.size or (int(value) for value in driver.motion.camera[3:])
    if width % 2 or height % 2 or min(width, height) < SMALLEST:
        raise Rejected(f"size {width}x{height}: width and height must be even and at least {SMALLEST}")
    image = np.full((height, width, 3), rgb, np.uint8)
    return Scene(
        kind=kind,
        name=name,
        size=(width, height),
        fps=None,
        length=None,
        view=partial(_framed if wishes.size else _as_it_was, driver=driver, wishes=wishes),
        vid=of_image(image),
        bk=of_image(image),
        plain=True,
        transparent=kind == "transparent",
    )


def _framed(performance: Performance, driver: Driver, wishes: Wishes) -> Placed:
    """By a camera that frames the whole motion."""
    width, height = wishes.size or (0, 0)
    turn = {} if wishes.turn is None else {"azimuth": -wishes.turn}
    view = View.model_validate({"width": width, "height": height} | turn)
    return Placed(shot_of(performance.poses, performance.figure, view, performance.fps))


def _as_it_was(performance: Performance, driver: Driver, wishes: Wishes) -> Placed:
    """By the motion's own camera, from where it saw the person then."""
    motion = driver.motion
    own = Ground.of(motion)
    ground = own.scaled(1 / wishes.scale)
    frames = performance.times * driver.skeleton.fps
    mark = mark_at(motion, own, min(round(frames[0]), len(motion) - 1))
    place = mark.place / wishes.scale if wishes.at is None else place_at(ground, *wishes.at)
    axes = axes_at(ground, ground.turned(mark.heading, wishes.turn or 0), 0)
    start = performance.poses.hips[0] * np.array([1, 1, 0])
    shot = shot_at(ground, axes, start, place, len(performance.poses))
    return Placed(shot if motion.view is None else _carried(shot, motion.view, frames, wishes.scale))


def _carried(shot: Shot, view: np.ndarray, frames: np.ndarray, scale: float) -> Shot:
    """A camera that goes the way of another from where that one was at first.

    Args:
        shot: where it stands at first.
        view: (T, 3, 4) of the other, see `Motion`.
        frames: (N,) at which of them it is, in frames, ascending.
        scale: how much larger people are than life.
    """
    before = np.minimum(frames.astype(int), len(view) - 2)
    share = frames - before
    turn = view[:, :, :3].astype(np.float64)
    places = -np.einsum("tji,tj->ti", turn, view[:, :, 3]) / scale
    turn = between(turn[before], turn[before + 1], share)
    place = places[before] + share[:, None] * (places[before + 1] - places[before])
    axes = turn @ turn[0].T @ shot.axes[0]
    way = np.einsum("tji,tjk,tk->ti", axes, turn, place - place[0])
    return Shot(axes, shot.places[0] + way, shot.camera)
