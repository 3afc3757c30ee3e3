"""Speed and memory of every stage, by Snakemake, on the demonstration and on a clip ten times as long.

    python -m benchmarks.pipeline

Writes ``benchmarks/results/pipeline.md``. The long clip is the 720 pixel wide demonstration clip forwards and
backwards in turn, so that its motion goes on. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.machine import describe
from mimo.demo import set_up
from mimo.video import VideoReader, VideoWriter

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "pipeline.md"
STAGES = ("ingest", "segmentation", "pose", "occlusion", "inpainting", "template", "synthesis")
SHORT, LONG, WIDE = "balance", "balance x10", "tree walk"
CHARACTER = "man"


@dataclass(frozen=True)
class Usage:
    """What one job took: wall and processor seconds, peak resident megabytes."""

    wall: float
    processor: float
    memory: float


def loop(source: Path, path: Path, times: int) -> None:
    """Write a clip played forwards and backwards in turn, so many times in all."""
    reader = VideoReader(source)
    frames = list(reader.frames())
    with VideoWriter(path, reader.info.fps) as writer:
        for turn in range(times):
            for frame in frames if turn % 2 == 0 else reversed(frames):
                writer.write(frame)


def run(folder: Path, cores: int) -> None:
    """Run the workflow on the demonstration and the long clip, one job at a time."""
    config = folder / "config.yaml"
    set_up(folder)
    loop(folder / "videos" / f"{SHORT}.mp4", folder / "videos" / f"{LONG}.mp4", 10)
    values = yaml.safe_load(config.read_text())
    values["pairs"] = [{"template": name, "character": CHARACTER} for name in (SHORT, LONG, WIDE)]
    config.write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--configfile", str(config)]
    subprocess.run(
        [*command, "--set-threads", *(f"{stage}={cores}" for stage in STAGES)], cwd=ROOT, check=True
    )


def usage(folder: Path, stage: str, video: str) -> Usage:
    """What Snakemake measured of one job."""
    name = f"{video}/{CHARACTER}" if stage == "synthesis" else video
    with (folder / "logs" / stage / f"{name}.tsv").open(newline="") as file:
        row = next(csv.DictReader(file, delimiter="\t"))
    return Usage(float(row["s"]), float(row["cpu_time"]), float(row["max_rss"]))


def table(folder: Path) -> list[str]:
    """Rows of the table, as Markdown."""
    counts = {}
    for video in (SHORT, LONG, WIDE):
        record = json.loads((folder / "templates" / video / "records" / "ingest.json").read_text())
        counts[video] = record["output"]
    sizes = [f"{v}: {c['width']}x{c['height']}, {c['frames']} frames" for v, c in counts.items()]
    rows = [
        f"| stage | {' | '.join(sizes)} | peak memory {SHORT} | {LONG} | {WIDE} |",
        "|---|" + "---:|" * 6,
    ]
    totals = dict.fromkeys(counts, 0.0)
    for stage in STAGES:
        used = {video: usage(folder, stage, video) for video in counts}
        per_frame = {video: used[video].wall / counts[video]["frames"] for video in counts}
        if stage != "synthesis":
            totals = {video: totals[video] + per_frame[video] for video in counts}
        speed = [f"{per_frame[v]:.3f} ({used[v].processor / counts[v]['frames']:.3f})" for v in counts]
        memory = [f"{used[v].memory:.0f} MB" for v in counts]
        rows.append(f"| {stage} | {' | '.join(speed + memory)} |")
    rows.append(f"| video to template | {' | '.join(f'**{t:.3f}**' for t in totals.values())} | | | |")
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, help="work here and keep it (default: a folder that is deleted)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        run(folder.resolve(), args.cores)
        lines = [
            "# Speed and memory of the stages",
            "",
            f"Made by `python -m benchmarks.pipeline` with --cores {args.cores}: {describe()}, no GPU,",
            f"embedded backends. Load of the computer over the last 15 minutes: {os.getloadavg()[2]:.1f}.",
            "Wall seconds a frame with start-up (in brackets: processor seconds); peak resident memory.",
            "",
            *table(folder),
        ]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
