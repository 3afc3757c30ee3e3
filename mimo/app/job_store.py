"""Keeps jobs on the disk, one JSON file each, so that they outlive the server."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mimo.app.job import Job
from mimo.files import whole_file

logger = logging.getLogger(__name__)


class JobStore:
    """All jobs, in memory and on the disk; every method may be called from any thread.

    Args:
        folder: where the files lie; made if it is not there. Damaged files are passed over.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        for path in folder.glob("*.json"):
            try:
                job = Job.model_validate_json(path.read_bytes())
            except (ValidationError, OSError) as error:
                logger.warning("%s: passed over, since it is damaged: %s", path, error)
                continue
            self._jobs[job.id] = job

    def all(self) -> list[Job]:
        """Every job, the oldest first."""
        with self._lock:
            return sorted(self._jobs.values(), key=lambda job: (job.created, job.id))

    def get(self, number: str) -> Job | None:
        """One job, None if there is none."""
        with self._lock:
            return self._jobs.get(number)

    def put(self, job: Job) -> Job:
        """Add a job."""
        with self._lock:
            # First in memory: with a full disk, too, what is shown is true.
            self._jobs[job.id] = job
            with whole_file(self._folder / f"{job.id}.json") as part:
                part.write_text(job.model_dump_json(indent=1), encoding="utf-8")
        return job

    def change(self, number: str, **values: Any) -> Job:
        """Give a job new values.

        Raises:
            KeyError: there is no such job.
        """
        with self._lock:
            return self.put(self._jobs[number].model_copy(update=values))

    def change_waiting(self, number: str, **values: Any) -> bool:
        """As `change`, if the job is waiting; False if it is not, or not any more."""
        with self._lock:
            job = self._jobs.get(number)
            if job is None or job.state != "waiting":
                return False
            self.change(number, **values)
            return True

    def show(self, number: str, **values: Any) -> Job:
        """As `change`, in memory only: for what is out of date in a second."""
        with self._lock:
            self._jobs[number] = self._jobs[number].model_copy(update=values)
            return self._jobs[number]

    def drop(self, number: str) -> None:
        """Forget a job."""
        with self._lock:
            self._jobs.pop(number, None)
            (self._folder / f"{number}.json").unlink(missing_ok=True)
