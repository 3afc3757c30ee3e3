"""The workflow on a thousand videos, a number of them bad, with stand-ins for the stages' programs.

    python -m benchmarks.batch                            # 1000 videos, writes benchmarks/results/batch.md
    python -m benchmarks.batch --videos 100 --folder DIR  # fewer, prints the table only

The Snakefile, rules, profile, project, status and report are the real ones. Only `python -m STAGE` is
another program (`stand_in.sh`), which copies outputs made beforehand, so that what is measured is the
workflow's own time: planning, scheduling and book-keeping. Processor seconds are those of Snakemake's
process alone, without its children, as the system counted them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from benchmarks.machine import describe
from mimo.fingerprint import ROOT
from mimo.stages import STAGES
from mimo.template import FrameCrop, TemplateConfig, time_crop
from mimo.video import VideoWriter

RESULT = Path(__file__).parent / "results" / "batch.md"
STAND_IN = Path(__file__).with_name("stand_in.sh")
CHARACTER = "anna"
SIZE, FRAMES, FPS = (64, 96), 12, 12
MADE = {
    "ingest": ["vid"],
    "segmentation": ["mask"],
    "pose": ["sdc"],
    "occlusion": [],
    "inpainting": ["bk"],
}
"""Videos that each stage of a template writes."""

LIMITS = {"plan": 30.0, "rerun": 15.0, "job": 0.025, "memory": 500.0}
"""Seconds, seconds, seconds a job and megabytes that the workflow is to stay below with 1000 videos."""


@dataclass(frozen=True)
class Cost:
    """What one command took.

    Attributes:
        code: exit code.
        output: standard output and error.
        wall: seconds.
        processor: user and system seconds of the process itself.
        children: the same of the processes that it started and waited for.
        jobs: the same of the process itself while jobs ran: from its first job's start to the last one's end.
        memory: largest resident memory of the process or one of its children, megabytes.
    """

    code: int
    output: str
    wall: float
    processor: float
    children: float
    jobs: float
    memory: float


def measured(command: list[str], folder: Path, environment: dict[str, str]) -> Cost:
    """Run a command in a folder and measure it."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    lines: list[str] = []
    at_jobs: list[float] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(("Select jobs", "Finished jobid", "Error in rule")):
            at_jobs.append(processor_seconds(process.pid)[0])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    own, children = processor_seconds(process.pid)
    wall = time.perf_counter() - started
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    jobs = at_jobs[-1] - at_jobs[0] if at_jobs else 0.0
    return Cost(process.returncode, "".join(lines), wall, own, children, jobs, usage.ru_maxrss / 1000)


