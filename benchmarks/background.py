"""How good the background is: against the clip outside the mask, and against known truth inside it.

    python -m benchmarks.background --templates templates

Needs the templates of the two demonstration clips (``tree_walk``, ``balance``) with ``vid.mp4`` and
``mask.mp4``, and the footage ``sports2d-demo`` in the cache. Writes benchmarks/results/background.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import describe
from mimo import weights
from mimo.video import VideoReader, VideoWriter
from video_decomp.inpainting.__main__ import main as inpainting
from video_decomp.inpainting.interface import mask_distance
from video_decomp.inpainting.quality import psnr
from video_decomp.masked_video import open_masked_video
from video_decomp.registration import estimate_motion
from video_decomp.scene_plate import build_plate, segments, to_canvas, warp

RESULTS = Path(__file__).parent / "results" / "background.md"
# Where the demonstration clip lies in the footage it was cut from.
FIRST_FRAME, COLUMNS, ROWS = 40, slice(200, 1768), slice(450, 994)
CLEARANCE = 14
TRUTH_FRAMES = 6
NOISE = 1.5


def main() -> int:
    """Run every measurement and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True, help="folder with tree_walk and balance")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        lines = ["# Background", "", f"Written by `python -m benchmarks.background`: {describe()}.", ""]
        lines += real_clips(args.templates, work)
        lines += empty_plate(work / "tree_walk")
        lines += known_backgrounds(args.templates / "tree_walk", work)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


