"""The app's queue, with the real workflow: interrupted, cancelled, continued, and fair."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from app_server import ROOT
from real_batch import is_alive, wait_until

from mimo import weights
from mimo.app.core import Core
from mimo.app.job import Job, ProcessMark
from mimo.app.progress import why_failed
from mimo.app.queue import BUSY, JobQueue
from mimo.app.workspace import Workspace
from mimo.run.lock import is_running
from mimo.stage import Rejected
from mimo.video import VideoReader, VideoWriter

VID = "templates/clip/vid.mp4"
STEP = "reading and normalising the video"
LONG = "templates/long/vid.mp4"

OTHER_RUN = """
from pathlib import Path
from mimo.run.lock import hold_run_lock
hold_run_lock(Path({folder!r}))
print("held", flush=True)
input()
"""

OTHER_SERVER = """
import threading
from pathlib import Path
from mimo.app.queue import JobQueue
from mimo.app.workspace import Workspace
JobQueue(Workspace.open(Path({folder!r}), many=False), 2).start()
threading.Event().wait()
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Ten frames of a woman who walks, and the whole footage, which takes some time to read."""
    weights.fetch(["sports2d-demo"])
    folder = tmp_path_factory.mktemp("clips")
    with VideoWriter(folder / "clip.mp4", 15) as writer:
        for frame in VideoReader(weights.path("sports2d-demo")).frames(90, 100):
            writer.write(frame[450:990:2, 700:1240:2])
    (folder / "long.mp4").symlink_to(weights.path("sports2d-demo"))
    return folder


@pytest.fixture
def workspace(tmp_path, clips):
    """A workspace of one user with these videos."""
    opened = Workspace.open(tmp_path / "workspace", many=False)
    for path in clips.iterdir():
        (opened.folder / "videos" / path.name).symlink_to(path.resolve())
    return opened


def python(code, folder, **more):
    """Another process that works in a workspace."""
    return subprocess.Popen(
        [sys.executable, "-c", code.format(folder=str(folder))],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        **more,
    )


def add(queue, workspace, target, *names):
    return queue.add(workspace.project(""), f"make {target}", "look", [target], names)


def current(queue, workspace, job):
    return queue.job(workspace.project(""), job.id)


def until(queue, workspace, job, *states):
    """Wait until a job is in one of some states."""
    wait_until(lambda: current(queue, workspace, job).state in states)
    return current(queue, workspace, job)


def writing(workspace, target):
    """Whether a stage is writing a file."""
    folder = workspace.folder / Path(target).parent
    return folder.is_dir() and any(path.name.startswith(".vid.part-") for path in folder.iterdir())


def nothing_is_left(workspace, mark):
    """Whether a run has left no process, no lock and nothing half made."""
    with pytest.raises(ProcessLookupError):
        os.killpg(mark.pid, 0)
    halves = [
        path for path in workspace.folder.rglob("*") if ".part-" in path.name or path.name.endswith(".maker")
    ]
    return not is_running(workspace.folder) and halves == []


def test_waits_for_another_run_outlives_the_server_and_is_cancelled(workspace):
    other = python(OTHER_RUN, workspace.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == "held\n"
    first = JobQueue(workspace, 2)
    job = add(first, workspace, LONG, "long")
    first.start()
    wait_until(lambda: current(first, workspace, job).note)
    assert current(first, workspace, job).note == BUSY
    assert current(first, workspace, job).state == "waiting"
    other.communicate("go on\n")
    # The server is told to end in the middle: nothing of its run is left, and the job waits for the next one.
    wait_until(lambda: writing(workspace, LONG))
    running = current(first, workspace, job)
    assert running.state == "running"
    first.stop()
    assert current(first, workspace, job).state == "waiting"
    assert nothing_is_left(workspace, running.process)

    second = JobQueue(workspace, 2)
    assert [one.id for one in second.jobs(workspace.project(""))] == [job.id]
    second.start()
    wait_until(lambda: writing(workspace, LONG))
    wait_until(lambda: current(second, workspace, job).progress.step == STEP)
    running = current(second, workspace, job)
    assert running.progress.total == 1
    assert running.progress.seconds_left > 0
    with pytest.raises(Rejected, match="cancel it first"):
        Core(workspace, second).delete(workspace.project(""), workspace.project("").entry("videos", "long"))
    second.cancel(workspace.project(""), job.id)
    assert until(second, workspace, job, "cancelled", "done", "failed").state == "cancelled"
    assert nothing_is_left(workspace, running.process)
    assert not (workspace.folder / LONG).exists()
    second.forget(workspace.project(""), job.id)
    assert second.jobs(workspace.project("")) == []
    second.stop()


def test_run_of_a_killed_server_is_found_again(workspace):
    job = add(JobQueue(workspace, 2), workspace, VID, "clip")
    # As if another server had been at this one when the computer lost its power.
    lost = Job(
        id="lost", user="", label="lost", kind="look", targets=(VID,), state="running",
        created=job.created + 1, process=ProcessMark(pid=os.getpid(), started=1, place="an earlier start"),
    )  # fmt: skip
    (workspace.private / "jobs" / "lost.json").write_text(lost.model_dump_json())
    (workspace.private / "jobs" / "damaged.json").write_text("{")
    server = python(OTHER_SERVER, workspace.folder)
    path = workspace.private / "jobs" / f"{job.id}.json"
    wait_until(lambda: Job.model_validate_json(path.read_bytes()).state == "running")
    wait_until(lambda: is_running(workspace.folder))
    server.kill()
    server.wait()
    begun = Job.model_validate_json(path.read_bytes()).process
    assert is_alive(begun.pid)
    queue = JobQueue(workspace, 2)
    queue.start()
    assert current(queue, workspace, job).process == begun
    wait_until(lambda: all(one.finished for one in queue.jobs(workspace.project(""))))
    assert {one.label: one.state for one in queue.jobs(workspace.project(""))} == {
        f"make {VID}": "done",
        "lost": "done",
    }
    assert len(VideoReader(workspace.folder / VID)) == 10
    queue.stop()


def test_failure_is_told_in_words(workspace):
    project = workspace.project("")
    (workspace.folder / "videos" / "text.mp4").write_text("no video at all")
    queue = JobQueue(workspace, 2)
    job = add(queue, workspace, "templates/text/vid.mp4", "text")
    queue.start()
    failed = until(queue, workspace, job, "failed", "done")
    assert failed.problem.startswith("videos/text.mp4: cannot be opened as a video")
    assert "REJECTED" not in failed.problem
    assert str(workspace.folder) not in failed.problem
    queue.stop()
    Core(workspace, queue).delete(project, project.entry("videos", "text"))
    assert [entry.name for entry in project.entries("videos")] == ["clip", "long"]
    assert not (workspace.folder / "logs" / "ingest" / "text.log").exists()


def test_faults_are_told_in_words_too(workspace):
    project = workspace.project("")
    job = Job(id="a", user="", label="walk", kind="look", targets=(VID,))
    log = workspace.folder / "logs" / "ingest" / "clip.log"
    log.parent.mkdir(parents=True)
    log.write_text("Traceback (most recent call last):\n  File ...\nKeyError: 'x'\n")
    words = why_failed(project, job, workspace.folder / "no output")
    assert words == "a fault of the program (KeyError: 'x'); tell whoever runs this server, its log says more"
    log.write_text("")
    assert "out of memory?" in why_failed(project, job, workspace.folder / "no output")
    (workspace.folder / "config.yaml").write_text("nonsense: 1\n")
    assert why_failed(project, job, workspace.folder / "no output").startswith("config.yaml: unknown key")


@pytest.fixture
def two(tmp_path):
    """A workspace of many users with two of them, and a queue that does not work."""
    workspace = Workspace.open(tmp_path / "many", many=True)
    users = [workspace.project(workspace.new_user()) for _ in range(2)]
    return JobQueue(workspace, 1), *users


def test_users_take_turns(two):
    queue, anna, ben = two
    jobs = [queue.add(anna, f"anna {i}", "look", [f"templates/{i}/vid.mp4"]) for i in range(3)]
    jobs += [queue.add(ben, f"ben {i}", "look", [f"templates/{i}/vid.mp4"]) for i in range(2)]
    assert [job.label for job in sorted(jobs, key=queue.ahead)] == [
        "anna 0",
        "ben 0",
        "anna 1",
        "ben 1",
        "anna 2",
    ]


def test_users_have_their_own_jobs_and_not_too_many(two):
    queue, anna, ben = two
    job = queue.add(anna, "walk", "look", ["templates/walk/vid.mp4"])
    assert queue.add(anna, "walk again", "look", ["templates/walk/vid.mp4"]).id == job.id
    assert queue.jobs(ben) == []
    for deed in (queue.job, queue.cancel, queue.forget):
        with pytest.raises(Rejected, match="no such job"):
            deed(ben, job.id)
    for i in range(19):
        queue.add(anna, "many", "look", [f"templates/{i}/vid.mp4"])
    with pytest.raises(Rejected, match="20 jobs of yours"):
        queue.add(anna, "one too many", "look", ["templates/x/vid.mp4"])
    assert queue.cancel(anna, job.id).state == "cancelled"
    queue.add(anna, "now", "look", ["templates/x/vid.mp4"])