def processor_seconds(process: int) -> tuple[float, float]:
    """User and system seconds of a living or ended process, and of its children that ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    user, system, child_user, child_system = (int(field) / ticks for field in fields[11:15])
    return user + system, child_user + child_system


def prepare(folder: Path, videos: int, bad: int) -> dict[str, str]:
    """Lay out a folder with videos, one character and the stand-ins.

    Args:
        folder: to work in; may be missing.
        videos: how many driving videos.
        bad: how many of them some stage rejects; every stage gets its share.

    Returns:
        The environment to run Snakemake in.
    """
    material = folder / "material"
    write_material(material)
    clip = (material / STAGES["ingest"] / "vid.mp4").read_bytes()
    (folder / "videos").mkdir()
    stages = [stage for stage in STAGES if stage != "character"]
    for number in range(videos):
        # The bad ones are spread over the folder.
        is_bad = (number * bad) // videos != ((number + 1) * bad) // videos
        stage = stages[(number * bad) // videos % len(stages)]
        name = f"video {number:04}" + (f" bad for {STAGES[stage]}" if is_bad else "")
        (folder / "videos" / f"{name}.mp4").write_bytes(clip + free_box(name.encode()))
    (folder / "characters").mkdir()
    picture = np.full((*SIZE, 3), 200, np.uint8)
    cv2.imwrite(str(folder / "characters" / f"{CHARACTER}.png"), picture)
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    programs = folder / "programs"
    programs.mkdir()
    for name in ("python", "python3"):
        (programs / name).symlink_to(STAND_IN)
    path = f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "MATERIAL": str(material), "PYTHONPATH": str(ROOT)}


def free_box(content: bytes) -> bytes:
    """An MP4 box that players pass over: makes files of one clip different."""
    return struct.pack(">I4s", 8 + len(content), b"free") + content


def write_material(folder: Path) -> None:
    """Write what each stage would: valid videos of a few frames, and records."""
    image = np.zeros((*SIZE, 3), np.uint8)
    cv2.circle(image, (48, 32), 20, (220, 160, 60), -1)
    for stage, videos in MADE.items():
        made = folder / STAGES[stage]
        for video in videos:
            write_clip(made / f"{video}.mp4", image, grey=video == "mask")
        write_record(made / "records" / f"{stage}.json", stage)
    np.savez(folder / STAGES["pose"] / "motion.npz", camera=np.zeros(5, np.float32))
    packed = folder / STAGES["template"]
    packed.mkdir()
    cv2.imwrite(str(packed / "preview.png"), image)
    TemplateConfig(
        fps=FPS,
        time_crop=time_crop(FPS, 0, FRAMES),
        frame_crop=FrameCrop(end_idx_x=SIZE[1], end_idx_y=SIZE[0]),
        pipeline={"frames": FRAMES, "size": [SIZE[1], SIZE[0]], "occ_sha256": None},
    ).write(packed / "config.json")
    prepared = folder / STAGES["character"]
    prepared.mkdir()
    for name in ("image.png", "mask.png"):
        cv2.imwrite(str(prepared / name), image)
    np.savez(prepared / "body.npz", camera=np.zeros(5, np.float32))
    write_record(prepared / "character.json", "character")
    write_clip(folder / STAGES["synthesis"] / "result.mp4", image)
    write_record(folder / STAGES["synthesis"] / "result.json", "synthesis")


def write_clip(path: Path, image: np.ndarray, grey: bool = False) -> None:
    """Write a clip in which a picture moves sideways."""
    with VideoWriter(path, FPS, kind="mask" if grey else "colour") as writer:
        for number in range(FRAMES):
            moved = np.roll(image, number, axis=1)
            writer.write(moved[..., 0] if grey else moved)


def write_record(path: Path, stage: str) -> None:
    """Write a record as a stage does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"stage": stage, "backend": "", "settings": {}, "metrics": {"frames": FRAMES}, "warnings": []}
    path.write_text(json.dumps(values | {"weights": []}))


def snakemake(*options: str) -> list[str]:
    """Command line of the real workflow and its default profile."""
    return [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "2", *options]


def reasons(text: str) -> dict[str, str]:
    """Reason of each video, character and result that failed, from a status table."""
    found = {}
    for line in text.splitlines():
        row = re.match(r"(?:video|character|result) +(.*?)  +.*REJECTED: (.*)", line)
        if row:
            found[row[1]] = row[2]
    return found


def jobs_planned(output: str) -> int:
    """Number of jobs in a dry run's table."""
    total = re.findall(r"^total +(\d+)", output, flags=re.MULTILINE)
    return int(total[-1]) if total else 0


@dataclass(frozen=True)
class Batch:
    """What became of a batch, and what each step of it took."""

    videos: int
    bad: int
    jobs: int
    results: int
    told_by_status: int
    told_by_report: int
    costs: dict[str, Cost]


def run(folder: Path, videos: int, bad: int) -> Batch:
    """Plan a batch, run it, ask for its state, and plan and run it again with nothing to do."""
    environment = prepare(folder, videos, bad)
    python = [sys.executable, "-m"]
    costs = {"plan": measured(snakemake("--dry-run", "--quiet", "all"), folder, environment)}
    costs["first plan with its table"] = measured(snakemake("--dry-run"), folder, environment)
    jobs = jobs_planned(costs["first plan with its table"].output)
    costs["run"] = measured(snakemake(), folder, environment)
    costs["status"] = measured([*python, "mimo.status"], folder, environment)
    costs["report"] = measured([*python, "mimo.report"], folder, environment)
    # What is bad stays bad: the rest is done, and a run without them finds nothing to do.
    (folder / "config.yaml").write_text(
        yaml.safe_dump(
            yaml.safe_load((folder / "config.yaml").read_text())
            | {"exclude": sorted(path.stem for path in (folder / "videos").glob("* bad for *"))}
        )
    )
    costs["rerun with nothing to do"] = measured(snakemake(), folder, environment)
    costs["plan with nothing to do"] = measured(snakemake("--dry-run"), folder, environment)
    report = (folder / "results" / "report.html").read_text()
    return Batch(
        videos,
        bad,
        jobs,
        results=len(list(folder.glob(f"results/*/{CHARACTER}.mp4"))),
        told_by_status=len(reasons(costs["status"].output)),
        told_by_report=0,
        costs=costs,
    )
