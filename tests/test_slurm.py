"""The whole workflow on a real Slurm of two nodes, with everything going wrong that can.

Alone: ``pytest -m slurm``; needs root and Debian's packages (see `slurm_cluster.py`), else it is skipped.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import Checkout, copy_checkout
from operations import fault
from slurm_cluster import NODES, Cluster, Job, unavailable, wait_until

from mimo import weights
from mimo.demo import CHARACTERS, picture

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

VIDEO, CHARACTER = "walk é 'n' run", "-wöman"
CLIP = {"ingest": {"start": 3.0, "max_seconds": 0.4, "short_side": 240, "crop": [700, 450, 540, 540]}}
QUICK = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
# What the first attempts of some stages get: too little memory, a GPU.
CLUSTER_SIDE = ["--set-resources", "segmentation:mem_mb=300 if attempt == 1 else 4000", "character:gpu=1"]
# Each fills a node, so that they run on different ones.
CLUSTER_SIDE += ["--set-threads", "pose=2", "inpainting=2"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if reason := unavailable():
        pytest.skip(reason)
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install -e '.[cluster]'")
    with Cluster(tmp_path_factory.mktemp("cluster") / "slurm") as cluster:
        yield cluster


def with_inputs(folder: Path) -> Checkout:
    """A checkout with one short real clip and one character."""
    checkout = copy_checkout(folder)
    weights.fetch([*weights.select([]), "sports2d-demo"])
    footage = weights.path("sports2d-demo")
    for name in ("videos", "characters"):
        (folder / name).mkdir()
    (folder / "videos" / f"{VIDEO}.mp4").write_bytes(footage.read_bytes())
    _, number, box = CHARACTERS["woman"]
    picture(footage, number).crop(box).save(folder / "characters" / f"{CHARACTER}.png")
    (folder / "more.yaml").write_text(yaml.safe_dump({"overrides": {VIDEO: CLIP}}, allow_unicode=True))
    return checkout


@pytest.fixture
def start():
    """Starts Snakemake with its output in a file; what still runs when the test ends is killed."""
    started = []

    def start(checkout: Checkout, log: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "snakemake", "--configfile", "more.yaml", *options]
        with (checkout.folder / log).open("w") as out:
            process = subprocess.Popen(
                command, cwd=checkout.folder, env=checkout.environment, stdout=out, stderr=out
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def processes(words: str, folder: Path) -> list[int]:
    """Processes anywhere on this computer, working in a folder, whose command line has some words."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = process.joinpath("cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if re.search(rf"python\S* -m {words} ", command) and process.joinpath("cwd").readlink() == folder:
                found.append(int(process.name))
        except OSError:
            continue  # it ended meanwhile
    return found


class Faults:
    """What befalls the first attempt of some stages, each as soon as its job runs."""

    def __init__(self, cluster: Cluster, checkout: Checkout):
        self.cluster = cluster
        self.folder = checkout.folder
        self.dead_node = ""
        self.left = {
            "ingest": self.cancel,
            "pose": self.end_its_time,
            "inpainting": self.fail_its_node,
            "template": self.kill_the_stage,
        }

    def strike(self) -> None:
        for job in self.cluster.jobs():
            stage = stage_of(job)
            if job.state == "RUNNING" and stage in self.left and self.left[stage](job):
                del self.left[stage]
            if job.state == "PENDING" and stage == "inpainting" and self.dead_node:
                # Slurm puts a job that it takes back off by two minutes; an administrator need not wait.
                self.cluster.ask("scontrol", "update", f"JobId={job.number}", "StartTime=now")

    def cancel(self, job: Job) -> bool:
        self.cluster.ask("scancel", job.number)
        return True

    def end_its_time(self, job: Job) -> bool:
        """The stage hangs, and the job's time is over a second later instead of in an hour."""
        found = self.signal("video_decomp.pose", signal.SIGSTOP)
        if found:
            self.cluster.ask("scontrol", "update", f"JobId={job.number}", "EndTime=now+1")
        return found

    def fail_its_node(self, job: Job) -> bool:
        self.dead_node = job.node
        self.cluster.kill_node(job.node)
        return True

    def kill_the_stage(self, job: Job) -> bool:
        return self.signal("video_decomp.pack", signal.SIGKILL)

    def signal(self, module: str, number: signal.Signals) -> bool:
        """Send a stage's process a signal, if there is one."""
        found = processes(module, self.folder)
        for process in found:
            os.kill(process, number)
        return bool(found)


