#!/usr/bin/env python3
"""Prints what became of a job, the last argument: running, success or failed.

While the scheduler knows a job it is running, however long it waits. Of one that it no longer knows, the exit
code counts that the job left; a job that was killed left none. So accounting is not needed, and nothing is
waited for in vain.
"""

import sys
import time

from schedulers import EXITS, scheduler

SECONDS_FOR_FILE_SYSTEM = 10

number = sys.argv[-1]
if scheduler().is_known(number):
    print("running")
else:
    end = time.monotonic() + SECONDS_FOR_FILE_SYSTEM
    while not (EXITS / number).is_file() and time.monotonic() < end:
        time.sleep(0.5)
    ended_well = (EXITS / number).is_file() and (EXITS / number).read_text().strip() == "0"
    print("success" if ended_well else "failed")
