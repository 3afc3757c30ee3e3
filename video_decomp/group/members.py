"""The templates of the people of one video, opened side by side and checked to belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mimo.files import sha256
from mimo.group import Member
from mimo.stage import Rejected
from mimo.template import check_alike
from mimo.video import VideoError, VideoReader
from video_decomp.masked_video import open_masked_video
from video_decomp.pack import valid_range
from video_decomp.preview import BODY_LEVEL
from video_decomp.records import read_record

SAMPLES = 5
SAME_PICTURE = 4.0
"""Most difference of two encodings of one picture, mean of levels."""


@dataclass(frozen=True)
class Person:
    """One member, with what the stages made of their template so far.

    Attributes:
        name: of the member.
        folder: of the template.
        vid, mask, sdc: its videos; `occ` None where nothing passes in front.
        occlusion, segmentation: the stages' records.
    """

    name: str
    folder: Path
    vid: VideoReader
    mask: VideoReader
    sdc: VideoReader
    occ: VideoReader | None
    occlusion: dict[str, Any]
    segmentation: dict[str, Any]

    @classmethod
    def open(cls, name: str, folder: Path) -> Person:
        """Open a member's template, which need not be packed yet.

        Raises:
            Rejected: a file is missing or damaged, or videos and records do not fit.
        """
        vid, mask = open_masked_video(folder)
        occlusion = read_record(folder, "occlusion")
        occ = None
        try:
            sdc = VideoReader(folder / "sdc.mp4")
            if occlusion.get("occ_sha256") or (folder / "occ.mp4").is_file():
                occ = VideoReader(folder / "occ.mp4", gray=True)
        except VideoError as error:
            raise Rejected(f"{error}; run pose and occlusion of this template again") from None
        videos = {"vid": vid, "mask": mask, "sdc": sdc} | ({"occ": occ} if occ else {})
        check_alike(folder, videos)
        return cls(name, folder, vid, mask, sdc, occ, occlusion, read_record(folder, "segmentation"))

    @property
    def valid(self) -> tuple[int, int]:
        """First frame and end (exclusive) of the part that the person is in."""
        return valid_range(self.segmentation, len(self.vid))

    def member(self) -> Member:
        """What the group's ``config.json`` says of them."""
        digest = sha256(self.mask.path)
        return Member(name=self.name, template=self.folder.resolve().name, mask_sha256=digest)

    def bodies(self) -> Iterator[np.ndarray]:
        """Where the fitted body is, seen or hidden: (height, width) bool a frame."""
        for image in self.sdc:
            yield cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) > BODY_LEVEL

    def occluders(self) -> Iterator[np.ndarray | None]:
        """What passes in front of them: (height, width) uint8 a frame, None where nothing ever does."""
        return iter(self.occ) if self.occ is not None else repeat(None, len(self.vid))


def open_people(folders: Mapping[str, Path]) -> list[Person]:
    """Open the templates of several people and check that they are of one video.

    Args:
        folders: by the member's name.

    Raises:
        Rejected: fewer than two, one template twice, or videos that differ; the message says in what.
    """
    people = [Person.open(name, folder) for name, folder in folders.items()]
    if len(people) < 2:
        raise Rejected("a group needs two members at least: --member NAME=TEMPLATE for each")
    templates = [person.folder.resolve() for person in people]
    if twice := [folder for folder in templates if templates.count(folder) > 1]:
        raise Rejected(f"{twice[0]}: the template of two members; each person has their own")
    for other in people[1:]:
        _check_same_video(people[0], other)
    return people


def _check_same_video(one: Person, other: Person) -> None:
    if sha256(one.vid.path) == sha256(other.vid.path):
        return
    where = f"{one.folder} and {other.folder}: not of the same video"
    ours, theirs = one.vid.info, other.vid.info
    for what, a, b in (
        ("size", f"{ours.width}x{ours.height}", f"{theirs.width}x{theirs.height}"),
        ("length", f"{ours.frames} frames", f"{theirs.frames} frames"),
        ("rate", f"{float(ours.fps):g} fps", f"{float(theirs.fps):g} fps"),
    ):
        if a != b:
            raise Rejected(
                f"{where} ({what}: {a} and {b}); make both with the same source and ingest settings"
            )
    # Two machines may code one picture differently.
    for frame in np.linspace(0, len(one.vid) - 1, SAMPLES).round().astype(int).tolist():
        difference = float(cv2.absdiff(one.vid.frame(frame), other.vid.frame(frame)).mean())
        if difference > SAME_PICTURE:
            raise Rejected(
                f"{where} (frame {frame} differs by {difference:.0f} levels); make both with the same source "
                "and ingest settings"
            )


def valid_together(people: Sequence[Person]) -> tuple[int, int]:
    """First frame and end (exclusive) of the part with any of them."""
    ranges = [person.valid for person in people]
    return min(start for start, _ in ranges), max(stop for _, stop in ranges)
