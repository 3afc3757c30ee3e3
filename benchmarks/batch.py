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
from typing import Any

import cv2
import numpy as np
import yaml

from benchmarks.machine import describe
from mimo.fingerprint import ROOT
from mimo.run.stages import STAGES
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

PLAN, RUN, RERUN = "plan (dry run)", "run, with its report", "run again, nothing to do"
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
    stages = [*MADE, "template", "synthesis"]
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


def status_rows(output: str) -> list[dict[str, Any]]:
    """The JSON that the status program prints, without what it says before or behind on standard error."""
    found: list[dict[str, Any]] = json.loads(output[output.index("[\n") : output.rindex("]") + 1])
    return found


def told_by_status(output: str) -> dict[str, str]:
    """Reason of each item that failed, as the status program tells it."""
    return {row["name"]: row["reason"] for row in status_rows(output) if row["state"] == "failed"}


def told_by_report(page: str) -> dict[str, str]:
    """Reason of each item that failed, from the report's table."""
    rows = re.findall(
        r'data-state="failed".*?data-name="(.*?)".*?class="reason" title="(.*?)"', page, re.DOTALL
    )
    return dict(rows)


def jobs_planned(output: str) -> int:
    """Number of jobs in a dry run's table."""
    total = re.findall(r"^total +(\d+)", output, flags=re.MULTILINE)
    return int(total[-1]) if total else 0


@dataclass(frozen=True)
class Batch:
    """What became of a batch.

    Attributes:
        videos, bad: how many, and how many of them were bad.
        jobs: planned at first.
        results: finished videos.
        status, report: reason of each item that failed, as they tell it.
        costs: what each step took.
    """

    videos: int
    bad: int
    jobs: int
    results: int
    status: dict[str, str]
    report: dict[str, str]
    costs: dict[str, Cost]


def run(folder: Path, videos: int, bad: int) -> Batch:
    """Plan a batch, run it, ask what became of it, and run it again without the bad videos: nothing to do."""
    environment = prepare(folder, videos, bad)
    python = [sys.executable, "-m"]
    costs = {PLAN: measured(snakemake("--dry-run"), folder, environment)}
    jobs = jobs_planned(costs[PLAN].output)
    assert jobs, costs[PLAN].output
    costs[RUN] = measured(snakemake(), folder, environment)
    costs["status"] = measured([*python, "video_decomp.status", "--format", "json"], folder, environment)
    costs["report once more"] = measured([*python, "mimo.report"], folder, environment)
    report = folder / "results" / "report.html"
    assert report.is_file(), costs[RUN].output
    exclude = sorted(path.stem for path in (folder / "videos").glob("* bad for *"))
    (folder / "without.yaml").write_text(yaml.safe_dump({"exclude": exclude}))
    costs[RERUN] = measured(snakemake("--configfile", "without.yaml"), folder, environment)
    assert "Nothing to be done" in costs[RERUN].output, costs[RERUN].output
    return Batch(
        videos,
        bad,
        jobs,
        results=len(list(folder.glob(f"results/*/{CHARACTER}.mp4"))),
        status=told_by_status(costs["status"].output),
        report=told_by_report(report.read_text()),
        costs=costs,
    )


def jobs_run(batch: Batch) -> int:
    """Jobs of the run that came to an end, well or not."""
    return len(re.findall(r"^(?:Finished jobid|Error in rule)", batch.costs[RUN].output, re.MULTILINE))


def table(batch: Batch) -> list[str]:
    """The result, as Markdown."""
    done = jobs_run(batch)
    each = batch.costs[RUN].jobs / done
    limits = {
        PLAN: f"{LIMITS['plan']:.0f} s",
        RUN: f"{1000 * LIMITS['job']:.0f} ms a job",
        RERUN: f"{LIMITS['rerun']:.0f} s",
    }
    rows = [
        f"{batch.videos} videos, {batch.bad} of them bad, a character: {batch.jobs} jobs planned, {done} run",
        f"to their end. {batch.results} results; reasons told: {len(batch.status)} by status,",
        f"{len(batch.report)} by the report. While jobs ran, Snakemake took {1000 * each:.1f} ms of",
        f"processor time a job. Memory is to stay below {LIMITS['memory']:.0f} MB.",
        "",
        "| step | wall, s | processor, s | of its children, s | memory, MB | limit |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for step, cost in batch.costs.items():
        rows.append(
            f"| {step} | {cost.wall:.1f} | {cost.processor:.1f} | {cost.children:.1f} | {cost.memory:.0f} "
            f"| {limits.get(step, '')} |"
        )
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--bad", type=int, help="how many of them are bad (default: one in twenty)")
    parser.add_argument("--folder", type=Path, help="work here and keep it; must be new")
    args = parser.parse_args()
    bad = args.videos // 20 if args.bad is None else args.bad
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        batch = run(folder, args.videos, bad)
    lines = [
        "# A batch of a thousand videos",
        "",
        f"Made by `python -m benchmarks.batch`: {describe()}.",
        f"Load of the computer over the last 15 minutes: {os.getloadavg()[2]:.1f}.",
        "The workflow is the real one; the stages' programs are stand-ins that copy small files.",
        "",
        *table(batch),
    ]
    print("\n".join(lines))
    if args.videos == 1000:
        RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
