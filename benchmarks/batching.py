"""Is it worth it that videos share a process? Short clips one by one, and through a worker; start-up.

    python -m benchmarks.batching                     on this computer's CPU: small networks
    python -m benchmarks.batching --full --alone 1    on a GPU: random networks of the published size

Prints a table as it comes, and adds it to ``benchmarks/results/batching.md`` with ``--write``. Every clip is
made by its stage's command line, as the workflow does it: without a run that could be served, and as part of
one. What they make must be equal, byte by byte.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import Sam2VideoConfig, Sam2VisionConfig
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoPromptEncoderConfig

from benchmarks.machine import describe
from benchmarks.perception_pose import body_like_smpl, random_state
from benchmarks.perception_segmentation import large_config
from mimo.demo import TREE_WALK_INGEST, set_up
from mimo.lifetime import RUN
from mimo.video import VideoReader, VideoWriter
from video_decomp.sam2.network import VideoNetwork

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "batching.md"
SIZE = (1280, 720)
MADE = {"segmentation": "mask.mp4", "pose": "motion.npz"}
# Makes one clip twice in one process; prints the processor seconds of each, start-up in the first.
TWICE = """
import importlib, sys, time
main = importlib.import_module(sys.argv[1]).main
for _ in range(2):
    before = time.process_time() if _ else 0
    assert main(sys.argv[2:]) == 0
    print(time.process_time() - before)
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of one clip: by the clock, and of processors, worker included."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} ({self.processor:.1f})"


def write_clip(template: Path, frames: int, shift: int) -> None:
    """A video of drifting noise, and a mask that walks through it."""
    width, height = SIZE
    rng = np.random.default_rng(shift)
    noise = np.kron(
        rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
    )
    with (
        VideoWriter(template / "vid.mp4", 30) as video,
        VideoWriter(template / "mask.mp4", 30, kind="mask") as masks,
    ):
        for number in range(frames):
            video.write(np.roll(noise, 3 * number, axis=1))
            mask = np.zeros((height, width), np.uint8)
            left = width // 3 + 5 * number
            mask[height // 8 : -height // 8, left : left + height // 4] = 255
            masks.write(mask)


def small_config() -> Sam2VideoConfig:
    """A SAM 2.1 that sees 128 pixels a side."""
    side, cells = 128, 8
    vision = Sam2VisionConfig(
        backbone_config=Sam2HieraDetConfig(
            hidden_size=8,
            image_size=[side, side],
            blocks_per_stage=[1, 1, 2, 1],
            embed_dim_per_stage=[8, 16, 32, 64],
            num_attention_heads_per_stage=[1, 1, 2, 4],
            window_size_per_stage=[8, 4, 4, 2],
            global_attention_blocks=[3],
        ),
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[4 * cells] * 2, [2 * cells] * 2, [cells] * 2],
    )
    return Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(image_size=side),
        image_size=side,
        memory_attention_rope_feat_sizes=[cells, cells],
    )


