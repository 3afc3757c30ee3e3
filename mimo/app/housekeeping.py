"""Deletes what users have not used for long: their inputs, with all that was made of them."""

from __future__ import annotations

import logging
import threading
import time

from mimo.app.core import Core
from mimo.app.project_folder import Entry, ProjectFolder
from mimo.app.usage import last_use
from mimo.stage import Rejected

logger = logging.getLogger(__name__)

DAY = 24 * 3600.0
_EVERY = 3600.0


class Housekeeping:
    """A thread that looks at all projects every hour.

    Args:
        core: the server.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            tidy(self._core, time.time())
            self._stop.wait(_EVERY)


def tidy(core: Core, now: float) -> list[str]:
    """Delete what is too old, and finished jobs of that age.

    Args:
        core: the server.
        now: seconds since 1970.

    Returns:
        A line for each thing that went.
    """
    limits = core.limits
    days = limits.keep_days if core.workspace.many else limits.keep_days_alone
    if days is None:
        return []
    gone = []
    for user in core.workspace.users():
        project = core.workspace.project(user)
        for job in core.queue.jobs(project):
            if job.finished and (job.ended or 0) < now - days * DAY:
                core.queue.forget(project, job.id)
        used = core.queue.in_use(project)
        for kind in (*project.own_kinds(), "templates"):
            for entry in project.entries(kind):
                if entry.shared or entry.name in used or _used_last(core, project, entry) > now - days * DAY:
                    continue
                try:
                    core.delete(project, entry)
                except (Rejected, OSError) as error:
                    logger.warning("%s/%s of %s stays: %s", kind, entry.name, user, error)
                    continue
                gone.append(f"{kind}/{entry.name} of {user}: not used for {days:g} days")
    for line in gone:
        logger.info(line)
    return gone


def _used_last(core: Core, project: ProjectFolder, entry: Entry) -> float:
    """When something was brought, or a job last worked on it; or what was made of it was last made."""
    jobs = [job.ended or job.created for job in core.queue.jobs(project) if entry.name in job.names]
    made = [project.place("templates") / entry.name, project.side_file(entry.kind, entry.name)]
    results = [
        result.path
        for result in project.results()
        if entry.name in (result.template, result.character, *result.template.split("@"))
    ]
    return max([last_use([entry.path, *made, *results]), *jobs])
