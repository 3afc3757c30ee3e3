"""Command line: templates of people of one video become a group, before its background is made.

Writes ``vid.mp4``, ``mask.mp4`` (everybody), ``people.mp4`` (who is where), ``occ.mp4`` if something stands
in front that is nobody of them, and ``records/group.json``. Then inpainting makes ``bk.mp4`` of the folder,
and ``python -m video_decomp.group.pack`` the group.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from mimo.casting import check_name
from mimo.files import remove, sha256, whole_file
from mimo.group import PEOPLE, numbers, shades
from mimo.stage import Rejected, StageSettings, progress, run, stage_arguments, write_record
from mimo.video import VideoReader, VideoWriter
from video_decomp.group.in_front import in_front
from video_decomp.group.members import Person, open_people, valid_together
from video_decomp.group.people import owners
from video_decomp.inpainting.interface import in_pixels

MOST = 16
MERGED = 0.25
"""Share of a person's pixels that another mask claims above which two people were probably merged,
if it is so in some frames."""
MERGED_FRAMES = 3


class Settings(StageSettings):
    """Settings of the stage."""

    clearance: float = Field(
        8,
        ge=1,
        le=100,
        description="pixels (at a short side of 720) around a member in which nothing counts as standing in "
        "front of another one: hair and soft edges that their mask missed",
    )


def make_group(folder: Path, members: dict[str, Path], settings: Settings) -> None:
    """Make the group's videos and record.

    Args:
        folder: of the group.
        members: folder of each member's template, by name.
        settings: as the configuration has them.

    Raises:
        Rejected: templates that are not whole, or not of one video.
    """
    people = open_people(members)
    names = list(members)
    with whole_file(folder / "vid.mp4") as part:
        shutil.copyfile(people[0].vid.path, part)
    counts = _write_masks(folder, people)
    occluded = _write_occluders(folder, people, settings)
    start, stop = valid_together(people)
    smallest, contested, found = counts.T
    worst = contested / np.maximum(smallest, 1)
    warnings = []
    if len(merged := np.flatnonzero(worst > MERGED)) >= MERGED_FRAMES:
        warnings.append(
            f"frames {merged[0]} to {merged[-1]}: the masks of {' and '.join(names)} share up to "
            f"{worst.max():.0%} of a person; look at {PEOPLE}.mp4, and correct a mask that holds two people"
        )
    write_record(
        folder / "records" / "group.json",
        stage="group",
        backend="",
        settings=settings,
        metrics={
            "frames": len(counts),
            "frames_contested": int((contested > 0).sum()),
            "found_pixels_max": int(found.max()),
            "contested_share_max": round(float(worst.max()), 4),
            "frames_with_occluders": occluded,
        },
        warnings=warnings,
        members=[person.member().model_dump(mode="json") for person in people],
        valid=[start, stop],
        occ_sha256=sha256(folder / "occ.mp4") if occluded else None,
    )


def _write_masks(folder: Path, people: Sequence[Person]) -> np.ndarray:
    """Write ``mask.mp4`` and ``people.mp4``.

    Returns:
        (frames, 3) int: pixels of the smallest person there, those that several masks claimed, and those that
        none did.
    """
    rate = people[0].vid.info.fps
    shade = shades(len(people))
    counts = []
    with (
        VideoWriter(folder / "mask.mp4", rate, kind="mask") as masks,
        VideoWriter(folder / f"{PEOPLE}.mp4", rate, kind="mask") as whose,
    ):
        for owner in progress(owners(people), "who is where", total=len(people[0].vid)):
            masks.write(np.where(owner.numbers > 0, 255, 0).astype(np.uint8))
            whose.write(shade[owner.numbers])
            areas = np.bincount(owner.numbers.ravel(), minlength=len(people) + 1)[1:]
            counts.append((areas[areas > 0].min(initial=owner.numbers.size), owner.contested, owner.found))
    return np.array(counts)


def _write_occluders(folder: Path, people: Sequence[Person], settings: Settings) -> int:
    """Write ``occ.mp4`` if there is something in front; gives the number of frames in which there is."""
    output = folder / "occ.mp4"
    clearance = round(in_pixels(settings.clearance, people[0].vid))

    def things() -> Iterator[np.ndarray]:
        whose = (numbers(image, len(people)) for image in VideoReader(folder / f"{PEOPLE}.mp4", gray=True))
        return in_front(people, whose, clearance)

    found = sum(bool(thing.any()) for thing in things()) if any(person.occ for person in people) else 0
    if found:
        with VideoWriter(output, people[0].vid.info.fps, kind="mask") as writer:
            for thing in things():
                writer.write(thing)
    else:
        remove(output)
    return found


def member_folders(pairs: Sequence[str]) -> dict[str, Path]:
    """Members by name, from ``NAME=FOLDER`` each.

    Raises:
        Rejected: one is no pair, or a name is there twice or cannot stand in a cast.
    """
    folders: dict[str, Path] = {}
    for pair in pairs:
        name, sign, folder = pair.partition("=")
        if not sign or not folder:
            raise Rejected(f"--member {pair}: give NAME=TEMPLATE, such as anna=templates/duet-anna")
        check_name(name)
        if name in folders:
            raise Rejected(f"--member {pair}: there is a member '{name}' already; names differ")
        folders[name] = Path(folder)
    if len(folders) > MOST:
        raise Rejected(f"{len(folders)} members; a group has {MOST} at most")
    return folders


def main(argv: list[str] | None = None) -> int:
    """Run the stage; see the module's help."""
    parser = argparse.ArgumentParser(prog="python -m video_decomp.group", description=__doc__)
    parser.add_argument("--template", type=Path, required=True, metavar="DIR", help="folder of the group")
    parser.add_argument(
        "--member",
        action="append",
        required=True,
        metavar="NAME=DIR",
        help="a member and the folder of their template; once for each",
    )
    args, settings = stage_arguments(parser, Settings, argv)
    return run(
        lambda: make_group(args.template, member_folders(args.member), settings),
        makes=args.template / "records" / "group.json",
    )


if __name__ == "__main__":
    sys.exit(main())
