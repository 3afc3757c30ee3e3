"""How good, how fast and how small the puppet is.

    python -m benchmarks.puppet --templates templates --characters prepared

Needs the two demonstration templates (``tree_walk``, ``balance``), and the characters ``man`` (a frame of the
clip of ``balance``) and ``woman`` (a frame of that of ``tree_walk``). Writes benchmarks/results/puppet.md.

Self-reconstruction: a character acts out the clip that its picture was taken from, so every frame has a
truth. It measures everything together: body fit, lifting, texture, motion, light and place. A shift by one
pixel already costs several dB on textured clothes: the second number compares pictures reduced to a quarter.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import describe
from mimo.body.motion import Motion
from mimo.files import sha256
from mimo.template import Template
from mimo.video import VideoReader, VideoWriter

RESULTS = Path(__file__).parent / "results" / "puppet.md"
OWN = {"man": "balance", "woman": "tree_walk"}
LONGER = 10
CALM = ("--shadow", "0")


def main() -> int:
    """Run every measurement and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True, help="folder with tree_walk and balance")
    parser.add_argument("--characters", type=Path, required=True, help="folder with man and woman")
    args = parser.parse_args()
    lines = ["# Puppet", "", f"Written by `python -m benchmarks.puppet` (two threads): {describe()}.", ""]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        lines += self_reconstruction(args.templates, args.characters, work)
        lines += cost(args.templates, args.characters, work)
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


def synthesise(template: Path, character: Path, output: Path, *options: str) -> tuple[float, float]:
    """Run the stage; processor seconds of it and its encoder, and an upper bound of its peak memory (MB).

    Linux counts what this process held when it started the command as the command's own.
    """
    command = [sys.executable, "-m", "mimo.synthesis", "--backend", "puppet", *options]
    command += [f"--template={template}", f"--character={character}", f"--output={output}"]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def self_reconstruction(templates: Path, characters: Path, work: Path) -> list[str]:
    """Each character in its own clip, against the clip."""
    lines = [
        "## Self-reconstruction",
        "",
        "Against the real frames inside the person's mask. Silhouette: where the result differs from `bk`.",
        "",
        "| character in its own clip | PSNR (dB) | PSNR at a quarter (dB) | SSIM "
        "| background alone: PSNR (dB) | silhouette IoU | lifted silhouette IoU | body fit IoU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, template in OWN.items():
        output = work / f"{name}.mp4"
        synthesise(templates / template, characters / name, output, *CALM)
        metrics = json.loads(output.with_suffix(".json").read_text())["metrics"]
        scores = np.mean(list(_compare(Template.load(templates / template), output)), axis=0)
        fine, coarse, likeness, empty, overlap = scores
        lines.append(
            f"| {name} in {template} | {fine:.1f} | {coarse:.1f} | {likeness:.3f} | {empty:.1f} "
            f"| {overlap:.3f} | {metrics['silhouette_iou_lifted']:.3f} "
            f"| {metrics['silhouette_iou_fit']:.3f} |"
        )
    return [*lines, ""]


def _compare(template: Template, result: Path):
    """Scores of every frame in which the person is seen."""
    made = VideoReader(result).frames()
    streams = (template.frames(name) for name in ("vid", "mask", "bk"))
    for frame, truth, mask, background in zip(made, *streams, strict=True):
        inside = mask > 127
        if inside.sum() < 500:
            continue
        drawn = np.abs(frame.astype(int) - background).max(axis=2) > 20
        drawn = cv2.morphologyEx(drawn.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        box = cv2.boundingRect(inside.astype(np.uint8))
        near = (
            slice(max(box[1] - 20, 0), box[1] + box[3] + 20),
            slice(max(box[0] - 20, 0), box[0] + box[2] + 20),
        )
        small = [
            cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
            for image in (frame, truth, mask)
        ]
        yield (
            psnr(frame, truth, inside),
            psnr(small[0], small[1], small[2] > 200),
            ssim(frame, truth)[inside].mean(),
            psnr(background, truth, inside),
            (drawn & inside)[near].sum() / (drawn | inside)[near].sum(),
        )


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures where a mask is set."""
    return float(10 * np.log10(255**2 / max(((a.astype(float) - b)[where] ** 2).mean(), 1e-9)))


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang et al. 2004) of two pictures' brightness, per pixel."""
    x, y = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (a, b))

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))


def cost(templates: Path, characters: Path, work: Path) -> list[str]:
    """Time and memory of every pair, and of a clip ten times as long."""
    lines = [
        "## Cost",
        "",
        "Processor time of the whole command and of its encoder, lifting included.",
        "",
        "| template | character | frames | size | CPU s | CPU s a frame | peak MB, at most |",
        "|---|---|---|---|---|---|---|",
    ]
    longer = work / "balance, ten times"
    lengthen(templates / "balance", longer)
    pairs = [(templates / t, characters / c) for t in ("tree_walk", "balance") for c in ("man", "woman")]
    for template, character in [*pairs, (longer, characters / "man")]:
        seconds, memory = synthesise(template, character, work / "out.mp4")
        info = VideoReader(work / "out.mp4").info
        lines.append(
            f"| {template.name} | {character.name} | {info.frames} | {info.width}x{info.height} "
            f"| {seconds:.1f} | {seconds / info.frames:.3f} | {memory:.0f} |"
        )
    return [*lines, ""]


def lengthen(template: Path, longer: Path) -> None:
    """A template in which the clip runs to and fro ten times."""
    longer.mkdir()
    source = Template.load(template)
    order = np.concatenate([np.arange(len(source.frame_numbers))[:: (-1) ** k] for k in range(LONGER)])
    for name, video in source.videos.items():
        kind = "mask" if name in ("mask", "occ") else "colour"
        with VideoWriter(longer / f"{name}.mp4", video.info.fps, kind=kind) as writer:
            for k in range(LONGER):
                frames = video.frames() if k % 2 == 0 else reversed(list(video.frames()))
                for frame in frames:
                    writer.write(frame)
    motion = Motion.load(template / "motion.npz")
    parts = ("rotations", "root_rotation", "translation", "confidence", "visible")
    replace(motion, **{name: getattr(motion, name)[order] for name in parts}).save(longer / "motion.npz")
    config = source.config.model_dump(mode="json")
    config["time_crop"] = {"start_idx": 0, "end_idx": 10**6}
    occluder = longer / "occ.mp4"
    config["pipeline"] = {"occ_sha256": sha256(occluder) if occluder.is_file() else None}
    (longer / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    sys.exit(main())
