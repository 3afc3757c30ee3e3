#!/usr/bin/env python3
"""Submits a job script, the last argument, and prints the job's number."""

import sys
from pathlib import Path

from schedulers import EXITS, LOGS, Job, scheduler

for folder in (LOGS, EXITS):
    folder.mkdir(parents=True, exist_ok=True)
print(scheduler().submit(Job.read(Path(sys.argv[-1]))))
