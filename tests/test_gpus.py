"""Jobs at the same time compute on different GPUs; the GPUs are stand-ins, the processes are real."""

import fcntl
import os
import subprocess
import sys
import tempfile

import pytest

from mimo.gpus import VISIBLE, held_gpu
from mimo.runtime_folder import runtime_folder

HOLDER = """
import sys
from mimo.gpus import held_gpu
with held_gpu(sys.argv[1]) as held:
    print(held.name, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch):
    """Two GPUs, and a private place for their locks."""
    with tempfile.TemporaryDirectory() as locks:
        monkeypatch.setenv("XDG_RUNTIME_DIR", locks)
        monkeypatch.setenv(VISIBLE, "3,5")
        yield


class Holder:
    """A process that holds a GPU until it is told to let go."""

    def __init__(self, device="auto"):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def gpu(self) -> str:
        """The name of its GPU; waits until it has one."""
        return self.process.stdout.readline().strip()

    def let_go(self):
        self.process.communicate("\n")


def is_taken(gpu: str) -> bool:
    with (runtime_folder() / f"gpu-{gpu}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_each_takes_a_free_one_and_the_third_waits():
    first, second = Holder(), Holder()
    names = {first.gpu(), second.gpu()}
    assert names == {"3", "5"}
    third = Holder()
    assert "waiting for a GPU: 3, 5 in use" in third.process.stderr.readline()
    second.process.kill()
    freed = third.gpu()
    assert freed in names
    assert is_taken("3")
    assert is_taken("5")
    first.let_go()
    third.let_go()
    assert not is_taken("3")
    assert not is_taken("5")


def test_a_gpu_that_the_settings_name_counts_as_taken():
    named = Holder("cuda:1")
    assert named.gpu() == "None", "nothing to choose"
    assert (is_taken("3"), is_taken("5")) == (False, True)
    with held_gpu("auto") as held:
        assert held.name == "3"
    named.let_go()


@pytest.mark.parametrize(("device", "visible"), [("cpu", "3,5"), ("auto", "5"), ("auto", "")])
def test_nothing_is_held_without_a_choice(device, visible, monkeypatch):
    monkeypatch.setenv(VISIBLE, visible)
    with held_gpu(device) as held:
        assert held.name is None
        assert held.lock is None


@pytest.mark.parametrize(
    ("stage", "backend"),
    [
        ("video_decomp.segmentation", "sam2"),
        ("video_decomp.pose", "hmr2"),
        ("video_decomp.occlusion", "depth-layers"),
        ("video_decomp.inpainting", "propainter"),
        ("video_decomp.character", "sam2"),
        ("mimo.synthesis", "mimo"),
    ],
)
def test_every_stage_holds_one_while_it_works(stage, backend, tmp_path, monkeypatch):
    """The stage waits for its input, a pipe that the test opens when it has seen enough."""
    monkeypatch.delenv("MIMO_RUN_PID", raising=False)
    template = tmp_path / "template"
    template.mkdir()
    name = {"mimo.synthesis": "config.json"}.get(stage, "vid.mp4")
    os.mkfifo(template / name)
    words = {
        "video_decomp.character": [f"--character={tmp_path / 'c'}", template / name],
        "mimo.synthesis": [f"--template={template}", f"--character={tmp_path}", f"--output={tmp_path}/a.mp4"],
    }.get(stage, [f"--template={template}"])
    command = [sys.executable, "-m", stage, f"--backend={backend}", *map(str, words)]
    with held_gpu("auto") as mine:
        assert mine.name == "3"
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        with (template / name).open("wb") as pipe:
            assert is_taken("5")
            pipe.write(b"nothing of use")
        assert "REJECTED" in process.communicate()[1]
    assert process.returncode == 3
    assert not is_taken("5")
