"""Motion capture on people in real scenes and a picture: contact sheets, and how feet keep to the ground.

    python -m benchmarks.staged_scenes --templates templates --characters prepared --bvh 01_01.bvh --sheets X

Needs the two demonstration templates (``tree_walk``, ``balance``), the characters ``man`` and ``woman``, and
a BVH file (subject 1 of CMU's motion capture); the other motions are fetched. Writes
benchmarks/results/staging.md and, with ``--sheets``, one PNG for each motion and scene into a folder: time
runs to the right, one row a character.

Feet are measured on ``motion.npz`` of the staged template, on vertices of the soles and without looking at
what the stage detected: a patch stands where it is low and slow for 0.1 s.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import find_objects, label

from benchmarks.machine import describe
from mimo import weights
from mimo.body.motion import Motion
from mimo.synthesis.__main__ import main as synthesise
from mimo.video import VideoReader
from video_decomp.motion.__main__ import main as convert
from video_decomp.motion.placing import Ground
from video_decomp.preview import grid, pick
from video_decomp.records import read_record
from video_decomp.staging.__main__ import main as stage

RESULTS = Path(__file__).parent / "results" / "staging.md"
SCENES = ("tree_walk", "balance")
PICTURE = "lawn"
"""A picture, as a photographer would take it: a frame of tree_walk's background, used as it is."""
BY_HAND = ("--at=[1150, 480]", "--height=400", "--horizon=0.45", "--turn=-80")
CHARACTERS = ("man", "woman")
CLIPS = ("walk", "run", "dance", "jump", "cartwheel")
BVH_PART = ("--start=1.5", "--end=4")
LOW, SLOW, SHORT = 0.015, 0.5, 3
"""Metres, metres a second and frames of a patch that stands."""
CELL_HEIGHT = 360


@dataclass(frozen=True)
class Feet:
    """How feet keep to the ground: metres.

    Attributes:
        slide: mean distance of patches that stand from their mean place.
        hover: mean height of the body's lowest point while a patch stands.
        sunk: how deep the body's lowest point ever is under the ground.
        standing: share of the frames in which a patch stands.
    """

    slide: float
    hover: float
    sunk: float
    standing: float


def main() -> int:
    """Make every sheet and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True, help="folder with tree_walk and balance")
    parser.add_argument("--characters", type=Path, required=True, help="folder with man and woman")
    parser.add_argument("--bvh", type=Path, required=True, help="a BVH file of CMU's")
    parser.add_argument("--sheets", type=Path, help="folder for the contact sheets (default: only the table)")
    parser.add_argument("--columns", type=int, default=6, help="frames of a sheet")
    args = parser.parse_args()
    lines = [
        "# Staged scenes",
        "",
        f"Written by `python -m benchmarks.staged_scenes`: {describe()}.",
        "",
        "| motion | scene | frames | slide (mm) | hover (mm) | sunk (mm) | standing | outside the picture "
        "| in front |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, motion in motions(Path(folder), args.bvh).items():
            for scene, words in scenes(args.templates, Path(folder)).items():
                staged = Path(folder) / f"{name}@{scene}"
                run(stage, "--motion", motion, "-o", staged, *words)
                lines.append(row(name, scene, staged))
                print(lines[-1])
                if args.sheets:
                    sheet(perform(staged, args.characters), args.columns, args.sheets / f"{name}@{scene}.png")
    RESULTS.write_text("\n".join(lines) + "\n")
    return 0


def run(command: object, *words: object) -> None:
    """Run a command line in this process."""
    assert callable(command)
    if command([str(word) for word in words]):
        raise SystemExit(f"{' '.join(map(str, words))}: failed")


def scenes(templates: Path, folder: Path) -> dict[str, tuple[object, ...]]:
    """Words of the command line for each scene, by name."""
    picture = folder / f"{PICTURE}.png"
    Image.fromarray(VideoReader(templates / SCENES[0] / "bk.mp4").frame(0)).save(picture)
    chosen = {name: ("--scene", templates / name) for name in SCENES}
    return chosen | {PICTURE: ("--scene", picture, *BY_HAND)}


def motions(folder: Path, bvh: Path) -> dict[str, Path]:
    """Motion templates of every clip, by name."""
    weights.fetch([f"motion-{name}" for name in CLIPS])
    made = {name: folder / name for name in (*CLIPS, "bvh")}
    for name, template in made.items():
        source = bvh if name == "bvh" else weights.path(f"motion-{name}")
        part = BVH_PART if name == "bvh" else ()
        run(convert, source, "-o", template, "--width=96", "--height=96", *part)
    return made


def row(name: str, scene: str, staged: Path) -> str:
    """The table's row of one staged template."""
    motion = Motion.load(staged / "motion.npz")
    fps = float(VideoReader(staged / "vid.mp4").info.fps)
    found, told = measure(motion, fps), read_record(staged, "staging")["metrics"]
    front = ", ".join(f"{thing['share']:.0%}" for thing in told.get("things_in_front", [])) or "–"
    return (
        f"| {name} | {scene} | {len(motion)} | {found.slide * 1000:.1f} | {found.hover * 1000:.1f} | "
        f"{found.sunk * 1000:.1f} | {found.standing:.0%} | {told['outside_share']:.1%} | {front} |"
    )


