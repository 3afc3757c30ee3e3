"""Opens a scene of any kind: the first kind that recognises what was given."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from mimo.stage import Rejected
from video_decomp.staging import colour, picture, template, transparent, video
from video_decomp.staging.driver import Driver
from video_decomp.staging.interface import Scene, Wishes

KINDS: tuple[ModuleType, ...] = (transparent, template, picture, video, colour)


def open_scene(text: str, driver: Driver, wishes: Wishes, scratch: Path) -> Scene:
    """Open a scene.

    Args:
        text: a template's folder, a picture or video file, a colour, or ``transparent``.
        driver: whose motion is put into it.
        wishes: what is said by hand about it.
        scratch: folder for what is only needed until the template is whole.

    Raises:
        Rejected: nothing recognises it, or it cannot be used.
    """
    for kind in KINDS:
        if kind.recognises(text):
            scene: Scene = kind.open_scene(text, driver, wishes, scratch)
            return scene
    raise Rejected(
        f"{text}: no scene: there is no such folder or file, and it is no colour (such as #203040 or white) "
        "and not `transparent`"
    )
