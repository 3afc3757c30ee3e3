#!/usr/bin/env python3
"""Stands in for PBS on this computer: ``qsub``, ``qstat -f`` and ``qdel``, by the name it is called.

Jobs really run, in the background, each a process group. As with PBS, a job that has ended is only remembered
as ended.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

JOBS = Path(os.environ["PBS_STAND_IN"])


def qsub(*words: str) -> int:
    number = f"{len(list(JOBS.iterdir())) + 1}.here"
    log = Path(words[words.index("-o") + 1], f"{number}.log")
    with log.open("w") as out:
        environment = os.environ | {"PBS_JOBID": number}
        script = ["sh", words[-1]]
        job = subprocess.Popen(script, env=environment, stdout=out, stderr=out, start_new_session=True)
    (JOBS / number).write_text(str(job.pid))
    print(number)
    return 0


def qstat(option: str, number: str) -> int:
    if not runs(int((JOBS / number).read_text())):
        print(f"qstat: {number} Job has finished, use -x or -H to obtain it", file=sys.stderr)
        return 35
    print(f"Job Id: {number}\n    Job_Name = mimo-ingest\n    job_state = R\n    queue = workq")
    return 0


def qdel(*numbers: str) -> int:
    for number in numbers:
        os.killpg(int((JOBS / number).read_text()), signal.SIGKILL)
    return 0


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    raise SystemExit({"qsub": qsub, "qstat": qstat, "qdel": qdel}[Path(sys.argv[0]).name](*sys.argv[1:]))
