"""What one job of every embedded stage takes, by frames and pixels; fits rows of `mimo/run/resources.yaml`.

    python -m benchmarks.stage_costs

Writes ``benchmarks/results/stage_costs.md`` with the measurements, the fitted rows as YAML, and by how much
they miss. Processor seconds, so that it may run beside other work; about 5 minutes of them. Clips: a still
camera in two lengths, a moving scene in two sizes. Memory is that of all processes of a job together, looked
at 50 times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from scipy.optimize import linprog

from benchmarks.machine import describe
from benchmarks.pipeline import loop
from mimo.demo import TREE_WALK_INGEST, set_up
from mimo.run.resources import Clip, clip_of_source, clip_of_template
from video_decomp.ingest.__main__ import Settings

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "stage_costs.md"
CHARACTER = "man"
DEFAULTS = {
    "ingest": "-",
    "segmentation": "mediapipe",
    "pose": "anny",
    "occlusion": "geometry",
    "inpainting": "plate",
    "template": "-",
    "character": "mediapipe",
    "synthesis": "puppet",
}
CLIPS: list[tuple[str, dict[str, Any]]] = [
    ("balance", {"short_side": 720}),
    ("longer", {"short_side": 720}),
    ("tree walk", {"short_side": 720, **TREE_WALK_INGEST}),
    ("tree walk", {"short_side": 272, **TREE_WALK_INGEST}),
]
SECONDS, MEMORY = ("job", "frame", "frame_megapixel"), ("job", "megapixel")
"""Terms of the rows; that memory does not grow with the clip stands in ``benchmarks/results/pipeline.md``."""


@dataclass(frozen=True)
class Cost:
    """What one job took: processor seconds, wall seconds, peak resident megabytes of all its processes."""

    processor: float
    wall: float
    memory: float


def measured(command: list[str]) -> Cost:
    """Run a stage's command line.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    before = os.times()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        peak, ended = [0.0], threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, ended))
        watcher.start()
        code = process.wait()
        ended.set()
        watcher.join()
        if code:
            errors.seek(0)
            raise subprocess.CalledProcessError(code, command, stderr=errors.read().decode())
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(processor, after.elapsed - before.elapsed, peak[0])


def _watch(process: int, peak: list[float], ended: threading.Event) -> None:
    """Keep the highest resident memory of a process and its children, MB."""
    while not ended.wait(0.02):
        total = 0
        try:
            parent = psutil.Process(process)
            for one in (parent, *parent.children(recursive=True)):
                total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        peak[0] = max(peak[0], total / 1e6)


def stage(name: str, *words: str | Path) -> list[str]:
    """A stage's command line."""
    module = {"template": "video_decomp.pack", "synthesis": "mimo.synthesis"}.get(
        name, f"video_decomp.{name}"
    )
    return [sys.executable, "-m", module, *map(str, words)]


def measure_clip(folder: Path, source: Path, settings: dict[str, Any]) -> dict[str, tuple[Clip, Cost]]:
    """Cost of every stage for one clip, and the clip as the stage sees it.

    Args:
        folder: with the prepared character.
        source: driving video.
        settings: of ingest.
    """
    template = folder / "templates" / f"{source.stem} {settings['short_side']}"
    place = f"--template={template}"
    cost = measured(stage("ingest", source, place, f"--settings={json.dumps(settings)}"))
    clip = clip_of_template(template)
    costs = {"ingest": (clip_of_source(source, Settings(**settings)), cost)}
    for name in ("segmentation", "pose", "occlusion", "inpainting"):
        costs[name] = (clip, measured(stage(name, place)))
    costs["template"] = (clip, measured(stage("template", place, f"--name={template.name}")))
    words = (place, f"--character={folder / CHARACTER}", f"--output={folder / 'result.mp4'}")
    costs["synthesis"] = (clip, measured(stage("synthesis", *words)))
    return costs


def fitted(points: list[tuple[Clip, float]], terms: tuple[str, ...]) -> dict[str, float]:
    """Factors, none negative, that no clip exceeds, with the least relative excess."""
    columns = {
        "job": lambda clip: 1.0,
        "frame": lambda clip: clip.frames,
        "megapixel": lambda clip: clip.megapixels,
        "frame_megapixel": lambda clip: clip.frames * clip.megapixels,
    }
    values = np.array([value for _, value in points])
    matrix = np.array([[columns[term](clip) for term in terms] for clip, _ in points])
    shares = matrix / values[:, None]
    factors = linprog(shares.sum(0), A_ub=-shares, b_ub=-np.ones(len(values))).x
    return {
        term: float(f"{factor:.2g}") for term, factor in zip(terms, factors, strict=True) if factor > 1e-6
    }


def predicted(row: dict[str, float], clip: Clip) -> float:
    """What a row says of a clip."""
    pixels = clip.megapixels
    products = {"job": 1, "frame": clip.frames, "megapixel": pixels, "frame_megapixel": clip.frames * pixels}
    return sum(factor * products[term] for term, factor in row.items())


def report(costs: dict[str, list[tuple[Clip, Cost]]]) -> str:
    """The results as Markdown."""
    lines = [
        "| stage | clip | processor s | fitted | wall s | peak MB | fitted |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = {}
    for name, found in costs.items():
        if name == "character":
            [(_, cost)] = found
            rows[name] = {
                DEFAULTS[name]: {
                    "seconds": {"job": round(cost.processor, 1)},
                    "mem_mb": {"job": round(cost.memory)},
                }
            }
        else:
            terms = SECONDS if name != "ingest" else ("job", "frame_megapixel")
            seconds = fitted([(clip, cost.processor) for clip, cost in found], terms)
            memory = fitted([(clip, cost.memory) for clip, cost in found], MEMORY)
            rows[name] = {DEFAULTS[name]: {"seconds": seconds, "mem_mb": memory}}
        [row] = rows[name].values()
        for clip, cost in found:
            cells = [name, f"{clip.width}x{clip.height}, {clip.frames}", f"{cost.processor:.1f}"]
            cells += [f"{predicted(row['seconds'], clip):.1f}", f"{cost.wall:.1f}", f"{cost.memory:.0f}"]
            lines.append(f"| {' | '.join(cells)} | {predicted(row['mem_mb'], clip):.0f} |")
    text = yaml.safe_dump(rows, sort_keys=False)
    return "\n".join([*lines, "", "```yaml", f"{text}```"]) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    costs: dict[str, list[tuple[Clip, Cost]]] = {name: [] for name in DEFAULTS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        set_up(folder)
        videos = folder / "videos"
        loop(videos / "balance.mp4", videos / "longer.mp4", 3)
        picture = folder / "characters" / f"{CHARACTER}.png"
        cost = measured(stage("character", picture, f"--character={folder / CHARACTER}"))
        costs["character"].append((Clip(1, 0, 0), cost))
        for name, settings in CLIPS:
            for which, result in measure_clip(folder, videos / f"{name}.mp4", settings).items():
                costs[which].append(result)
                print(name, which, result, flush=True)
    lines = [
        "# What one job takes",
        "",
        f"Made by `python -m benchmarks.stage_costs`: {describe()}, no GPU, embedded backends.",
        "Processor and wall seconds with start-up, peak resident memory of all processes of a job; beside",
        "them what the fitted rows say, before margins (`mimo/run/resources.yaml`): no clip took",
        "more. The character is one picture.",
        "",
    ]
    RESULT.write_text("\n".join(lines) + report(costs))
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