def real_clips(templates: Path, work: Path) -> list[str]:
    """The two demonstration clips: the numbers of the stage's own record, time and memory."""
    lines = [
        "## Real clips",
        "",
        "| clip | PSNR outside (dB) | seam (levels) | change per frame filled / around (levels) "
        "| never seen | CPU s a frame | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("tree_walk", "balance"):
        template = work / name
        template.mkdir()
        for file in ("vid.mp4", "mask.mp4"):
            shutil.copy(templates / name / file, template)
        seconds = run_stage(template)
        record = json.loads((template / "records" / "inpainting.json").read_text())["metrics"]
        frames = len(VideoReader(template / "vid.mp4"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        flicker = record["flicker"]
        lines.append(
            f"| {name} | {record['psnr_outside_db']} | {record['seam']} | {flicker['filled']} / "
            f"{flicker['around']} | {record['never_seen']:.1%} | {seconds / frames:.3f} | {peak:.0f} |"
        )
    return [*lines, ""]


def run_stage(template: Path) -> float:
    """Run the inpainting stage on a folder; CPU seconds it took, encoders included."""

    def spent() -> float:
        return sum(
            sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )

    before = spent()
    if inpainting(["--template", str(template)]) != 0:
        raise SystemExit(f"inpainting of {template.name} failed")
    return spent() - before


def empty_plate(template: Path) -> list[str]:
    """PSNR inside the mask against the same places when the person is elsewhere.

    The truth of a pixel is the mean of its values in the nearest frames before and after in which the person
    is clear of it, the two sides weighted by time, since the light changes. Where both sides exist, their own
    difference tells how much the scene itself changes.
    """
    footage = VideoReader(weights.path("sports2d-demo"))
    masks = list(VideoReader(template / "mask.mp4", gray=True))
    window = footage.frames(FIRST_FRAME, FIRST_FRAME + len(masks))
    frames = np.stack([frame[ROWS, COLUMNS] for frame in window])
    clear = np.stack([mask_distance(mask) > CLEARANCE for mask in masks])
    error = seen = change = both_count = 0.0
    for index, filled in enumerate(VideoReader(template / "bk.mp4")):
        if index % 4:
            continue
        inside = masks[index] > 127
        before = _nearest(frames, clear, range(index, -1, -1), inside)
        after = _nearest(frames, clear, range(index, len(frames)), inside)
        truth, known = _between(before, after)
        error += float(((filled[inside].astype(float) - truth)[known] ** 2).sum())
        seen += 3.0 * known.sum()
        both = (before[1] > 0) & (after[1] > 0)
        change += float(((before[0] - after[0])[both] ** 2).sum())
        both_count += 3.0 * both.sum()
    return [
        "## Against the true empty plate (tree_walk)",
        "",
        f"Inside the mask: **{_db(error, seen)} dB** (every fourth frame). Truth: the mean of the nearest "
        f"{TRUTH_FRAMES} frames before and {TRUTH_FRAMES} after in which the person is at least {CLEARANCE} "
        "pixels away from the pixel, the nearer side counting more. The two sides differ from each other by "
        f"{_db(change, both_count)} dB (light, leaves, the clip's own coding): so still is the scene.",
        "",
    ]


def _db(squared_error: float, count: float) -> str:
    value = psnr(squared_error, count)
    return "-" if value is None else f"{value:.1f}"


def _nearest(
    frames: np.ndarray, clear: np.ndarray, order: range, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean colours (N, 3) of a mask's pixels in the first clear frames of an order; their distance (N,)."""
    rows, columns = np.nonzero(inside)
    colours = np.zeros((len(rows), 3))
    distance, used = np.zeros(len(rows)), np.zeros(len(rows), int)
    for steps, index in enumerate(order):
        new = clear[index, rows, columns] & (used < TRUTH_FRAMES)
        colours[new] += frames[index, rows[new], columns[new]]
        distance[new] += steps
        used[new] += 1
    share = np.maximum(used, 1)
    return colours / share[:, None], distance / share


def _between(
    before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of two colours, the nearer in time counting more, and where there is any."""
    near, far = (np.where(part[1] > 0, 1 / np.maximum(part[1], 1), 0)[:, None] for part in (before, after))
    total = near + far
    return (near * before[0] + far * after[0]) / np.maximum(total, 1e-9), total[:, 0] > 0


def known_backgrounds(person: Path, work: Path) -> list[str]:
    """Cut-outs of the walking woman over a still picture seen by cameras that move: the truth is known."""
    lines = [
        "## Known backgrounds",
        "",
        "The woman of tree_walk, cut out and pasted over one real frame that is panned, zoomed or held, with "
        f"camera noise of {NOISE} levels. PSNR against the noise-free background inside the mask, where it "
        "was seen at some time and where never (there it is invented).",
        "",
        "| camera, person | found | seen (dB) | never seen (dB) | never seen | change filled / around |",
        "|---|---|---|---|---|---|",
    ]
    cases: dict[str, tuple[Callable[[float], np.ndarray], Callable[[float], float]]] = {
        "static, walks": (lambda _: _view(500, 480, 1.0), lambda s: 640 - 560 * s),
        "pan, walks": (lambda s: _view(350 + 600 * s, 480, 1.0), lambda s: 560 - 380 * s),
        "hand-held, walks": (_hand_held, lambda s: 600 - 480 * s),
        "zoom in, walks": (lambda s: _view(700, 480, 1.25 - 0.5 * s), lambda s: 600 - 480 * s),
        "static, stays": (lambda _: _view(500, 480, 1.0), lambda s: 330 + 25 * np.sin(9 * s)),
        "pan, stays in view": (lambda s: _view(350 + 500 * s, 480, 1.0), lambda _: 330.0),
    }
    for name, (camera, place) in cases.items():
        template = work / name.replace(" ", "_").replace(",", "")
        truth = make_clip(person, template, camera, place)
        run_stage(template)
        lines.append(f"| {name} | {judge(template, truth)} |")
    return [*lines, ""]


def _view(x: float, y: float, scale: float, angle: float = 0.0) -> np.ndarray:
    """Similarity (2, 3) from pixels of the view to pixels of the picture: centre, scale, angle (degrees)."""
    cosine, sine = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    width, height = 768, 544
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.array([x, y]) - turn @ np.array([width / 2, height / 2])
    return np.hstack([turn, shift[:, None]])


def _hand_held(s: float) -> np.ndarray:
    return _view(
        600 + 25 * np.sin(7 * s) + 4 * np.sin(40 * s), 480 + 14 * np.cos(9 * s), 1.0, 2 * np.sin(5 * s)
    )


def make_clip(
    person: Path, template: Path, camera: Callable[[float], np.ndarray], place: Callable[[float], float]
) -> list[np.ndarray]:
    """Write ``vid.mp4`` and ``mask.mp4`` of a synthetic clip; the backgrounds, (h, w, 3) uint8.

    Args:
        person: template whose person is cut out, frame by frame.
        camera: `_view` at a time 0..1.
        place: column of the person at a time 0..1.
    """
    template.mkdir()
    picture = VideoReader(weights.path("sports2d-demo")).frame(20)
    random = np.random.default_rng(0)
    chosen = range(20, 110)
    cut = zip(
        VideoReader(person / "vid.mp4").frames(chosen.start, chosen.stop),
        VideoReader(person / "mask.mp4", gray=True).frames(chosen.start, chosen.stop),
        strict=True,
    )
    truth = []
    with (
        VideoWriter(template / "vid.mp4", 30) as video,
        VideoWriter(template / "mask.mp4", 30, kind="mask") as masks,
    ):
        for step, (frame, mask) in enumerate(cut):
            time_ = step / (len(chosen) - 1)
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            empty = cv2.warpAffine(
                picture, camera(time_), (768, 544), flags=flags, borderMode=cv2.BORDER_REFLECT
            )
            moved = np.array([[1, 0, place(time_) - np.argwhere(mask > 127)[:, 1].mean()], [0, 1, 0]])
            figure = cv2.warpAffine(frame, moved, (768, 544))
            solid = cv2.warpAffine(mask, moved, (768, 544), flags=cv2.INTER_NEAREST)
            soft = cv2.GaussianBlur(cv2.erode(solid, np.ones((3, 3), np.uint8)), (0, 0), 1)[..., None] / 255
            mixed = empty + soft * (figure.astype(float) - empty) + random.normal(0, NOISE, empty.shape)
            video.write(np.clip(np.round(mixed), 0, 255).astype(np.uint8))
            masks.write(solid)
            truth.append(empty)
    return truth


def judge(template: Path, truth: list[np.ndarray]) -> str:
    """The cells of one row: camera found, PSNR where seen and where not, share never seen, change."""
    record = json.loads((template / "records" / "inpainting.json").read_text())["metrics"]
    masks = list(VideoReader(template / "mask.mp4", gray=True))
    seen = _seen_places(template)
    sums = np.zeros((2, 2))
    for index, filled in enumerate(VideoReader(template / "bk.mp4")):
        inside = masks[index] > 127
        squared = ((filled.astype(float) - truth[index]) ** 2).sum(axis=-1)
        for row, part in enumerate((inside & seen[index], inside & ~seen[index])):
            sums[row] += squared[part].sum(), 3 * part.sum()
    values = [psnr(*row) for row in sums]
    cells = ["-" if value is None else f"{value:.1f}" for value in values]
    change = record["flicker"]
    return (
        f"{record['camera']} | {cells[0]} | {cells[1]} | {record['never_seen']:.1%} | "
        f"{change['filled']} / {change['around']}"
    )


def _seen_places(template: Path) -> list[np.ndarray]:
    """Per frame, where the plate was seen (bool), by running the registration once more."""
    frames, masks = open_masked_video(template)
    motion = estimate_motion(frames, masks)
    result = [np.zeros((frames.info.height, frames.info.width), bool) for _ in range(len(frames))]
    for segment in segments(motion):
        views = (build_plate(frames, masks, motion, segment, 10).views > 0).astype(np.uint8) * 255
        for index in range(segment.start, segment.stop):
            matrix = np.linalg.inv(to_canvas(motion, segment, index))
            result[index] |= warp(views, matrix, motion.size, mask=True) > 127
    return result


if __name__ == "__main__":
    started = time.perf_counter()
    code = main()
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    sys.exit(code)
