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

from mimo.project import Project
from mimo.run_lock import is_running
from mimo.segments import segment_jobs
from mimo.storage.bucket import is_there
from mimo.storage.copies import bring
from mimo.template import CONFIG

VIDEO_STAGES = ("ingest", "segmentation", "pose", "occlusion", "inpainting", "template")
LOG_TAIL = 16_000
STOPPED = "stopped before its end (killed, or out of memory?), or its files were deleted"

REASONS = ("REJECTED:", "FAULT:", "STOPPED:")
"""How the line begins in which a stage says why it ended (see `mimo.stage.run`)."""

State = Literal["done", "running", "failed", "blocked", "waiting"]


@dataclass(frozen=True)
class StageOutcome:
    """One stage of one item.

    Attributes:
        stage: key of `mimo.stages.STAGES`.
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


@dataclass(frozen=True)
class Item:
    """A video with its template, a character, or a result, and the stages that make it.

    Attributes:
        kind: what it is; ``template`` for one dropped in by hand, ``motion`` for a file with 3D motion.
        name: its name; for a result ``TEMPLATE with CHARACTER``.
        stages: in the order they run; none for a template dropped in by hand.
    """

    kind: Literal["video", "motion", "template", "character", "result"]
    name: str
    stages: list[StageOutcome]
    template: str = ""
    character: str = ""

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
    """Every video, template dropped in by hand, character and result of a project, in this order.

    Args:
        project: the project.
        folder: where its runs work.
    """
    config, at_work = project.config, is_running(folder)
    for remote in config.remote_folders:
        bring(remote, "*.json")
    items = []
    for name in project.videos:
        made = config.templates / name
        stages = [_outcome(project, at_work, stage, name, *_finished(made, stage)) for stage in VIDEO_STAGES]
        items.append(Item("video", name, stages, template=name))
    for name in project.motions:
        record = config.templates / name / "records" / "motion.json"
        stage = _outcome(project, at_work, "motion", name, record, config.templates / name / CONFIG)
        items.append(Item("motion", name, [stage], template=name))
    for name in project.dropped_in:
        items.append(Item("template", name, [], template=name))
    for name in project.results.characters:
        record = config.prepared / name / "character.json"
        items.append(
            Item(
                "character",
                name,
                [_outcome(project, at_work, "character", name, record, record)],
                character=name,
            )
        )
    for template, character in project.pairs:
        record = config.results / template / f"{character}.json"
        video = config.results / template / f"{character}.mp4"
        # A remote video that was made elsewhere need not have been copied to here.
        proof = record if is_there(video, config.results) else video
        stage = _outcome(project, at_work, "synthesis", f"{template}/{character}", record, proof)
        items.append(Item("result", f"{template} with {character}", [stage], template, character))
    return items


def verdict(item: Item, known: Mapping[tuple[str, str], Item]) -> tuple[State, str]:
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
    kinds = ("video", "motion") if item.kind == "result" else ()
    needed = [*((kind, item.template) for kind in kinds), ("character", item.character)] if kinds else []
    for source in (known[key] for key in needed if key in known):
        if source.failure:
            return "blocked", f"{source.kind} {source.name} failed at {source.failure.stage}"
    return "waiting", ""


def _finished(folder: Path, stage: str) -> tuple[Path, Path]:
    """Record of a stage of a template, and the file that shows that the stage is done."""
    path = folder / "config.json" if stage == "template" else folder / "records" / f"{stage}.json"
    return path, path


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
