#!/usr/bin/env python3
"""Cancels the jobs whose numbers are the arguments."""

import subprocess
import sys

from schedulers import scheduler

raise SystemExit(subprocess.run([scheduler().cancel, *sys.argv[1:]]).returncode)
