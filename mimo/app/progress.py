"""How far a job is, how long it will take, and why it failed: for its user, in words."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from mimo.app.job import Job, Progress
from mimo.app.project_folder import ProjectFolder
from mimo.app.run_output import RunOutput, read_output
from mimo.report.outcomes import REASONS, Item, StageOutcome, made_of, outcomes
from mimo.run.project import Project
from mimo.run.resources import PICTURE, USUAL, Clip, clip_of_source, clip_of_template, expected_seconds
from mimo.run.stages import STAGES
from mimo.scene_names import Staging
from mimo.stage import Rejected

_BAR = re.compile(r"(\d+)%\|[^|]*\| (\d+)/(\d+) \[([\d:]+)<([\d:?]+)")
_FAULT = re.compile(r"[\w.]+(?:Error|Exception|Interrupt|Exit)\b")
"""How the last line of a traceback begins."""
_LOG_END = 4000
ONLY_BOUNDED = ("motion", "staging")
"""Stages of which the table says what the longest take."""
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
    return folder.words(_plain(reason))


def _plain(reason: str) -> str:
    """A reason without the mark before it; the last line of a traceback with words around it."""
    for mark in REASONS:
        if mark in reason:
            return " ".join(reason.replace(mark, "").split())
    if _FAULT.match(reason):
        return f"a fault of the program ({reason}); tell whoever runs this server, its log says more"
    return reason


def _words(said: RunOutput) -> str:
    """What is being done, without the names that the rules put before it."""
    words = dict.fromkeys(step.rpartition(": ")[2] for step in said.steps)
    return "; ".join(words) or ("finishing" if said.finished else "starting")


def _concerned(items: list[Item], job: Job) -> list[Item]:
    """Items that a job makes, each after those that it is made of."""
    known = {(item.kind, item.name): item for item in items}
    found: dict[tuple[str, str], Item] = {}
    for item in items:
        if any(_makes(target, item) for target in job.targets):
            for one in (*made_of(item, known), item):
                found.setdefault((one.kind, one.name), one)
    return [*found.values()]


def _makes(target: str, item: Item) -> bool:
    """Whether a file belongs to an item: a finished video to its result, any to its template."""
    if item.kind in ("result", "cast"):
        return target.endswith(f"/{item.template}/{item.character}.mp4")
    return bool(item.template) and f"/{item.template}/" in f"/{target}"


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
    """Seconds that a job of each stage takes by the table of `mimo.run.resources`."""
    costs: dict[str, float] = {}
    for item in items:
        for stage in item.stages:
            if seconds := _foreseen(project, stage.stage, item):
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
            foreseen = _foreseen(project, stage.stage, item)
            if stage.state == "done" and stage.seconds and foreseen:
                measured += stage.seconds
                expected += foreseen
    return measured / expected if expected else 1.0


def _foreseen(project: Project, stage: str, item: Item) -> float:
    """Seconds that a stage of an item takes, as the table says; 0 where it does not."""
    if stage not in STAGES or stage in ONLY_BOUNDED:
        return 0.0
    name = item.template or item.name
    clip = PICTURE if stage == "character" else _clip(project, Staging.named(name).motion)
    return expected_seconds(stage, project.backend(stage, name), project.settings(stage, name), clip)


def _clip(project: Project, name: str) -> Clip:
    """The clip of a template, also of one that is going to be made."""
    try:
        return clip_of_template(project.config.templates / name)
    except FileNotFoundError:
        video = project.videos.get(name)
        return clip_of_source(video, project.settings("ingest", name)) if video else USUAL
