"""How far a job is, how long it will take, and why it failed: for its user, in words."""

from __future__ import annotations

import re
from pathlib import Path

from mimo.app.job import Job, Progress
from mimo.app.project_folder import ProjectFolder
from mimo.app.run_output import RunOutput, read_output
from mimo.fingerprint import ROOT
from mimo.project import Project
from mimo.report.outcomes import REASONS, Item, StageOutcome, outcomes
from mimo.resources import PICTURE, clip_of_template, expected_seconds
from mimo.stage import Rejected
from mimo.stages import STAGES

_BAR = re.compile(r"(\d+)%\|[^|]*\| (\d+)/(\d+) \[([\d:]+)<([\d:?]+)")
_LOG_END = 4000
UNKNOWN = "the workflow ended before its time; whoever runs this server finds more in its log"


def look(folder: ProjectFolder, job: Job, output: Path) -> Progress:
    """Where a running job stands.

    Args:
        folder: its project.
        job: the job.
        output: what its run has said.
    """
    said = read_output(output)
    total, done = said.planned.total(), said.finished.total()
    if not total:
        return Progress(step="planning")
    try:
        project = folder.load()
        items = _concerned(outcomes(project, folder.folder), job)
    except Rejected:
        return Progress(share=done / total, done=done, total=total, step=_words(said))
    inside = max((_share_done(stage.log) for stage in _running(items)), default=0.0)
    left = _seconds_left(project, job, said, items)
    share = (done + min(inside, 0.99) * (done < total)) / total
    return Progress(share=share, done=done, total=total, step=_words(said), seconds_left=left)


def why_failed(folder: ProjectFolder, job: Job, output: Path) -> str:
    """Why a job failed, in words, without the server's paths."""
    said = read_output(output)
    reasons: list[str] = []
    try:
        project = folder.load()
        failed = [item.failure for item in _concerned(outcomes(project, folder.folder), job) if item.failure]
        reasons = [outcome.reason for outcome in failed]
    except Rejected as error:
        reasons = [str(error)]
    reason = next(iter(reasons), "") or said.complaint or UNKNOWN
    for start in REASONS:
        reason = reason.removeprefix(start).strip()
    return without_paths(reason, folder)


def without_paths(text: str, folder: ProjectFolder) -> str:
    """A text without the places where the project, the gallery and the program lie on the server."""
    for place in filter(None, (folder.folder, folder.gallery, ROOT)):
        text = text.replace(f"{place}/", "").replace(str(place), "the project")
    return text


def _words(said: RunOutput) -> str:
    """What is being done, without the names that the rules put before it."""
    return "; ".join(dict.fromkeys(step.rpartition(": ")[2] for step in said.steps))


def _concerned(items: list[Item], job: Job) -> list[Item]:
    """Items that a job works on."""
    names = set(job.names)
    return [
        item
        for item in items
        if (item.template in names or not item.template) and (item.character in names or not item.character)
    ]


def _running(items: list[Item]) -> list[StageOutcome]:
    return [stage for item in items for stage in item.stages if stage.state == "running"]


def _bar(log: Path | None) -> re.Match[str] | None:
    """The last progress bar in a stage's log."""
    if log is None or not log.is_file():
        return None
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _LOG_END))
        found = list(_BAR.finditer(file.read().decode(errors="replace")))
    return found[-1] if found else None


def _share_done(log: Path | None) -> float:
    bar = _bar(log)
    return int(bar[2]) / int(bar[3]) if bar and int(bar[3]) else 0.0


def _seconds_left(project: Project, job: Job, said: RunOutput, items: list[Item]) -> float | None:
    """Seconds by the table of `mimo.resources`, at the speed of the stages that this computer has done."""
    foreseen: dict[str, float] = {}
    measured = expected = 0.0
    for item in items:
        for stage in item.stages:
            seconds = _foreseen(project, stage.stage, item)
            foreseen[stage.stage] = max(foreseen.get(stage.stage, 0.0), seconds)
            if stage.state == "done" and stage.seconds:
                measured += stage.seconds
                expected += seconds
    if not foreseen:
        return None
    pace = measured / expected if measured and expected else 1.0
    left = sum(foreseen.get(rule, 0.0) * count for rule, count in said.left.items())
    going_on = sum(
        foreseen[stage.stage] * _share_done(stage.log)
        for stage in _running(items)
        if stage.stage in said.left
    )
    return max(1.0, (left - going_on) * pace)


def _foreseen(project: Project, stage: str, item: Item) -> float:
    """Seconds that a stage of an item takes, as the table says."""
    if stage not in STAGES:
        return 0.0
    name = item.template or item.name
    try:
        clip = PICTURE if stage == "character" else clip_of_template(project.config.templates / name)
    except FileNotFoundError:
        clip = PICTURE
    return expected_seconds(stage, project.backend(stage, name), project.settings(stage, name), clip)
