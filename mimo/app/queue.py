"""The queue of all users' jobs: one runs at a time, users take turns, and nothing is lost in a restart."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from mimo.app import progress
from mimo.app.job import Job, JobKind, Progress
from mimo.app.job_store import JobStore
from mimo.app.project_folder import ProjectFolder
from mimo.app.run_output import read_output
from mimo.app.snakemake_run import SnakemakeRun
from mimo.app.usage import require_room
from mimo.app.workspace import Workspace
from mimo.run.lock import is_running
from mimo.stage import Rejected

logger = logging.getLogger(__name__)

BUSY = "another run is at work in this project, started outside of this page; it goes on when that has ended"
FAULT = "a fault of this server; whoever runs it finds more in its log"
_REMEMBERED = 100
"""Finished jobs of a user that are kept."""
_LOOK = 1.0
"""Seconds between two looks at a running job."""
_WAIT = 3.0
"""Seconds until a project that another run works in is looked at again."""


class JobQueue:
    """Jobs of all users, and the thread that runs them.

    Args:
        workspace: whose projects they work in.
        cores: that a job's run may use.
    """

    def __init__(self, workspace: Workspace, cores: int) -> None:
        self._workspace = workspace
        self._cores = cores
        self._store = JobStore(workspace.private / "jobs")
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def add(
        self,
        project: ProjectFolder,
        label: str,
        kind: JobKind,
        targets: Iterable[str],
        names: Iterable[str] = (),
    ) -> Job:
        """Put a job at the end of the queue.

        Args:
            project: where it works.
            label: what to call it.
            kind: how far it goes.
            targets: files to make, relative to the project.
            names: what it works on (see `Job.names`).

        Returns:
            The job; an unfinished one with the same targets, if there is one, instead of a new one.

        Raises:
            Rejected: the user has too many unfinished jobs, or there is no room.
        """
        wanted = tuple(targets)
        unfinished = [job for job in self.jobs(project) if not job.finished]
        for job in unfinished:
            if job.targets == wanted and not job.cancelled and job.state == "waiting":
                return job
        most = self._workspace.limits.waiting_jobs
        if len(unfinished) >= most:
            raise Rejected(f"{most} jobs of yours are waiting or running already; cancel some, or wait")
        project.prepare()
        require_room(project.folder, self._workspace.limits)
        job = Job(
            id=secrets.token_hex(8),
            user=project.user,
            label=label,
            kind=kind,
            targets=wanted,
            names=tuple(names),
        )
        self._store.put(job)
        for old in [one for one in self.jobs(project) if one.finished][_REMEMBERED:]:
            self.forget(project, old.id)
        self._wake.set()
        return job

    def jobs(self, project: ProjectFolder) -> list[Job]:
        """Jobs of a user, the latest first."""
        return [job for job in reversed(self._store.all()) if job.user == project.user]

    def job(self, project: ProjectFolder, number: str) -> Job:
        """One job of a user.

        Raises:
            Rejected: the user has none of that number.
        """
        job = self._store.get(number)
        if job is None or job.user != project.user:
            raise Rejected("there is no such job; it may have been removed")
        return job

    def ahead(self, job: Job) -> int:
        """How many jobs come before a waiting one, the running one among them."""
        if job.state != "waiting":
            return 0
        order = self._order()
        running = sum(other.state == "running" for other in self._store.all())
        return running + next((i for i, other in enumerate(order) if other.id == job.id), 0)

    def in_use(self, project: ProjectFolder) -> set[str]:
        """Names that unfinished jobs of a user work on."""
        return {name for job in self.jobs(project) if not job.finished for name in job.names}

    def cancel(self, project: ProjectFolder, number: str) -> Job:
        """End a job of a user; a running one ends within seconds and leaves nothing behind that is half made.

        Raises:
            Rejected: the user has none of that number.
        """
        job = self.job(project, number)
        if job.finished:
            return job
        over = {"state": "cancelled", "cancelled": True, "ended": time.time(), "note": ""}
        if not self._store.change_waiting(job.id, **over):
            self._store.change(job.id, cancelled=True)
        self._wake.set()
        return self.job(project, number)

    def forget(self, project: ProjectFolder, number: str) -> None:
        """Take a finished job from the list; what it made stays.

        Raises:
            Rejected: there is none, or it is not finished.
        """
        job = self.job(project, number)
        if not job.finished:
            raise Rejected("the job is not finished; cancel it first")
        self._store.drop(number)
        self._output(job).unlink(missing_ok=True)

    def start(self) -> None:
        """Begin to work; jobs that an earlier server has left go on."""
        self._thread.start()

    def stop(self) -> None:
        """End the running job, which will go on after the next start, and the thread."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _output(self, job: Job) -> Path:
        return self._workspace.private / "jobs" / f"{job.id}.log"

    def _order(self) -> list[Job]:
        """Waiting jobs as they come: of each user in turn, the one served longest ago first."""
        waiting = [job for job in self._store.all() if job.state == "waiting"]
        served = {job.user: 0.0 for job in waiting}
        for job in self._store.all():
            if job.user in served:
                served[job.user] = max(served[job.user], job.started or 0.0)
        lines = {
            user: [job for job in waiting if job.user == user]
            for user in sorted(served, key=served.__getitem__)
        }
        order: list[Job] = []
        while any(lines.values()):
            order += [line.pop(0) for line in lines.values() if line]
        return order

    def _run(self) -> None:
        for job in self._store.all():
            if job.state == "running":
                self._guarded(job, self._found(job))
        while not self._stopping.is_set():
            try:
                self._serve_next()
            except Exception:
                # Such as a full disk: nothing can be written down now.
                logger.exception("the queue; it goes on in %s s", _WAIT)
                self._stopping.wait(_WAIT)

    def _serve_next(self) -> None:
        """Work on the next job, or wait for one."""
        self._wake.clear()
        following = self._next()
        if following is not None:
            self._guarded(following, None)
            return
        waiting = any(one.state == "waiting" for one in self._store.all())
        self._wake.wait(_WAIT if waiting else None)

    def _next(self) -> Job | None:
        """The first waiting job in whose project nobody else is at work."""
        for job in self._order():
            if self._stopping.is_set():
                return None
            if not is_running(self._workspace.project(job.user).folder):
                return job
            self._store.show(job.id, note=BUSY)
        return None

    def _found(self, job: Job) -> SnakemakeRun | None:
        return SnakemakeRun.found(job.process) if job.process else None

    def _guarded(self, job: Job, run: SnakemakeRun | None) -> None:
        """Work on a job; whatever goes wrong with it, the next one gets its turn."""
        try:
            self._work(job, run)
        except Exception:
            logger.exception("job %s", job.id)
            self._end(job, "failed", FAULT)

    def _work(self, job: Job, run: SnakemakeRun | None) -> None:
        """Run a job to its end, or go on with its run that an earlier server has started."""
        if job.state == "running" and run is None:
            self._again(job)
            return
        project, output = self._workspace.project(job.user), self._output(job)
        if run is None:
            begun = {"state": "running", "started": time.time(), "progress": Progress(), "note": ""}
            if not self._store.change_waiting(job.id, **begun):
                return
            run = SnakemakeRun.start(project.folder, job.targets, self._cores, output)
            self._store.change(job.id, process=run.mark)
        while not run.wait(_LOOK):
            current = self._store.get(job.id) or job
            if current.cancelled or self._stopping.is_set():
                run.end()
                break
            self._store.show(job.id, progress=progress.look(project, current, output))
        self._ended(job, run, project, output)

    def _ended(self, job: Job, run: SnakemakeRun, project: ProjectFolder, output: Path) -> None:
        current = self._store.get(job.id) or job
        if run.exit_code == 0:
            self._end(job, "done")
        elif current.cancelled:
            self._end(job, "cancelled")
        elif self._stopping.is_set() or run.exit_code is None:
            # How a run of an earlier server has ended is unknown: run again, it says so at once.
            self._again(job)
        elif read_output(output).busy:
            self._again(job, BUSY)
        else:
            self._end(job, "failed", progress.why_failed(project, job, output))

    def _end(self, job: Job, state: str, problem: str = "") -> None:
        last = (self._store.get(job.id) or job).progress
        done = {"progress": last.model_copy(update={"share": 1.0, "step": "", "seconds_left": None})}
        done = done if state == "done" else {}
        self._store.change(
            job.id, state=state, problem=problem, ended=time.time(), process=None, note="", **done
        )

    def _again(self, job: Job, note: str = "") -> None:
        self._store.change(job.id, state="waiting", process=None, note=note, progress=Progress())