def measure(motion: Motion, fps: float) -> Feet:
    """Feet of a motion on the ground of its scene."""
    ground = Ground.of(motion)
    across = np.cross(ground.up, ground.forward)
    axes = np.stack([across, ground.forward, ground.up], 1)
    patches = list(sole_patches(motion))
    places, lowest = [], []
    for frame in range(len(motion)):
        points = motion.vertices(frame) @ axes + [0, 0, ground.height]
        places.append([points[patch].mean(0) for patch in patches])
        lowest.append(points[:, 2].min())
    slides, standing = [np.zeros(0)], np.zeros(len(motion), bool)
    for track in np.array(places).swapaxes(0, 1):
        speed = np.linalg.norm(np.gradient(track, axis=0), axis=1) * fps
        runs, _ = label((track[:, 2] < LOW) & (speed < SLOW))
        for (part,) in find_objects(runs):
            if part.stop - part.start >= SHORT:
                standing[part] = True
                slides.append(np.linalg.norm(track[part, :2] - track[part, :2].mean(0), axis=1))
    heights = np.array(lowest)
    slide = np.concatenate(slides)
    return Feet(
        float(slide.mean()) if len(slide) else 0.0,
        float(np.abs(heights[standing]).mean()) if standing.any() else 0.0,
        float(max(-heights.min(), 0)),
        float(standing.mean()),
    )


def sole_patches(motion: Motion) -> list[np.ndarray]:
    """Vertices under heel and ball of each foot, by the shape at rest alone."""
    topology, rest = motion.body.topology, motion.rest_vertices
    low, patches = rest[:, 2].min(), []
    toes = [
        number for number, name in enumerate(topology.bone_names) if name.startswith("toe") and "-1" in name
    ]
    ball = motion.rest_bones[toes, 1, 3].mean()
    for left in (True, False):
        foot = topology.parts == topology.part_names.index("foot")
        foot &= (topology.mean_vertices[:, 0] > 0) == left
        sole = foot & (rest[:, 2] < low + 0.015)
        patches.append(np.flatnonzero(sole & (rest[:, 1] > rest[foot, 1].max() - 0.06)))
        patches.append(np.flatnonzero(sole & (np.abs(rest[:, 1] - ball) < 0.025)))
    return patches


def perform(staged: Path, characters: Path) -> list[Path]:
    """Results of every character in a staged template."""
    results = [staged / f"{character}.mp4" for character in CHARACTERS]
    for character, result in zip(CHARACTERS, results, strict=True):
        words = ("--template", staged, "--character", characters / character)
        run(synthesise, *words, "--output", result)
    return results


def sheet(results: list[Path], columns: int, path: Path) -> None:
    """Frames of some results over time, one row each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    readers = [VideoReader(result) for result in results]
    numbers = np.unique(np.linspace(0, len(readers[0]) - 1, columns).round().astype(int)).tolist()
    rows = []
    for reader in readers:
        scale = CELL_HEIGHT / reader.info.height
        rows.append(
            [
                cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                for frame in pick(reader, numbers)
            ]
        )
    grid(rows, [result.stem for result in results], [str(number) for number in numbers], path.stem).save(path)


if __name__ == "__main__":
    raise SystemExit(main())
