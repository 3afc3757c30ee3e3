"""How far a job is, how long it will take, and why it failed: for its user, in words."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from mimo.app.job import Job, Progress
from mimo.app.project_folder import ProjectFolder
from mimo.app.run_output import RunOutput, read_output
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
    costs = _costs(project, items)
    going_on = sum(_share_done(stage.log) * costs.get(stage.stage, 0.0) for stage in _running(items, said))
    left = max(_sum(costs, said.left) - going_on, 0.0)
    whole = _sum(costs, said.planned)
    # Some stages show one bar after another: what is shown never goes back.
    share = max(job.progress.share, 1 - left / whole if whole else done / total)
    seconds = max(1.0, left * _pace(project, items)) if whole else None
    return Progress(share=min(share, 0.99), done=done, total=total, step=_words(said), seconds_left=seconds)


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
    return folder.words(reason)


def _words(said: RunOutput) -> str:
    """What is being done, without the names that the rules put before it."""
    words = dict.fromkeys(step.rpartition(": ")[2] for step in said.steps)
    return "; ".join(words) or ("finishing" if said.finished else "starting")


def _concerned(items: list[Item], job: Job) -> list[Item]:
    """Items that a job works on."""
    names = set(job.names)
    return [
        item
        for item in items
        if (item.template in names or not item.template) and (item.character in names or not item.character)
    ]


def _running(items: list[Item], said: RunOutput) -> list[StageOutcome]:
    """Stages that are at work, of those that the run has planned."""
    stages = [stage for item in items for stage in item.stages]
    return [stage for stage in stages if stage.state == "running" and stage.stage in said.left]


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


def _costs(project: Project, items: list[Item]) -> dict[str, float]:
    """Seconds that a job of each stage takes by the table of `mimo.resources`."""
    costs: dict[str, float] = {}
    for item in items:
        for stage in item.stages:
            seconds = _foreseen(project, stage.stage, item)
            costs[stage.stage] = max(costs.get(stage.stage, 0.0), seconds)
    return costs


def _sum(costs: dict[str, float], jobs: Counter[str]) -> float:
    """Seconds of some jobs; one of a stage that nothing is known of takes as long as the others do."""
    usual = sum(costs.values()) / len(costs) if costs else 0.0
    return sum(costs.get(rule, usual) * count for rule, count in jobs.items())


def _pace(project: Project, items: list[Item]) -> float:
    """How much longer than the table says the stages took that this computer has done."""
    measured = expected = 0.0
    for item in items:
        for stage in item.stages:
            if stage.state == "done" and stage.seconds:
                measured += stage.seconds
                expected += _foreseen(project, stage.stage, item)
    return measured / expected if expected else 1.0


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
