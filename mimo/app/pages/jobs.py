"""The queue: what waits, what runs and how far it is, what went wrong."""

from __future__ import annotations

from typing import Any

from mimo.app.job import Job
from mimo.app.pages.gallery import duration
from mimo.app.pages.markup import render
from mimo.app.pages.section import Section
from mimo.app.pages.session import Session, text

SHOWN = 8
"""Jobs that are listed at most; unfinished ones always are."""


class QueueSection(Section):
    """Shows the user's jobs."""

    def __init__(self) -> None:
        super().__init__("queue")
        self.actions = {"cancel": cancel, "forget": forget}

    def draw(self, session: Session) -> str:
        """See `Section.draw`."""
        jobs = session.jobs
        unfinished = [job for job in jobs if not job.finished]
        listed = [job for number, job in enumerate(jobs) if number < SHOWN or not job.finished]
        count = len(unfinished)
        return render(
            "queue",
            summary=f"{count} {'job' if count == 1 else 'jobs'} to do" if count else "",
            jobs=[_row(session, job) for job in listed],
        )


def _row(session: Session, job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "label": job.label,
        "state": job.state,
        "time": time_words(job),
        "share": round(job.progress.share, 3),
        "percent": round(100 * job.progress.share),
        "words": _words(session, job),
        "look": "bad" if job.state == "failed" else "",
        "cancellable": not job.finished and not job.cancelled,
        "finished": job.finished,
    }


def time_words(job: Job) -> str:
    """What a job's clock says, in words."""
    if job.state == "running" and job.progress.seconds_left is not None:
        return f"about {duration(job.progress.seconds_left)} left"
    if job.state == "done" and job.started and job.ended:
        return f"done in {duration(job.ended - job.started)}"
    return {"waiting": "waiting", "running": "running", "done": "done"}.get(job.state, job.state)


def _words(session: Session, job: Job) -> str:
    if job.state == "failed":
        return job.problem
    if job.cancelled and not job.finished:
        return "is being cancelled…"
    if job.state == "waiting":
        ahead = session.core.queue.ahead(job)
        return job.note or ("next" if not ahead else f"{ahead} before it")
    return job.progress.step if job.state == "running" else ""


def cancel(session: Session, told: dict[str, Any]) -> None:
    """End a job."""
    session.core.queue.cancel(session.project, text(told, "id"))


def forget(session: Session, told: dict[str, Any]) -> None:
    """Take a finished job off the list."""
    session.core.queue.forget(session.project, text(told, "id"))
