"""Dividing a long video into segments that several computers decompose at the same time.

Their number is known from the source's header when the workflow is planned; which frames each of them has,
only from the normalised video (`Division`). A segment is a small template in ``templates/NAME/segments/003``,
and is called ``NAME/segments/003`` wherever a rule tells a stage the name of a video.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from mimo.durations import seconds_of
from mimo.fingerprint import fingerprint
from mimo.stage import StageSettings

if TYPE_CHECKING:
    from mimo.run.project import Project

FOLDER = "segments"
DIVIDED_STAGES = ("segmentation", "pose", "occlusion", "inpainting")
"""Stages that may work on segments, in the order they run."""
LONGER = 1.5
"""A video is divided from so many lengths of a segment on."""
NOTHING = "(?!)"
"""A regular expression that nothing matches."""


class SegmentSettings(StageSettings):
    """How long videos are divided."""

    length: float | None = Field(
        None, ge=1, description="seconds of a segment, about; null: videos are never divided"
    )
    overlap: float = Field(
        1.0, ge=0.2, le=20, description="seconds that neighbours share, over which they are blended"
    )

    def parts(self, seconds: float) -> int:
        """Number of segments of a video; 1: it is not divided."""
        if self.length is None or seconds < LONGER * self.length:
            return 1
        return math.ceil(round(seconds / self.length, 3))


@dataclass(frozen=True)
class Division:
    """Where the segments of a video lie.

    Attributes:
        frames: of the video.
        parts: number of segments.
        overlap: frames that neighbours share.
    """

    frames: int
    parts: int
    overlap: int

    @property
    def _half(self) -> int:
        return (self.overlap + 1) // 2

    def own(self, index: int) -> range:
        """Frames that a segment is there for: those of all segments make the video."""
        return range(self.frames * index // self.parts, self.frames * (index + 1) // self.parts)

    def shown(self, index: int) -> range:
        """Frames that a segment has to show: its own, and half of the overlap on either side."""
        own = self.own(index)
        return range(max(0, own.start - self._half), min(self.frames, own.stop + self._half))

    def seam(self, index: int) -> range:
        """Frames over which segment `index` passes into the next one; both show them."""
        middle = self.own(index).stop
        return range(max(0, middle - self._half), min(self.frames, middle + self._half))


def part_name(video: str, index: int) -> str:
    """What a segment is called, such as ``walk/segments/003``."""
    return f"{video}/{FOLDER}/{index:03}"


def video_of(name: str) -> str:
    """The video that a name means: itself, or the one that it is a segment of."""
    return name.partition("/")[0]


def is_part(name: str) -> bool:
    """Whether a name is that of a segment."""
    return "/" in name


def parts_of(project: Project, name: str) -> int:
    """Number of segments of a template; 1: it is not divided."""
    settings = project.config.segments
    if settings.length is None:
        return 1
    if name in project.results.staged:  # it is as long as its motion
        return parts_of(project, project.results.staged[name].motion)
    if name not in project.videos:
        return settings.parts(seconds_of(project.config.templates / name / "vid.mp4"))
    ingest: Any = project.settings("ingest", name)
    end = min(seconds_of(project.videos[name]), ingest.end or math.inf)
    return settings.parts(max(0.0, min(end - ingest.start, ingest.max_seconds or math.inf)))


def part_names(project: Project, name: str) -> list[str]:
    """The segments of a video, in order."""
    return [part_name(name, index) for index in range(parts_of(project, name))]


def is_divided(project: Project, stage: str, name: str) -> bool:
    """Whether a stage works on the segments of a video: it must be long, and the backend able to."""
    return project.settings(stage, name).divisible() and parts_of(project, name) > 1


def divided(project: Project, stage: str | None = None) -> str:
    """Regular expression of the videos of which a stage (or any) works on segments."""
    stages = DIVIDED_STAGES if stage is None else (stage,)
    return any_of(name for name in project.videos if any(is_divided(project, one, name) for one in stages))


def in_parts(project: Project) -> str:
    """Regular expression of the templates whose results are made in parts (`mimo.synthesis.parts`)."""
    return any_of(
        name for name in [*project.templates, *project.results.staged] if parts_of(project, name) > 1
    )


def result_parts(project: Project, template: str) -> list[str]:
    """The parts of a template's results, such as ``2-of-5``."""
    count = parts_of(project, template)
    return [f"{number}-of-{count}" for number in range(1, count + 1)]


