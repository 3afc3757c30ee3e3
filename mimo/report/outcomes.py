"""What became of every video, character and result of a project, read from records and logs."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mimo.casting import Cast
from mimo.run.lock import is_running
from mimo.run.project import Project
from mimo.scene_names import Staging
from mimo.segments import segment_jobs
from mimo.storage.bucket import is_there
from mimo.storage.copies import bring
from mimo.template import CONFIG

GROUP_STAGES = ("group", "inpainting", "template")
VIDEO_STAGES = ("ingest", "segmentation", "pose", "occlusion", "inpainting", "template")
LOG_TAIL = 16_000
STOPPED = "stopped before its end (killed, or out of memory?), or its files were deleted"

REASONS = ("REJECTED:", "FAULT:", "STOPPED:")
"""How the line begins in which a stage says why it ended (see `mimo.stage.run`)."""

ItemKind = Literal["video", "motion", "staged", "group", "template", "character", "result", "cast"]
State = Literal["done", "running", "failed", "blocked", "waiting"]


@dataclass(frozen=True)
class StageOutcome:
    """One stage of one item.

    Attributes:
        stage: key of `mimo.run.stages.STAGES`.
        state: done; running; failed; or waiting, when it was not started. Never blocked, as items may be.
        reason: why it failed, one line.
        record: what the stage wrote about its work (see `mimo.stage.write_record`).
        seconds: wall time of its job, when it was measured.
        megabytes: peak memory of its job.
        log: its log, if there is one.
    """

    stage: str
    state: State
    reason: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    megabytes: float | None = None
    log: Path | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """What the stage measured; a character's record has the parts of its making instead."""
        parts = {key: self.record[key] for key in ("mask", "fit") if key in self.record}
        return dict(self.record.get("metrics", parts))


Key = tuple[ItemKind, str]
"""Kind and name of an item."""


@dataclass(frozen=True)
class Item:
    """A video with its template, another template, a character, or a result, and the stages that make it.

    Attributes:
        kind: what it is; ``template`` for one dropped in by hand, ``motion`` for a file with 3D motion,
            ``staged`` for a motion put into a scene, ``group`` for several people of a video, ``cast`` for a
            result in which they are replaced.
        name: its name; for a result ``TEMPLATE with CHARACTER``, for a cast ``GROUP with CAST``.
        stages: in the order they run; none for a template dropped in by hand.
        template, character: those of a result, or what it is; a cast in the place of a character.
        needs: what it is made of.
    """

    kind: ItemKind
    name: str
    stages: list[StageOutcome]
    template: str = ""
    character: str = ""
    needs: tuple[Key, ...] = ()

    @property
    def is_result(self) -> bool:
        """Whether it is a finished video."""
        return self.kind in ("result", "cast")

    @property
    def failure(self) -> StageOutcome | None:
        """The stage that failed, if one did."""
        return next((outcome for outcome in self.stages if outcome.state == "failed"), None)

    @property
    def done(self) -> bool:
        """Whether every stage is done."""
        return all(outcome.state == "done" for outcome in self.stages)

    @property
    def reached(self) -> str:
        """The last stage that is done; empty if none is."""
        return next((outcome.stage for outcome in reversed(self.stages) if outcome.state == "done"), "")

    @property
    def seconds(self) -> float:
        """Wall time of all its jobs that were measured."""
        return sum(outcome.seconds or 0.0 for outcome in self.stages)


def outcomes(project: Project, folder: Path = Path()) -> list[Item]:
    """Every template, character and result of a project, made of what stands before it.

    Args:
        project: the project.
        folder: where its runs work.
    """
    for remote in project.config.remote_folders:
        bring(remote, "*.json")
    look = _Look(project, is_running(folder))
    results = project.results
    return [
        *(look.template("video", name, VIDEO_STAGES) for name in project.videos),
        *(look.template("motion", name, ("motion",)) for name in project.motions),
        *(look.template("template", name, ()) for name in project.dropped_in),
        *(look.staged(name, staging) for name, staging in results.staged.items()),
        *(look.group(name) for name in project.cast_groups),
        *(look.character(name) for name in results.characters),
        *(look.result(template, character) for template, character in project.pairs),
        *(look.cast(group, cast) for group, cast in results.casts),
    ]


