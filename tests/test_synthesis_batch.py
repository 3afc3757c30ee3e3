"""Clips of one run share one loaded model: a worker that ends with its run and survives bad clips."""

import json
import multiprocessing
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_diffusion_backend import GOLDEN, make_character, make_template

from mimo.files import sha256
from mimo.pipeline import MimoPipeline
from mimo.runtime_folder import runtime_folder
from mimo.stage import Rejected
from mimo.synthesis.__main__ import main
from mimo.worker import handover, room
from mimo.worker.sockets import Order


def ended(process: int) -> bool:
    """Wait for a process that is not our child to end; fails the test if it lives on."""
    try:
        file = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(20_000))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run: a process that lives until the test ends, or ends it; and a private place for sockets."""
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    with (
        tempfile.TemporaryDirectory() as sockets,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process,
    ):
        monkeypatch.setenv("XDG_RUNTIME_DIR", sockets)
        monkeypatch.setenv(handover.RUN, str(process.pid))
        yield process
        process.kill()


class Clip:
    """A clip that is not what it should be: enough to see how it is passed on, without any network."""

    def __init__(self, folder: Path, capfd):
        self.folder, self.capfd = folder, capfd
        self.order = self.of(folder / "template")

    def of(self, template) -> Order:
        """The order for a template."""
        argv = [f"--template={template}", f"--character={self.folder}", f"--output={self.folder}/a.mp4"]
        return Order("mimo.synthesis", argv, keep_loaded=60, mem_mb=0, gpu_mem_mb=0)

    def hand_over(self, run, kind="mimo.synthesis puppet"):
        """Exit code, worker and what was printed."""
        code = handover.hand_over(self.order, kind, run.pid)
        text = self.capfd.readouterr().err
        return code, int(re.findall(r"handed over to process (\d+)", text)[-1]), text


@pytest.fixture
def clip(tmp_path, capfd):
    return Clip(tmp_path, capfd)


def test_a_rejected_clip_leaves_the_worker_for_the_next(run, clip):
    code, worker, text = clip.hand_over(run)
    assert code == 3
    assert f"REJECTED: {clip.folder}/template" in text
    assert clip.hand_over(run)[:2] == (3, worker)
    assert clip.hand_over(run, "mimo.synthesis another")[1] != worker, "backends have workers of their own"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as another_run:
        assert clip.hand_over(another_run)[1] != worker
        another_run.kill()
    run.kill()
    run.wait()
    assert ended(worker), "it does not outlive its run"


def test_a_faulty_clip_fails_alone_with_its_traceback(run, clip):
    good = clip.order
    clip.order = clip.of(clip.folder / "no\0path")
    code, worker, text = clip.hand_over(run)
    assert code == 1
    assert "ValueError: embedded null byte" in text
    clip.order = good
    code, other, _ = clip.hand_over(run)
    assert code == 3
    assert other != worker, "what a fault left behind is nobody's basis"
    assert ended(worker)


def test_a_worker_waits_only_so_long(run, clip):
    clip.order = replace(clip.order, keep_loaded=0.2)
    _, worker, _ = clip.hand_over(run)
    assert ended(worker)
    assert not list(runtime_folder().glob("*.socket"))
    assert clip.hand_over(run)[0] == 3, "the next clip starts another one"


def test_a_clip_nobody_waits_for_is_given_up(run, clip):
    (clip.folder / "template").mkdir()
    config = clip.folder / "template" / "config.json"
    os.mkfifo(config)
    command = [sys.executable, "-c", "import sys; from mimo.worker import handover as h, sockets as s"]
    command[-1] += "; sys.exit(h.hand_over(s.Order.from_json(sys.argv[1]), 'a kind', int(sys.argv[2])))"
    sender = subprocess.Popen(
        [*command, clip.order.as_json(), str(run.pid)], stderr=subprocess.PIPE, text=True
    )
    worker = int(re.findall(r"process (\d+)", sender.stderr.readline())[0])
    with config.open("w"):  # waits until the worker reads it, which then waits for us
        sender.kill()
        sender.communicate()
        assert ended(worker)


def test_workers_that_wait_make_room_for_a_job(run, clip):
    first = clip.hand_over(run, "first")[1]
    second = clip.hand_over(run, "second")[1]
    assert clip.hand_over(run, "first")[1] == first, "there is room for both"
    clip.order = replace(clip.order, mem_mb=10**9)
    code, third, text = clip.hand_over(run, "third")
    assert code == 3
    assert re.findall(r"process (\d+), which was waiting, has made room", text) == [str(second), str(first)]
    assert third not in (first, second)
    assert ended(first)
    assert ended(second)
    assert clip.hand_over(run, "third")[1] == third, "a worker does not make room for itself"


def test_only_as_many_make_room_as_must(run, clip, monkeypatch):
    workers = [clip.hand_over(run, kind)[1] for kind in ("first", "second", "third")]
    own = runtime_folder() / "not-there.socket"
    left = iter([1000, 3000])
    monkeypatch.setattr(room, "main_mb_left", lambda: next(left))
    room.make_room(replace(clip.order, mem_mb=2000), own)
    assert ended(workers[0])
    assert [clip.hand_over(run, kind)[1] for kind in ("second", "third")] == workers[1:]


def test_a_worker_at_work_does_not_make_room(run, clip):
    (clip.folder / "template").mkdir()
    config = clip.folder / "template" / "config.json"
    os.mkfifo(config)
    sender = multiprocessing.get_context("fork").Process(target=clip.hand_over, args=(run,))
    sender.start()
    with config.open("w") as pipe:
        [socket] = runtime_folder().glob("*.socket")
        assert room.ask_to_leave(socket) is None
        pipe.write("{")
    sender.join()
    assert sender.exitcode == 0
    assert socket.exists()


def test_sockets_lie_where_nobody_else_may_enter(run):
    assert str(runtime_folder()).startswith(os.environ["XDG_RUNTIME_DIR"])
    assert runtime_folder().stat().st_mode & 0o777 == 0o700
    runtime_folder().chmod(0o755)
    with pytest.raises(Rejected, match="only you may enter"):
        runtime_folder()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Small weights, two templates of the same content, and a character."""
    folder = tmp_path_factory.mktemp("mimo")
    zipfile.ZipFile(GOLDEN / "weights.zip").extractall(folder / "weights")
    make_template(folder / "one")
    make_template(folder / "two")
    make_character(folder / "character")
    return folder


