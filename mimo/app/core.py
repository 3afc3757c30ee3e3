"""What pages and routes of the app work with: the asking user's project, the queue, the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mimo.app.limits import Limits
from mimo.app.project_folder import Entry, ProjectFolder, Result
from mimo.app.queue import JobQueue
from mimo.app.workspace import ONE, Workspace
from mimo.stage import Rejected

USER = "mimo_user"
"""Where `mimo.app.guard` writes down in a request's state which user asks."""


@dataclass(frozen=True)
class Core:
    """One server.

    Attributes:
        workspace: its folder.
        queue: the jobs of all users.
    """

    workspace: Workspace
    queue: JobQueue

    @property
    def limits(self) -> Limits:
        """Limits of uploads, for each user."""
        return self.workspace.limits

    def project(self, request: Any) -> ProjectFolder:
        """Project of the user who asks.

        Args:
            request: a ``gradio.Request`` of an event, or a Starlette request of a route.

        Raises:
            Rejected: the browser sends no cookie of this server's.
        """
        user = getattr(request.state, USER, None)
        if user is None:
            raise Rejected("this page is of an earlier session, or cookies are switched off; load it again")
        return self.workspace.project(str(user) if self.workspace.many else ONE)

    def delete(self, project: ProjectFolder, entry: Entry) -> None:
        """Delete something of a user, and all that was made of it.

        Raises:
            Rejected: an unfinished job works on it, or it belongs to the gallery.
        """
        self._require_unused(project, entry.name)
        project.discard(entry)

    def delete_result(self, project: ProjectFolder, result: Result) -> None:
        """Delete a finished video of a user.

        Raises:
            Rejected: an unfinished job works on it.
        """
        self._require_unused(project, result.template, result.character)
        project.discard_result(result)

    def _require_unused(self, project: ProjectFolder, *names: str) -> None:
        """Refuse while a job works on all of some names."""
        for job in self.queue.jobs(project):
            if not job.finished and {*names} <= {*job.names}:
                raise Rejected(f"'{job.label}' is waiting or running, and needs this; cancel it first")
