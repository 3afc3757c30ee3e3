"""No scene, for compositing: the videos show a neutral grey, results come with transparency."""

from __future__ import annotations

from pathlib import Path

from mimo.scene_names import TRANSPARENT
from video_decomp.staging.colour import plain_scene
from video_decomp.staging.driver import Driver
from video_decomp.staging.interface import Scene, Wishes

GREY = (119, 119, 119)
"""sRGB of the grey that reflects 18 %, to which light meters are set."""


def recognises(text: str) -> bool:
    """Whether it is the word."""
    return text == TRANSPARENT


def open_scene(text: str, driver: Driver, wishes: Wishes, scratch: Path) -> Scene:
    """No scene; see `video_decomp.staging.interface`."""
    return plain_scene("transparent", text, GREY, driver, wishes)
