"""How good the masks are: against outlines drawn by hand, in time, and what they cost.

    python -m benchmarks.segmentation --templates templates

Needs ``vid.mp4`` of the two demonstration templates (``tree_walk``, ``balance``). Runs the stage on copies
with its refinements switched on one by one, and on a clip ten times as long. Writes
benchmarks/results/segmentation.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import describe
from mimo.video import VideoReader, VideoWriter

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "segmentation.md"
TRUTH = ROOT / "tests" / "data" / "segmentation"
CLIPS = ("tree_walk", "balance")
VARIANTS = {
    "network's mask, three looks": {"refine": False, "steady": False},
    "+ edges": {"steady": False},
    "+ edges + time (default)": {},
    "default, heavy network": {"network": "heavy"},
}


@dataclass
class Run:
    """What one run of the stage cost and recorded."""

    cpu_seconds: float
    peak_mib: float
    metrics: dict[str, float]


def main() -> int:
    """Run every variant and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True, help="folder with tree_walk and balance")
    args = parser.parse_args()
    lines = ["# Segmentation", "", "Written by `python -m benchmarks.segmentation`.", ""]
    with tempfile.TemporaryDirectory() as folder:
        lines += variants(args.templates, Path(folder))
        lines += long_clip(args.templates / "balance" / "vid.mp4", Path(folder))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


def variants(templates: Path, work: Path) -> list[str]:
    """Accuracy, steadiness and cost of each variant on each clip."""
    lines = [
        "IoU and boundary F-score against the outlines of `tests/data/segmentation`: mean over a clip's",
        "frames. They were traced with the help of a background plate of the whole clip, corrected by eye,",
        "about 1 px exact; places where the edge cannot be told are left out. They favour refinement by a",
        "plate a little.",
        "Flicker: 1 - IoU of consecutive masks along the optical flow, where the flow fits.",
        "",
        f"Machine: {describe()}.",
        "",
        "| clip | variant | frames found | IoU | F at 1 px | F at 2 px | flicker | CPU s/frame | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for clip in CLIPS:
        for name, settings in VARIANTS.items():
            template = work / clip
            template.mkdir(exist_ok=True)
            shutil.copy(templates / clip / "vid.mp4", template)
            run = segment(template, settings)
            outlines = sorted(TRUTH.glob(f"{clip}_*"))
            scores = np.mean([against_truth(template, path) for path in outlines], axis=0)
            metrics, frames = run.metrics, run.metrics["frames"]
            cells = [clip, name, f"{metrics['frames_found']}/{frames}", *(f"{s:.3f}" for s in scores)]
            cells += [f"{metrics['flicker']:.4f}", f"{run.cpu_seconds / frames:.3f}", f"{run.peak_mib:.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def long_clip(source: Path, work: Path) -> list[str]:
    """Memory on a clip and on one ten times as long (the clip forth and back)."""
    lines = ["Ten times as long (at most 16 frames are kept for the plate):", ""]
    lines += ["| frames | CPU s/frame | peak MiB |", "|---|---|---|"]
    for times in (1, 10):
        template = work / f"times{times}"
        template.mkdir()
        frames = list(VideoReader(source))
        with VideoWriter(template / "vid.mp4", VideoReader(source).info.fps) as writer:
            for turn in range(times):
                for image in frames if turn % 2 == 0 else reversed(frames):
                    writer.write(image)
        run = segment(template, {})
        count = run.metrics["frames"]
        lines.append(f"| {count} | {run.cpu_seconds / count:.3f} | {run.peak_mib:.0f} |")
    return lines


def segment(template: Path, settings: dict[str, object]) -> Run:
    """Run the stage's command in its own process."""
    command = [sys.executable, "-m", "video_decomp.segmentation", "--template", str(template)]
    process = subprocess.Popen([*command, "--settings", json.dumps(settings)], stderr=subprocess.PIPE)
    assert process.stderr is not None
    messages = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(messages.decode())
    record = json.loads((template / "records" / "segmentation.json").read_text())
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, record["metrics"])


def against_truth(template: Path, path: Path) -> tuple[float, float, float]:
    """IoU and boundary F-scores at 1 and 2 pixels of one frame."""
    truth = json.loads(path.read_text())
    person, unsure = np.zeros((2, truth["height"], truth["width"]), np.uint8)
    cv2.fillPoly(person, [np.array(outline, np.int32) for outline in truth["person"]], 1)
    for hole in truth["holes"]:
        cv2.fillPoly(person, [np.array(hole, np.int32)], 0)
    for area in truth["unsure"]:
        cv2.fillPoly(unsure, [np.array(area, np.int32)], 1)
    care = unsure == 0
    mask = (VideoReader(template / "mask.mp4", gray=True).frame(truth["frame"]) > 127).astype(np.uint8)
    both, either = (person & mask)[care].sum(), (person | mask)[care].sum()
    return (
        float(both / either),
        boundary_f_score(mask, person, care, 1),
        boundary_f_score(mask, person, care, 2),
    )


def boundary_f_score(mask: np.ndarray, truth: np.ndarray, care: np.ndarray, tolerance: int) -> float:
    """Harmonic mean of precision and recall of boundary pixels, within a tolerance in pixels."""
    edges = [(cv2.dilate(m, np.ones((3, 3), np.uint8)) > m) & care for m in (mask, truth)]
    size = 2 * tolerance + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    near = [cv2.dilate(edge.astype(np.uint8), disc) > 0 for edge in edges]
    precision = (edges[0] & near[1]).sum() / max(edges[0].sum(), 1)
    recall = (edges[1] & near[0]).sum() / max(edges[1].sum(), 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


if __name__ == "__main__":
    sys.exit(main())