@dataclass(frozen=True)
class _Look:
    """Looks at the items of a project; `at_work`: whether a run is."""

    project: Project
    at_work: bool

    def template(
        self, kind: ItemKind, name: str, stages: tuple[str, ...], needs: tuple[Key, ...] = ()
    ) -> Item:
        """A template of any kind."""
        folder = self.project.config.templates / name
        found = []
        for stage in stages:
            record = folder / CONFIG if stage == "template" else folder / "records" / f"{stage}.json"
            proof = folder / CONFIG if stage == stages[-1] else record
            found.append(_outcome(self.project, self.at_work, stage, name, record, proof))
        return Item(kind, name, found, template=name, needs=needs)

    def staged(self, name: str, staging: Staging) -> Item:
        """A motion in a scene."""
        made_of = [staging.motion, *([staging.scene] if staging.scene in self.project.templates else [])]
        needs = tuple((self.project.kind(template), template) for template in made_of)
        return self.template("staged", name, ("staging",), needs)

    def group(self, name: str) -> Item:
        """Several people of a video."""
        members = self.project.groups[name].values()
        return self.template("group", name, GROUP_STAGES, tuple(("video", member) for member in members))

    def character(self, name: str) -> Item:
        """A character."""
        record = self.project.config.prepared / name / "character.json"
        stage = _outcome(self.project, self.at_work, "character", name, record, record)
        return Item("character", name, [stage], character=name)

    def result(self, template: str, character: str) -> Item:
        """A result with one character."""
        needs: tuple[Key, ...] = ((self.project.kind(template), template), ("character", character))
        return self._made("result", template, character, needs)

    def cast(self, group: str, cast: Cast) -> Item:
        """A result with several people."""
        characters: list[Key] = [("character", character) for character in cast.characters]
        return self._made("cast", group, cast.name, (("group", group), *characters))

    def _made(self, kind: ItemKind, template: str, character: str, needs: tuple[Key, ...]) -> Item:
        results = self.project.config.results
        record, video = (results / template / f"{character}{end}" for end in (".json", ".mp4"))
        # A remote video that was made elsewhere need not have been copied to here.
        proof = record if is_there(video, results) else video
        name = f"{template}/{character}"
        stage = _outcome(self.project, self.at_work, "synthesis", name, record, proof)
        return Item(kind, f"{template} with {character}", [stage], template, character, needs)


def made_of(item: Item, known: Mapping[Key, Item]) -> list[Item]:
    """All items that an item is made of, each before those that it is itself made of, and once.

    Args:
        item: the item.
        known: every item of the project by kind and name.
    """
    found: dict[Key, Item] = {}
    for key in item.needs:
        if key in known:
            found[key] = known[key]
            found |= {(other.kind, other.name): other for other in made_of(known[key], known)}
    return [*found.values()]


def verdict(item: Item, known: Mapping[Key, Item]) -> tuple[State, str]:
    """State of an item as a whole, and why it is not done, in one line, if something failed.

    Args:
        item: the item.
        known: every item of the project by kind and name.
    """
    if item.failure:
        return "failed", item.failure.reason
    if item.done:
        return "done", ""
    if any(outcome.state == "running" for outcome in item.stages):
        return "running", ""
    for source in made_of(item, known):
        if source.failure:
            return "blocked", f"{source.kind} {source.name} failed at {source.failure.stage}"
    return "waiting", ""


def _outcome(
    project: Project, at_work: bool, stage: str, name: str, record: Path, proof: Path
) -> StageOutcome:
    base = project.config.logs / stage
    log = base / f"{name}.log"
    jobs = segment_jobs(project, stage, name)
    usage = _summed([_usage(base / f"{name}.tsv"), *(_usage(job.usage) for job in jobs)])
    there = log if log.is_file() else None
    if proof.is_file() and record.is_file():
        try:
            return StageOutcome(stage, "done", "", dict(json.loads(record.read_bytes())), *usage, log=there)
        except (ValueError, TypeError):
            return StageOutcome(stage, "failed", f"{record}: damaged; delete it and run again", log=there)
    unfinished = [
        (f"{job.label}: ", job.log) for job in jobs if job.log.is_file() and not job.proof.is_file()
    ]
    logs = unfinished + ([("", log)] if there else [])
    if not logs:
        return StageOutcome(stage, "waiting")
    for label, one in logs:
        if reason := why_failed(one):
            return StageOutcome(stage, "failed", label + reason, log=one)
    if at_work:
        return StageOutcome(stage, "running", log=logs[0][1])
    return StageOutcome(stage, "failed", logs[0][0] + STOPPED, log=logs[0][1])


def why_failed(log: Path) -> str:
    """Why a stage failed, in one line: what it said itself, else the last line of a fault's traceback.

    Returns:
        The reason; empty if the log tells of no failure.
    """
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL))
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    said = [line for line in lines if line.startswith(REASONS)]
    if said:
        return said[-1]
    if "Traceback (most recent call last)" in text or any(": error: " in line for line in lines[-1:]):
        return lines[-1]
    return ""


def _summed(
    usages: list[tuple[float | None, float | None]],
) -> tuple[float | None, float | None]:
    """Wall seconds of several jobs together, and their highest peak of megabytes; None if unknown."""
    seconds, megabytes = (
        [value for value in column if value is not None] for column in zip(*usages, strict=True)
    )
    return (sum(seconds) if seconds else None), max(megabytes, default=None)


def _usage(path: Path) -> tuple[float | None, float | None]:
    """Wall seconds and peak megabytes that Snakemake measured; None where it did not."""
    if not path.is_file():
        return None, None
    with path.open(newline="") as file:
        row = next(csv.DictReader(file, delimiter="\t"), {})

    def number(key: str) -> float | None:
        try:
            return float(row.get(key) or "")
        except ValueError:
            return None

    return number("s"), number("max_rss")
