"""PBS (PBS Pro, OpenPBS, Torque), LSF and SGE: how a job is submitted, looked at and cancelled.

A scheduler of your own is one more class here. What a job asks for are Snakemake's resources of the same
names: threads, mem_mb, runtime (minutes), gpu, and from the profile queue, account and extra.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

LOGS = Path(".snakemake", "cluster_logs")
"""Where the schedulers write what jobs print."""

EXITS = Path(".snakemake", "cluster_exits")
"""Where ended jobs leave their exit codes (``jobscript.sh``), one file a job, named by its number."""


@dataclass(frozen=True)
class Job:
    """What a job script asks for."""

    script: Path
    name: str
    threads: int
    mem_mb: int
    minutes: int
    gpus: int
    queue: str
    account: str
    extra: list[str]

    @classmethod
    def read(cls, script: Path) -> Job:
        """Read the properties that Snakemake writes into a job script."""
        line = next(line for line in script.read_text().splitlines() if line.startswith("# properties = "))
        properties = json.loads(line.removeprefix("# properties = "))
        resources = properties["resources"]
        return cls(
            script=script,
            name=f"mimo-{properties.get('rule', 'group')}"[:15],
            threads=properties.get("threads", 1),
            mem_mb=resources.get("mem_mb", 2000),
            minutes=resources.get("runtime", 60),
            gpus=resources.get("gpu", 0),
            queue=resources.get("queue", ""),
            account=resources.get("account", ""),
            extra=shlex.split(resources.get("extra", "")),
        )

    @property
    def time(self) -> str:
        """Hours, minutes and seconds."""
        return f"{self.minutes // 60:02}:{self.minutes % 60:02}:00"


class PBS:
    """PBS Pro, OpenPBS and Torque."""

    cancel = "qdel"

    def submit(self, job: Job) -> str:
        """Submit a job; its number."""
        node = f"select=1:ncpus={job.threads}:mem={job.mem_mb}mb" + (f":ngpus={job.gpus}" if job.gpus else "")
        options = ["-V", "-N", job.name, "-j", "oe", "-o", f"{LOGS}/"]
        options += ["-l", node, "-l", f"walltime={job.time}"]
        options += options_if("-q", job.queue) + options_if("-A", job.account) + job.extra
        return output("qsub", *options, str(job.script)).strip()

    def is_known(self, number: str) -> bool:
        """Whether a job waits or runs."""
        answer = ask("qstat", "-f", number)
        if answer.returncode:
            return "nknown" not in answer.stderr and "finished" not in answer.stderr
        state = re.search(r"job_state = (\w)", answer.stdout)
        return state is None or state[1] not in "CFX"


class LSF:
    """IBM Spectrum LSF."""

    cancel = "bkill"

    def submit(self, job: Job) -> str:
        """Submit a job; its number."""
        needs = f"span[hosts=1] rusage[mem={job.mem_mb}MB]"
        options = ["-J", job.name, "-n", str(job.threads), "-R", needs, "-M", f"{job.mem_mb}MB"]
        options += ["-W", str(job.minutes), "-oo", f"{LOGS}/%J.log"]
        options += ["-gpu", f"num={job.gpus}"] if job.gpus else []
        options += options_if("-q", job.queue) + options_if("-P", job.account) + job.extra
        # Read from standard input, since bsub takes a path with spaces apart.
        return re.findall(r"Job <(\d+)>", output("bsub", *options, script=job.script))[0]

    def is_known(self, number: str) -> bool:
        """Whether a job waits or runs."""
        answer = ask("bjobs", "-noheader", "-o", "stat", number)
        if "is not found" in answer.stdout + answer.stderr:
            return False
        return answer.returncode != 0 or answer.stdout.strip() not in ("DONE", "EXIT", "ZOMBI")


class SGE:
    """Sun, Son of, Univa and Altair Grid Engine."""

    cancel = "qdel"
    # What these are called differs from cluster to cluster: `qconf -spl`, `qconf -sc`.
    parallel_environment = os.environ.get("MIMO_SGE_PE", "smp")
    memory = os.environ.get("MIMO_SGE_MEMORY", "mem_free")

    def submit(self, job: Job) -> str:
        """Submit a job; its number."""
        needs = f"h_rt={job.time},{self.memory}={-(-job.mem_mb // job.threads)}M"
        needs += f",gpu={job.gpus}" if job.gpus else ""
        options = ["-terse", "-V", "-cwd", "-N", job.name, "-l", needs, "-j", "y", "-o", str(LOGS)]
        options += ["-pe", self.parallel_environment, str(job.threads)] if job.threads > 1 else []
        options += options_if("-q", job.queue) + options_if("-P", job.account) + job.extra
        return output("qsub", *options, str(job.script)).strip()

    def is_known(self, number: str) -> bool:
        """Whether a job waits or runs; one that the queue could not start (``Eqw``) never will."""
        answer = ask("qstat", "-j", number)
        if answer.returncode:
            return "do not exist" not in answer.stdout + answer.stderr
        return not re.search(r"^error reason", answer.stdout, re.MULTILINE)


def scheduler() -> PBS | LSF | SGE:
    """The one whose programs are here."""
    if shutil.which("bsub"):
        return LSF()
    if shutil.which("qsub"):
        return SGE() if shutil.which("qconf") else PBS()
    raise SystemExit("neither bsub (LSF) nor qsub (PBS, SGE) is here; add yours to schedulers.py")


def options_if(option: str, value: str) -> list[str]:
    """An option, unless its value is empty."""
    return [option, value] if value else []


def output(*command: str, script: Path | None = None) -> str:
    """What a program prints; its message is shown, and its exit code ours, when it fails."""
    with open(script or os.devnull) as given:
        done = subprocess.run(command, stdin=given, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def ask(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program that looks something up."""
    return subprocess.run(command, capture_output=True, text=True)