def worked_on(project: Project, stage: str) -> str:
    """Regular expression of what a stage works on: whole videos, and segments of those it divides."""
    parted = divided(project, stage)
    if parted == NOTHING:
        return project.made_here_pattern
    # Without a list of all others: a folder may hold thousands.
    return rf"(?!(?:{parted})/){project.made_here_pattern}|(?:{parted})/{FOLDER}/\d+"


def any_of(names: Iterable[str]) -> str:
    """Regular expression of some names."""
    return "|".join(re.escape(name) for name in names) or NOTHING


def surveys(project: Project, stage: str, name: str) -> bool:
    """Whether a stage's backend looks at the whole video before it works on its segments."""
    return project.settings(stage, name).surveys


def told_options(project: Project, stage: str, name: str) -> list[str]:
    """Command-line options by which a stage is told of the whole video that a segment belongs to."""
    survey = told_files(project, stage, name)[:1]
    return [f"--survey={survey[0]}"] if survey else []


def told_files(project: Project, stage: str, name: str) -> list[str]:
    """What a stage reads of the whole video when it works on a segment: its survey, and what it is about."""
    if not is_part(name) or not surveys(project, stage, name):
        return []
    folder = project.config.templates / video_of(name)
    clips = ("vid.mp4",) if stage == DIVIDED_STAGES[0] else ("vid.mp4", "mask.mp4")
    return [str(folder / FOLDER / f"{stage}.npz"), *(str(folder / clip) for clip in clips)]


def survey_digest(project: Project, stage: str, name: str) -> str:
    """Digest of the code and model files of a survey."""
    return fingerprint("video_decomp.segments.survey", also=(project.digest(stage, name),))


def join_digest(layer: str) -> str:
    """Digest of the code that joins a layer (a module of ``video_decomp.segments``), or cuts."""
    return fingerprint(f"video_decomp.segments.{layer}")


def result_join_digest() -> str:
    """Digest of the code that joins the parts of a result."""
    return fingerprint("mimo.synthesis.join")


@dataclass(frozen=True)
class SegmentJob:
    """A job on the way to a stage's result for a divided video, beside the one that joins the segments.

    Attributes:
        label: what to call it, such as ``segment 003``.
        log: its log; `usage`: its resource measurement.
        proof: the file that shows that it is done.
    """

    label: str
    log: Path
    usage: Path
    proof: Path


def segment_jobs(project: Project, stage: str, name: str) -> list[SegmentJob]:
    """Jobs of a stage on the segments of a video, and those they need; none if it is not divided."""
    if stage == "synthesis":
        return _part_jobs(project, *name.split("/"))
    if stage not in DIVIDED_STAGES or not is_divided(project, stage, name):
        return []
    logs, templates = project.config.logs, project.config.templates
    jobs = []
    if surveys(project, stage, name):
        base = logs / stage / name / FOLDER
        proof = templates / name / FOLDER / f"{stage}.npz"
        jobs.append(SegmentJob("survey", base / "survey.log", base / "survey.tsv", proof))
    for index, part in enumerate(part_names(project, name)):
        makes = {"segment": "segment.json", stage: f"records/{stage}.json"}
        for rule, proof_name in makes.items():
            base = logs / rule / f"{part}.log"
            proof = templates / part / proof_name
            jobs.append(SegmentJob(f"segment {index:03}", base, base.with_suffix(".tsv"), proof))
    return jobs


def _part_jobs(project: Project, template: str, character: str) -> list[SegmentJob]:
    """Jobs that make the parts of a result; none if it is made in one go."""
    if parts_of(project, template) == 1:
        return []
    logs = project.config.logs / "synthesis" / template / f"{character}.parts"
    proofs = project.config.results / template / f"{character}.parts"
    return [
        SegmentJob(f"part {part}", logs / f"{part}.log", logs / f"{part}.tsv", proofs / f"{part}.json")
        for part in result_parts(project, template)
    ]
