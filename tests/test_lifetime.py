"""A stage that is told to end clears up, and none outlives its run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mimo.lifetime import EXIT_STOPPED, RUN, RUN_PLACE, place

STAGE = """
import sys, threading
from pathlib import Path
from mimo.files import whole_file
from mimo.stage import run

def work():
    with whole_file(Path(sys.argv[1])) as part:
        part.write_text("half")
        print("at work", flush=True)
        threading.Event().wait(600)

sys.exit(run(work, makes=Path(sys.argv[1])))
"""


@pytest.fixture
def other():
    """Another process, which may be the run that a stage belongs to."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def start(path: Path, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, str(path)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end(tmp_path, number):
    stage = start(tmp_path / "out.txt")
    assert stage.stdout.readline() == "at work\n"
    stage.send_signal(number)
    words = stage.communicate()[1]
    assert stage.returncode == EXIT_STOPPED
    assert words in ("STOPPED: it was told to end\n", "STOPPED: it was interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_run_is_killed(tmp_path, other):
    stage = start(tmp_path / "out.txt", **{RUN: str(other.pid)})
    assert stage.stdout.readline() == "at work\n"
    other.kill()
    words = stage.communicate()[1]
    assert stage.returncode == EXIT_STOPPED
    assert words == "STOPPED: the run that it belongs to has ended\n"
    assert list(tmp_path.iterdir()) == []


def test_run_was_killed_before_its_stage_began(tmp_path, other):
    other.kill()
    other.wait()
    stage = start(tmp_path / "out.txt", **{RUN: str(other.pid), RUN_PLACE: place()})
    words = stage.communicate()[1]
    assert stage.returncode == EXIT_STOPPED
    assert words == "STOPPED: the run that it belongs to has ended\n"


def test_run_of_another_machine_cannot_be_watched(tmp_path, other):
    other.kill()
    other.wait()
    stage = start(tmp_path / "out.txt", **{RUN: str(other.pid), RUN_PLACE: "elsewhere"})
    assert stage.stdout.readline() == "at work\n"
    stage.terminate()
    stage.communicate()
    assert stage.returncode == EXIT_STOPPED
