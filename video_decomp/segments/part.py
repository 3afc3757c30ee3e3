"""A segment's place in its video, and what a stage is told of the whole."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mimo.files import whole_file, write_json
from mimo.stage import Rejected

PLACE = "segment.json"


@dataclass(frozen=True)
class Place:
    """Where a segment lies.

    Attributes:
        index, parts: segment `index` of `parts`.
        first, stop: its frames in the whole video, stop exclusive.
        frames: of the whole video.
        overlap: frames that neighbours share, at least.
    """

    index: int
    parts: int
    first: int
    stop: int
    frames: int
    overlap: int

    def write(self, segment: Path) -> None:
        """Write it into a segment's folder."""
        write_json(segment / PLACE, asdict(self))

    @staticmethod
    def read(segment: Path) -> Place:
        """Read it from a segment's folder.

        Raises:
            Rejected: it is missing or damaged.
        """
        try:
            return Place(**json.loads((segment / PLACE).read_bytes()))
        except (OSError, ValueError, TypeError):
            raise Rejected(f"{segment / PLACE}: missing or damaged; cut the video again") from None


@dataclass(frozen=True)
class Part:
    """What a backend that works on a segment knows of the whole video.

    Attributes:
        place: of the segment.
        whole: folder of the whole video's template.
        survey: what the backend's own `survey` of the whole video gave.
    """

    place: Place
    whole: Path
    survey: dict[str, np.ndarray]


def add_survey_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--survey FILE``, for command lines of stages that work on segments."""
    parser.add_argument(
        "--survey",
        type=Path,
        metavar="FILE",
        help="for a segment of a long video: what a look at all of it told (video_decomp.segments.survey)",
    )


def known_of_whole(template: Path, survey: Path | None) -> dict[str, Part]:
    """Further arguments of a backend's function: ``part`` for a segment with a survey, else none.

    Raises:
        Rejected: the survey or the segment's place is missing or damaged.
    """
    if survey is None:
        return {}
    return {"part": Part(Place.read(template), survey.parent.parent, read_survey(survey))}


def is_segment(template: Path) -> bool:
    """Whether a template's folder is a segment of a longer video."""
    return (template / PLACE).is_file()


def write_survey(path: Path, values: dict[str, np.ndarray]) -> None:
    """Write a survey, whole or not at all."""
    with whole_file(path) as file, file.open("wb") as stream:
        np.savez_compressed(stream, **values)  # type: ignore[arg-type]


def read_survey(path: Path) -> dict[str, np.ndarray]:
    """Read a survey.

    Raises:
        Rejected: it is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError) as error:
        raise Rejected(f"{path}: no survey of a whole video ({error}); make it again") from None
