"""How well corrections by hand are carried: masks are damaged over many frames, and corrected on one.

    python -m benchmarks.corrections --templates templates

Needs ``vid.mp4`` and ``mask.mp4`` of the two demonstration templates (``tree_walk``, ``balance``). What was
damaged is painted with a brush that goes over its edges, or clicked on once. Writes
benchmarks/results/corrections.md, and with ``--sheets FOLDER`` pictures to look at.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import describe
from mimo import corrections
from mimo.corrections import NOT_PERSON, PERSON, UNTOUCHED, Click
from mimo.video import VideoReader
from video_decomp.segmentation.correcting import corrected, corrections_of
from video_decomp.segmentation.interface import FrameMask, Segmentation, SubjectSettings

RESULTS = Path(__file__).parent / "results" / "corrections.md"
BRUSH = 9  # pixels that a brush goes over the edge, on the mean


@dataclass(frozen=True)
class Damage:
    """What is wrong with a clip's masks.

    Attributes:
        clip: name of the template.
        frames: the damaged ones.
        corrected: the one that is corrected.
        make: gives the wrong mask for a right one.
        what: for the table.
    """

    clip: str
    frames: range
    corrected: int
    make: Callable[[np.ndarray], np.ndarray]
    what: str


def without_arm(mask: np.ndarray) -> np.ndarray:
    """The raised arm on the left is missing."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (75, 75))
    body = cv2.dilate(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc), np.ones((9, 9)))
    thin = ((mask > 0) & (body == 0)).astype(np.uint8)
    thin[480:] = 0
    thin[:, 420:] = 0
    _, parts, stats, _ = cv2.connectedComponentsWithStats(thin)
    return np.where(parts == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]), 0, mask)


def without_shanks(mask: np.ndarray) -> np.ndarray:
    """Both legs are missing below the knee."""
    rows = np.flatnonzero(mask.any(axis=1))
    wrong = mask.copy()
    wrong[rows[0] + int(0.72 * (rows[-1] - rows[0])) :] = 0
    return wrong


def with_trunk(mask: np.ndarray) -> np.ndarray:
    """A part of the tree in front counts as the person."""
    wrong = mask.copy()
    wrong[60:500, 1360:1450] = 255
    return wrong


DAMAGES = (
    Damage("balance", range(15, 36), 25, without_arm, "raised arm missing"),
    Damage("tree_walk", range(60, 91), 75, without_shanks, "lower legs missing, walking"),
    Damage("tree_walk", range(5, 31), 16, with_trunk, "trunk of a tree taken in"),
)


def main() -> int:
    """Try every damage with a brush and with clicks, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True, help="folder with tree_walk and balance")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    args = parser.parse_args()
    lines = [
        "# Corrections by hand",
        "",
        "Written by `python -m benchmarks.corrections`. IoU with the undamaged masks: mean over the damaged",
        "frames but the corrected one, and over the frames that were not damaged.",
        "",
        f"Machine: {describe()}.",
        "",
        "| damage | frames | corrected by | IoU before | after | undamaged after | reached | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for damage in DAMAGES:
        for way in ("brush", "clicks"):
            lines.append(try_out(damage, way, args.templates / damage.clip, args.sheets))
            print(lines[-1])
    RESULTS.write_text("\n".join(lines) + "\n")
    return 0


def try_out(damage: Damage, way: str, template: Path, sheets: Path | None) -> str:
    """Damage the masks, correct one frame, and compare: a row of the table."""
    video = VideoReader(template / "vid.mp4")
    truth = [np.where(mask > 127, 255, 0).astype(np.uint8) for mask in masks_of(template)]
    wrong = [damage.make(mask) if i in damage.frames else mask for i, mask in enumerate(truth)]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clicks = correct(damage, way, truth[damage.corrected], wrong[damage.corrected], folder)
        found = (FrameMask(image, mask, 1.0) for image, mask in zip(video, wrong, strict=True))
        result = corrected(
            Segmentation(found, {}, []), video, corrections_of(folder, template, video), SubjectSettings()
        )
        made = [frame.mask for frame in result.masks]
    seconds = time.perf_counter() - started
    inside = [i for i in damage.frames if i != damage.corrected]
    outside = [i for i in range(len(truth)) if i not in damage.frames]
    if sheets is not None:
        write_sheet(sheets / f"{damage.clip}_{damage.make.__name__}_{way}.png", video, made, damage)
    told = result.corrections[0]
    cells = [
        f"{damage.clip}: {damage.what}",
        f"{damage.frames[0]}-{damage.frames[-1]}",
        f"{way} ({clicks})" if clicks else way,
        *(f"{likeness(masks, truth, frames):.3f}" for masks, frames in ((wrong, inside), (made, inside))),
        f"{likeness(made, truth, outside):.4f}",
        f"{told['first_frame']}-{told['last_frame']}",
        f"{seconds:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def masks_of(template: Path) -> VideoReader:
    """The template's masks."""
    return VideoReader(template / "mask.mp4", gray=True)


def correct(damage: Damage, way: str, truth: np.ndarray, wrong: np.ndarray, folder: Path) -> int:
    """Write the correction of the frame; gives the number of clicks."""
    differs = (truth != wrong).astype(np.uint8)
    if way == "brush":
        noise = np.random.default_rng(0).normal(size=truth.shape).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), 8)
        over_edge = BRUSH * (1 + 0.3 * noise / noise.std())
        stroke = cv2.distanceTransform(1 - differs, cv2.DIST_L2, 5) < over_edge
        labels = np.full(truth.shape, UNTOUCHED, np.uint8)
        labels[stroke] = PERSON if truth[differs > 0].any() else NOT_PERSON
        corrections.paint(folder, damage.corrected, labels)
        return 0
    count, _, stats, _ = cv2.connectedComponentsWithStats(differs)
    large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 200]
    _, parts = cv2.connectedComponents(differs)
    for part in large:
        depth = cv2.distanceTransform((parts == part).astype(np.uint8), cv2.DIST_L2, 5)
        row, column = np.unravel_index(np.argmax(depth), depth.shape)
        person = bool(truth[row, column])
        click = Click(frame=damage.corrected, x=column + 0.5, y=row + 0.5, person=person)
        corrections.add_click(folder, click)
    return len(large)


def likeness(masks: list[np.ndarray], truth: list[np.ndarray], frames: list[int]) -> float:
    """Mean IoU over some frames."""
    pairs = [(masks[i] > 127, truth[i] > 127) for i in frames]
    return float(np.mean([(a & b).sum() / max((a | b).sum(), 1) for a, b in pairs]))


def write_sheet(path: Path, video: VideoReader, masks: list[np.ndarray], damage: Damage) -> None:
    """Twelve frames from before the damage to after it, the mask in green."""
    union = np.max([masks[i] for i in damage.frames], axis=0)
    left, top, width, height = cv2.boundingRect(union)
    tiles = []
    for i in np.linspace(max(0, damage.frames[0] - 3), min(len(masks) - 1, damage.frames[-1] + 3), 12):
        image = video.frame(int(i))
        image[masks[int(i)] > 127] = image[masks[int(i)] > 127] // 2 + np.array([0, 127, 0], np.uint8)
        part = image[top : top + height, left : left + width]
        tiles.append(cv2.resize(part, (round(300 * width / height), 300), interpolation=cv2.INTER_AREA))
    rows = [np.hstack(tiles[start : start + 6]) for start in (0, 6)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    raise SystemExit(main())