def stage_of(job: Job) -> str:
    return job.comment.split("_")[1]


def states(cluster: Cluster, stage: str) -> list[str]:
    return [job.state for job in cluster.jobs() if stage_of(job) == stage]


def made(checkout: Checkout) -> dict[str, bytes]:
    """Everything but records and the report, which hold times."""
    folders = ("templates", "prepared", "results")
    files = [path for name in folders for path in (checkout.folder / name).rglob("*.*")]
    return {
        path.relative_to(checkout.folder).as_posix(): path.read_bytes()
        for path in files
        if path.suffix in (".mp4", ".png", ".npz")
    }


def test_everything_goes_wrong_and_the_results_are_those_of_a_local_run(cluster, start, tmp_path):
    here, there = with_inputs(tmp_path / "local"), with_inputs(tmp_path / "on Slurm")
    # Other numbers of cores, the same bytes.
    local = start(here, "run.log", "--cores", "1")
    on_slurm = ["--workflow-profile", "profiles/slurm", *QUICK, *CLUSTER_SIDE]
    first = start(there, "first.log", *on_slurm)
    faults = Faults(cluster, there)

    def rendering() -> bool:
        faults.strike()
        assert first.poll() is None, (there.folder / "first.log").read_text()
        return "RUNNING" in states(cluster, "synthesis")

    wait_until(rendering, "the last stage runs", 900)
    assert faults.left == {}
    assert states(cluster, "ingest") == ["CANCELLED", "COMPLETED"]
    # Killed for its memory: FAILED without control groups, OUT_OF_MEMORY with them.
    assert states(cluster, "segmentation") in (["FAILED", "COMPLETED"], ["OUT_OF_MEMORY", "COMPLETED"])
    said = (there.folder / "first.log").read_text()
    # Snakemake shows Slurm's own log only where the stage had said something before it was killed.
    slurm_logs = (there.folder / ".snakemake" / "slurm_logs").rglob("*.log")
    fault("a Slurm job is over its memory").assert_seen(said + "".join(log.read_text() for log in slurm_logs))
    fault("a Slurm job is over its time").assert_seen(said)
    fault("a Slurm job is cancelled, or its stage killed").assert_seen(said)
    assert states(cluster, "pose") == ["TIMEOUT", "COMPLETED"]
    assert states(cluster, "template") == ["FAILED", "COMPLETED"]
    # Slurm itself put the job of the failed node back: the same job, on the other node.
    inpainting = [job for job in cluster.jobs() if stage_of(job) == "inpainting"]
    assert [(job.state, job.node) for job in inpainting] == [
        ("COMPLETED", next(node for node in NODES if node != faults.dead_node))
    ]
    fault("a node of the cluster fails").assert_seen(
        cluster.ask("scontrol", "show", "job", inpainting[0].number)
    )
    character = next(job for job in cluster.jobs() if stage_of(job) == "character")
    assert "gres:gpu:1" in cluster.ask("scontrol", "show", "job", character.number)

    first.kill()
    first.wait()
    assert states(cluster, "synthesis") == ["RUNNING"], "the job goes on without its Snakemake"
    finished = {path: path.stat().st_mtime_ns for path in (there.folder / "templates").rglob("*.*")}
    killed = fault("`kill -9` of a Snakemake that has jobs on Slurm")
    second = killed.recover(there, "--configfile", "more.yaml", *QUICK, *CLUSTER_SIDE, timeout=300)
    assert second.returncode == 0, second.stdout
    killed.assert_seen(second.stdout)
    assert states(cluster, "synthesis") == ["CANCELLED", "COMPLETED"]
    assert {path: path.stat().st_mtime_ns for path in finished} == finished

    assert local.wait(300) == 0, (here.folder / "run.log").read_text()
    assert made(there) == made(here)
    assert (there.folder / "results" / "report.html").exists()
    assert there.planned("--configfile", "more.yaml") == {}
