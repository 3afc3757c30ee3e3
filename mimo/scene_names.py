"""Names of scenes, and of templates that are a motion put into a scene: ``dance@park``."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ImageColor

from mimo.stage import Rejected

OWN = "own"
"""In the place of a scene: the motion's own."""
TRANSPARENT = "transparent"
"""In the place of a scene: none, for compositing."""
JOINT = "@"
"""Stands between motion and scene in the name of a staged template."""


def colour(text: str) -> str | None:
    """A colour as it stands in the name of a template; None if the text names none.

    Args:
        text: ``#203040``, ``#234``, ``203040``, or a name of CSS such as ``white``.

    Returns:
        Six hexadecimal digits, or the name, in lower case.
    """
    word = text.strip().lower()
    if word in ImageColor.colormap:
        return word
    digits = word.removeprefix("#")
    if len(digits) not in (3, 6) or any(sign not in "0123456789abcdef" for sign in digits):
        return None
    if len(digits) == 6:
        return digits
    return "".join(2 * digit for digit in digits) if word != digits else None


def is_reserved(name: str) -> bool:
    """Whether a word means a scene that no file makes: a colour, none, or the motion's own."""
    return name in (OWN, TRANSPARENT) or colour(name) is not None


def scene_argument(scene: str) -> str:
    """What the staging command line is told of a scene without files: ``#203040``, or none.

    Args:
        scene: as in the name of a staged template.
    """
    word = colour(scene)
    if word is None:
        return scene
    return f"#{bytes(ImageColor.getrgb(word)).hex()}" if word in ImageColor.colormap else f"#{word}"


@dataclass(frozen=True)
class Staging:
    """A motion put into a scene.

    Attributes:
        motion: name of the template whose person moves.
        scene: name of a template or a file, `TRANSPARENT`, or a colour (see `colour`).
    """

    motion: str
    scene: str

    @property
    def name(self) -> str:
        """Name of its template."""
        return f"{self.motion}{JOINT}{self.scene}"

    @classmethod
    def named(cls, name: str) -> Staging:
        """The staging that a template's name stands for."""
        motion, _, scene = name.partition(JOINT)
        return cls(motion, scene)

    def check(self, where: str) -> None:
        """Check that the name can be read back.

        Raises:
            Rejected: motion or scene have the joint in their own name.
        """
        for name in (self.motion, self.scene):
            if JOINT in name:
                raise Rejected(
                    f"{where}: '{name}' cannot be staged, since {JOINT} stands in its name; rename it"
                )
