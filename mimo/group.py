"""A group: a video of which several people became templates, and the scene without all of them.

The folder ``templates/VIDEO/`` holds ``vid.mp4``, ``mask.mp4`` (everybody), ``people.mp4`` (who is where),
``bk.mp4`` (nobody left), ``occ.mp4`` (what stands before somebody and is nobody; may be missing) and
``config.json`` with ``kind: group``. Motions are those of the members' templates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from mimo.files import sha256
from mimo.stage import Rejected
from mimo.template import CONFIG, Template, TemplateConfig, check_alike, check_occluder
from mimo.video import VideoError, VideoReader

PEOPLE = "people"
"""The video that says whose each pixel is: black for nobody's, lighter from member to member."""
_GREY = ("mask", PEOPLE, "occ")


class Member(BaseModel):
    """One person of a group.

    Attributes:
        name: what casts call them.
        template: name of the folder of their template.
        mask_sha256: digest of that template's ``mask.mp4``, of which the group was made.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str
    template: str
    mask_sha256: str


def shades(count: int) -> np.ndarray:
    """Grey values in ``people.mp4`` of nobody and of so many members: (count + 1,) uint8."""
    return (255 * np.arange(count + 1) // count).astype(np.uint8)


def numbers(image: np.ndarray, count: int) -> np.ndarray:
    """Whose the pixels of a frame of ``people.mp4`` are: uint8, 0 nobody's, then 1 to `count`."""
    return np.rint(image.astype(np.float32) * (count / 255)).astype(np.uint8)


@dataclass(frozen=True)
class Group:
    """A group's folder that was found whole.

    Attributes:
        scene: its videos ``vid``, ``mask``, ``people``, ``bk`` and, if there is one, ``occ``, with frames,
            name and time as those of a template.
        members: in the order of ``people.mp4``.
    """

    scene: Template
    members: tuple[Member, ...]

    @classmethod
    def load(cls, folder: Path | str) -> Group:
        """Open a group and check it.

        Raises:
            Rejected: it is a template of one person, a file is missing or damaged, or they do not fit.
        """
        folder = Path(folder)
        config = TemplateConfig.read(folder / CONFIG)
        if not config.is_group or config.pipeline is None:
            raise Rejected(f"{folder}: a template of one person, not a group; use python -m mimo.synthesis")
        try:
            members = tuple(Member.model_validate(one) for one in config.pipeline.get("members", []))
        except ValidationError as error:
            raise Rejected(f"{folder / CONFIG}: members: {error.errors()[0]['msg']}; make it again") from None
        if not members:
            raise Rejected(f"{folder / CONFIG}: names no members; make the group again")
        videos = {}
        for name in ("vid", "mask", PEOPLE, "bk", "occ"):
            path = folder / f"{name}.mp4"
            if name == "occ" and not path.is_file():
                continue
            try:
                videos[name] = VideoReader(path, gray=name in _GREY)
            except VideoError as error:
                raise Rejected(f"{error}; make the group again") from None
        check_alike(folder, videos)
        check_occluder(folder, config.pipeline.get("occ_sha256"))
        return cls(Template(folder, config, videos), members)

    @property
    def names(self) -> list[str]:
        """The members' names."""
        return [member.name for member in self.members]

    def template(self, member: Member, templates: Path) -> Template:
        """A member's template, with the scene of the group: nobody is left in it.

        Args:
            member: of this group.
            templates: folder in which the members' templates lie.

        Raises:
            Rejected: it is missing, damaged, or was changed after the group was made.
        """
        own = Template.load(templates / member.template)
        path = own.folder / "mask.mp4"
        if "mask" not in own.videos or sha256(path) != member.mask_sha256:
            raise Rejected(f"{path}: was changed after the group {self.scene.name} was made; make it again")
        videos = own.videos | {name: self.scene.videos[name] for name in ("vid", "bk")}
        check_alike(own.folder, videos)
        return replace(own, videos=videos)
