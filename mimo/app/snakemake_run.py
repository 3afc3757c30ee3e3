"""The workflow as a process that the server starts, finds again after a restart, and ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mimo.app.job import ProcessMark
from mimo.fingerprint import ROOT
from mimo.lifetime import place, readable

logger = logging.getLogger(__name__)

SNAKEFILE = ROOT / "Snakefile"
PROFILE = ROOT / "profiles" / "default"
_WAITS = ((signal.SIGINT, 20.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
"""What a run is told to end by, and the seconds that it then has."""


class SnakemakeRun:
    """A run of the workflow in a process group of its own.

    Attributes:
        mark: tells its process from others.
    """

    def __init__(self, mark: ProcessMark, process: subprocess.Popen[bytes] | None) -> None:
        self.mark = mark
        self._process = process

    @classmethod
    def start(cls, folder: Path, targets: Sequence[str], cores: int, output: Path) -> SnakemakeRun:
        """Start the workflow in a project.

        Args:
            folder: the project.
            targets: files to make, relative to it.
            cores: for the workflow.
            output: file for what it says.
        """
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE)]
        command += ["--workflow-profile", str(PROFILE), "--cores", str(cores), "--nocolor", "--", *targets]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GRADIO_")}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
        environment |= {"PYTHONPATH": str(ROOT), "PATH": programs}
        with output.open("wb") as said:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(mark_of(process.pid), process)

    @classmethod
    def found(cls, mark: ProcessMark) -> SnakemakeRun | None:
        """A run that another server has started, if it is still at work."""
        return cls(mark, None) if is_alive(mark) else None

    def wait(self, seconds: float) -> bool:
        """Wait for its end, some seconds at most.

        Returns:
            Whether it has ended.
        """
        if self._process is not None:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                return False
            return True
        if not is_alive(self.mark):
            return True
        try:
            process = os.pidfd_open(self.mark.pid)
        except ProcessLookupError:
            return True
        try:
            readable([process], seconds)
        finally:
            os.close(process)
        return not is_alive(self.mark)

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None: it is at work, or another server has started it."""
        return None if self._process is None else self._process.poll()

    def end(self) -> None:
        """End it and all that it started; returns when nothing of it is left."""
        for number, seconds in _WAITS:
            self._signal(number)
            if self.wait(seconds) and self._group_is_gone(seconds):
                return
            logger.warning("run %s goes on %s s after %s", self.mark.pid, seconds, number.name)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.mark.pid, number)
        except ProcessLookupError:
            logger.info("run %s has ended already", self.mark.pid)

    def _group_is_gone(self, seconds: float) -> bool:
        """Wait until no process is left in its group: stages may take longer than Snakemake."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                os.killpg(self.mark.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.05)
        return False


def mark_of(pid: int) -> ProcessMark:
    """The mark of a process that is there."""
    return ProcessMark(pid=pid, started=_started(pid) or 0, place=_boot())


def is_alive(mark: ProcessMark) -> bool:
    """Whether a process is still at work."""
    return mark.place == _boot() and _started(mark.pid) == mark.started


def _boot() -> str:
    return f"{place()} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the computer did; None: it is not there, or has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else int(fields[18])