def write_networks(folder: Path, full: bool) -> None:
    """SAM 2.1 and HMR2 with random weights, in files, and a body."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    with torch.device(device):
        network = VideoNetwork(large_config() if full else small_config())
    with torch.no_grad():
        # The thing is always there.
        network.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(4.0)
    network.cpu().save_pretrained(folder / "sam2")
    torch.save({"state_dict": random_state(device, full)}, folder / "hmr2.ckpt")
    body = body_like_smpl()
    parents = body.parents.astype(np.int64)
    np.savez(
        folder / "body.npz",
        v_template=body.template,
        shapedirs=body.shape_basis,
        posedirs=body.pose_basis,
        J_regressor=body.joint_regressor,
        weights=body.weights,
        kintree_table=np.stack([parents, np.arange(len(parents))]),
        f=body.faces,
    )


def command(stage: str, template: Path, networks: Path) -> list[str]:
    """A stage's command line with these networks."""
    left, top = SIZE[0] // 3, SIZE[1] // 8
    box = [left, top, left + SIZE[1] // 4, SIZE[1] - top]
    settings = {
        "segmentation": {
            "weights": str(networks / "sam2"),
            "detect": False,
            "subject": box,
            "min_area": 0,
        },
        "pose": {
            "checkpoint": str(networks / "hmr2.ckpt"),
            "body": str(networks / "body.npz"),
            "colours": "canonical",
        },
    }[stage]
    backend = {"segmentation": "sam2", "pose": "hmr2"}[stage]
    words = [f"--template={template}", f"--backend={backend}", f"--settings={json.dumps(settings)}"]
    return [sys.executable, "-m", f"video_decomp.{stage}", *words]


def made(words: list[str], run: int | None) -> Cost:
    """Make a clip, as part of a run or by itself."""
    environment = {key: value for key, value in os.environ.items() if key != RUN}
    if run is not None:
        environment[RUN] = str(run)
    before = os.times()
    result = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    after = os.times()
    if result.returncode:
        raise RuntimeError(result.stderr)
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    processor += sum(map(float, re.findall(r"the worker took ([\d.]+) CPU s", result.stderr)))
    return Cost(after.elapsed - before.elapsed, processor)


def compare(
    stage: str, folder: Path, clips: int, frames: int, alone: int, say: Callable[[str], None]
) -> None:
    """Make clips each in a process of its own, the first `alone` of them; then all through a worker."""
    templates = [folder / f"{stage} {number}" for number in range(clips)]
    for number, template in enumerate(templates):
        write_clip(template, frames, number)
    costs, results = [], []
    for template in templates[:alone]:
        costs.append(made(command(stage, template, folder), None))
        results.append((template / MADE[stage]).read_bytes())
    for number, template in enumerate(templates):
        cost = made(command(stage, template, folder), os.getpid())
        cells = [stage, str(number + 1), str(costs[number]) if number < alone else "", str(cost)]
        same = number < alone and (template / MADE[stage]).read_bytes() == results[number]
        cells.append("" if number >= alone else "equal" if same else "DIFFERENT")
        say(f"| {' | '.join(cells)} |")


def start_up(folder: Path, say: Callable[[str], None]) -> None:
    """What a worker would save an embedded stage: a clip made twice in one process."""
    set_up(folder)
    template, source = folder / "templates" / "clip", folder / "videos" / "tree walk.mp4"
    values = TREE_WALK_INGEST | {"max_seconds": 0.4, "short_side": 360}
    place = [f"--template={template}"]
    words = {
        "ingest": [str(source), *place, f"--settings={json.dumps(values)}"],
        "segmentation": place,
        "pose": place,
        "occlusion": place,
        "inpainting": place,
        "character": [str(folder / "characters" / "man.png"), f"--character={folder / 'man'}"],
        "pack": [*place, "--name=clip"],
        "synthesis": [*place, f"--character={folder / 'man'}", f"--output={folder / 'a.mp4'}"],
    }
    for stage, options in words.items():
        module = "mimo.synthesis" if stage == "synthesis" else f"video_decomp.{stage}"
        module += "" if stage == "pack" else ".__main__"
        result = subprocess.run(
            [sys.executable, "-c", TWICE, module, *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        first, second = map(float, result.stdout.split())
        say(f"| {stage} | {first:.1f} | {second:.1f} | {first - second:.1f} |")
    say(f"({len(VideoReader(template / 'vid.mp4'))} frames)")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="networks of the published size")
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--alone", type=int, help="clips to make alone, too (default: all)")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--sections", nargs="+", default=["segmentation", "pose", "start-up"])
    parser.add_argument("--write", action="store_true", help=f"add the table to {RESULT.name}")
    args = parser.parse_args()
    alone = args.clips if args.alone is None else args.alone
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    size = "networks of published size" if args.full else "small networks"
    started = time.perf_counter()
    say(f"\n{gpu}; {describe()}; {size}, {args.frames} frames at {SIZE[0]}x{SIZE[1]}.\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        os.environ.setdefault("MIMO_CACHE", str(folder / "cache"))
        stages = [section for section in args.sections if section in MADE]
        if stages:
            write_networks(folder, args.full)
            say("| stage | clip | alone: s (processor s) | through a worker | results |")
            say("|---|---|---|---|---|")
        for stage in stages:
            compare(stage, folder, args.clips, args.frames, alone, say)
        if "start-up" in args.sections:
            say("\n| stage, embedded | first, processor s | again in the same process | saved |")
            say("|---|---|---|---|")
            start_up(folder, say)
    say(f"\n{time.perf_counter() - started:.0f} s in all.")
    if args.write:
        with RESULT.open("a") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
