"""One job of the queue, as it is kept on the disk and shown to its user."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
JobKind = Literal["look", "layers", "result"]
"""Only the normalised video; the whole template; a finished video."""

FINISHED = ("done", "failed", "cancelled")


class Progress(BaseModel):
    """How far a job is.

    Attributes:
        share: 0 to 1.
        done, total: stages that have ended, and all that this job runs.
        step: what is being done now, in words; empty where nothing is.
        seconds_left: about; None when it cannot be said.
    """

    model_config = ConfigDict(frozen=True)

    share: float = 0.0
    done: int = 0
    total: int = 0
    step: str = ""
    seconds_left: float | None = None


class ProcessMark(BaseModel):
    """What tells a process from a later one with the same number.

    Attributes:
        pid: its number.
        started: when it started, in ticks since the computer did.
        place: the computer's start and numbering (see `mimo.lifetime.place`).
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    started: int
    place: str


class Job(BaseModel):
    """A run of the workflow for some files of one project. Values never change; the queue keeps new ones.

    Attributes:
        id: unguessable.
        user: whose it is.
        label: what to call it, for its user.
        kind: how far it goes.
        targets: files to make, relative to the project.
        names: videos, motions, scenes, templates, characters that it works on; they are not deleted
            meanwhile.
        state: where it stands.
        note: why it waits, if something else keeps it waiting.
        problem: why it failed, in words.
        created, started, ended: seconds since 1970.
        progress: as of the last look.
        process: Snakemake's, while it runs.
        cancelled: its user wants it to end.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    user: str
    label: str
    kind: JobKind
    targets: tuple[str, ...]
    names: tuple[str, ...] = ()
    state: JobState = "waiting"
    note: str = ""
    problem: str = ""
    created: float = Field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    progress: Progress = Progress()
    process: ProcessMark | None = None
    cancelled: bool = False

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in FINISHED