def command(inputs, template, output, steps):
    options = ["--backend", "mimo", "--device", "cpu", "--steps", str(steps), "--size", "256"]
    options += ["--template", inputs / template, "--character", inputs / "character", "--output", output]
    return [str(word) for word in [*options, "--memory", "lowest", "--weights", inputs / "weights"]]


@pytest.mark.slow
def test_clips_share_one_load_and_a_killed_worker_is_made_good(run, inputs, tmp_path, monkeypatch):
    def make(template, steps=1):
        output = tmp_path / f"{template}-{steps}.mp4"
        words = [sys.executable, "-m", "mimo.synthesis", *command(inputs, template, output, steps)]
        return output, subprocess.Popen(words, stderr=subprocess.PIPE, text=True)

    def finished(template, steps=1):
        output, process = make(template, steps)
        errors = process.communicate()[1]
        assert process.returncode == 0, errors
        return output, json.loads(output.with_suffix(".json").read_text())["metrics"]

    first, metrics = finished("one")
    assert metrics["loaded_by"] == "one with character"
    assert metrics["load_seconds"] > 0
    second, metrics = finished("two")
    assert metrics["loaded_by"] == "one with character", "the second clip loads nothing"
    assert metrics["load_seconds"] == 0

    output, process = make("two", steps=3)
    text = ""
    while "2/3" not in text:
        text += process.stderr.read(1)
    worker = int(re.findall(r"handed over to process (\d+)", text)[0])
    os.kill(worker, signal.SIGKILL)
    assert process.wait() == 1
    assert "has died" in process.stderr.read()
    assert not output.exists()
    resumed, metrics = finished("two", steps=3)
    assert metrics["loaded_by"] == "two with character", "in a new worker"

    assert sha256(first) == sha256(second), "the same clip, made cold and warm"
    monkeypatch.delenv(handover.RUN)
    alone = tmp_path / "alone.mp4"
    assert main(command(inputs, "two", alone, steps=3)) == 0
    assert sha256(alone) == sha256(resumed)


def test_memory_that_runs_out_all_the_same_is_told(inputs, tmp_path, monkeypatch, capfd):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")

    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(MimoPipeline, "denoise", fail)
    words = command(inputs, "one", tmp_path / "a.mp4", 1)
    words[words.index("lowest")] = "low"
    assert main(words) == 3
    message = capfd.readouterr().err
    assert (
        "REJECTED: the GPU's memory does not suffice at 256 pixels with memory: low (CUDA out of" in message
    )
    assert "Set memory: lowest, or a smaller size or window" in message
