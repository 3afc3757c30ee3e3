#!/usr/bin/env python3
"""Submits a job script, the last argument, and prints the job's number."""

import os
import sys
from pathlib import Path

from schedulers import EXITS, LOGS, Job, scheduler

for folder in (LOGS, EXITS):
    folder.mkdir(parents=True, exist_ok=True)
# Jobs get the whole environment; jobscript.sh takes this from it.
os.environ["MIMO_SUBMIT_PATH"] = os.environ["PATH"]
print(scheduler().submit(Job.read(Path(sys.argv[-1]))))
