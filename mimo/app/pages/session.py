"""What the page shows: the asking user's project and choices, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mimo.app.core import Core
from mimo.app.job import Job, JobKind
from mimo.app.pages.draft import Draft
from mimo.app.pages.previews import Previews
from mimo.app.project_folder import Entry, Kind, ProjectFolder
from mimo.scene_names import OWN, TRANSPARENT, Staging
from mimo.stage import Rejected


@dataclass
class Session:
    """One look at a project; a new one for every event.

    Attributes:
        core: the server.
        previews: makes small pictures.
        project: of the user who asks.
        draft: what they have chosen.
    """

    core: Core
    previews: Previews
    project: ProjectFolder
    draft: Draft

    @classmethod
    def open(cls, core: Core, previews: Previews, request: Any) -> Session:
        """Session of the user who asks.

        Raises:
            Rejected: see `Core.project`.
        """
        project = core.project(request)
        return cls(core, previews, project, Draft.read(project.private))

    def keep(self) -> None:
        """Keep the draft for the next event."""
        self.draft.write(self.project.private)

    def find(self, kind: Kind, name: str) -> Entry | None:
        """Something that can be chosen; None if it is not there (any more)."""
        return next((entry for entry in self.project.entries(kind) if name and entry.name == name), None)

    @cached_property
    def motion(self) -> Entry | None:
        """The chosen video, motion or template."""
        return self.find(self.draft.motion_kind, self.draft.motion)

    @cached_property
    def character(self) -> Entry | None:
        """The chosen picture."""
        return self.find("characters", self.draft.character)

    @cached_property
    def scene(self) -> Entry | None:
        """The chosen scene, if it is a file or a template."""
        kind = self.draft.scene_kind
        if kind == "own" or kind == "transparent" or kind == "colour":
            return None
        return self.find(kind, self.draft.scene)

    @property
    def scene_word(self) -> str:
        """The scene as it stands in a table of jobs and in the name of a staged template."""
        if self.draft.scene_kind == "transparent":
            return TRANSPARENT
        if self.draft.scene_kind == "colour":
            return self.draft.colour.removeprefix("#")
        return self.scene.name if self.scene else OWN

    @property
    def result_template(self) -> str:
        """Name of the template that the character is rendered into: the motion's own, or a staged one."""
        motion = self.draft.motion
        return motion if self.scene_word in (OWN, motion) else Staging(motion, self.scene_word).name

    @property
    def template(self) -> Path:
        """Folder of the motion's own template, whether it is there or not."""
        if self.motion is not None and self.motion.kind == "templates":
            return self.motion.path
        return self.project.place("templates") / self.draft.motion

    def result(self, template: str, character: str) -> Path:
        """File of a result, whether it is there or not."""
        return self.project.place("results") / template / f"{character}.mp4"

    def relative(self, path: Path) -> str:
        """A path of the project as the workflow names it."""
        return path.relative_to(self.project.folder).as_posix()

    def start(self, label: str, kind: JobKind, target: Path, names: Iterable[str]) -> Job:
        """Put a job into the queue.

        Raises:
            Rejected: see `JobQueue.add`.
        """
        return self.core.queue.add(self.project, label, kind, [self.relative(target)], names)

    @property
    def jobs(self) -> list[Job]:
        """The user's jobs, the latest first."""
        return self.core.queue.jobs(self.project)

    def job_for(self, target: Path) -> Job | None:
        """The latest job that makes a file."""
        wanted = self.relative(target)
        return next((job for job in self.jobs if wanted in job.targets), None)


def text(told: dict[str, Any], key: str) -> str:
    """A word that the browser has sent.

    Raises:
        Rejected: there is none.
    """
    value = told.get(key)
    if not isinstance(value, str):
        raise Rejected("the page and the server do not understand each other; load the page again")
    return value
