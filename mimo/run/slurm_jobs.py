"""Jobs in a Slurm queue that a killed run left behind.

A Snakemake that is killed with ``kill -9`` cannot take its jobs back. They would go on beside those of the
next run, or start only then, and make the same files.
"""

from __future__ import annotations

import getpass
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mimo.stage import Rejected

PREFIX = "mimo_"
"""How names of our jobs begin (``slurm-jobname-prefix`` in ``profiles/slurm``)."""

LOGS = Path(".snakemake", "slurm_logs")
"""What a run with ``profiles/slurm`` leaves in its folder, unless it ended well."""

ANSWER_SECONDS = 30.0
# Slurm gives a job KillWait seconds (usually 30) between SIGTERM and SIGKILL.
END_SECONDS = 120.0


def cancel_left_over(folder: Path) -> None:
    """Cancel this user's jobs that were submitted from a folder, and wait until they have ended.

    To be called by the one run that holds the folder's lock, before it submits anything: all such jobs are
    then of runs that are no more. Does nothing where there is no Slurm.

    Raises:
        Rejected: a job does not end.
    """
    if shutil.which("squeue") is None:
        return
    left = _jobs_of(folder)
    if left is None and (folder / LOGS).is_dir():
        print("Slurm does not answer: jobs of a run before this may still be at work", file=sys.stderr)
    if not left:
        return
    print(f"cancelling Slurm jobs of a run that was killed: {' '.join(left)}", file=sys.stderr)
    end = time.monotonic() + END_SECONDS
    _ask("scancel", *left)
    while _jobs_of(folder) != []:
        if time.monotonic() > end:
            raise Rejected(f"Slurm jobs of a run that was killed do not end: {' '.join(left)}; see squeue")
        time.sleep(0.5)


def _jobs_of(folder: Path) -> list[str] | None:
    """Numbers of jobs that wait or run, or that are just ending; None: Slurm does not say."""
    answer = _ask("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%A|%j|%Z")
    if answer is None:
        return None
    jobs = (line.split("|", 2) for line in answer.splitlines())
    return [number for number, name, place in jobs if name.startswith(PREFIX) and Path(place) == folder]


def _ask(*command: str) -> str | None:
    """What one of Slurm's programs prints; None if it fails."""
    try:
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=ANSWER_SECONDS
        ).stdout
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
