"""Deletes what users have not used for long: their inputs, with all that was made of them."""

from __future__ import annotations

import logging
import shutil
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
            try:
                tidy(self._core, time.time())
            except Exception:
                logger.exception("housekeeping; it is tried again in an hour")
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
        gone += _tidy_project(core, core.workspace.project(user), now - days * DAY)
    for line in gone:
        logger.info(line)
    return gone


def _tidy_project(core: Core, project: ProjectFolder, before: float) -> list[str]:
    """Delete what was last used before some time; lines as of `tidy`."""
    for job in core.queue.jobs(project):
        if job.finished and (job.ended or 0) < before:
            core.queue.forget(project, job.id)
    gone, used = [], core.queue.in_use(project)
    for kind in (*project.own_kinds(), "templates"):
        for part in project.place(kind).glob(".*.upload"):
            # Of a server that was killed meanwhile.
            if last_use([part]) < before:
                part.unlink(missing_ok=True)
        for entry in project.entries(kind):
            if entry.shared or entry.name in used or _used_last(core, project, entry) > before:
                continue
            try:
                core.delete(project, entry)
            except (Rejected, OSError) as error:
                logger.warning("%s/%s of %s stays: %s", kind, entry.name, project.user, error)
                continue
            gone.append(f"{kind}/{entry.name} of {project.user or 'the user'}")
    if _is_deserted(core, project, before):
        shutil.rmtree(project.folder)
        gone.append(f"the project of {project.user}")
    return gone


def _is_deserted(core: Core, project: ProjectFolder, before: float) -> bool:
    """Whether a user among many has left nothing of their own, and was not here since some time."""
    if not core.workspace.many or core.queue.jobs(project) or project.results():
        return False
    kinds = (*project.own_kinds(), "templates")
    if any(not entry.shared for kind in kinds for entry in project.entries(kind)):
        return False
    return last_use([project.folder, project.private, *project.private.glob("*")]) < before


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
