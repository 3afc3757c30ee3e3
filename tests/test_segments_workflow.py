"""A real clip in three segments through the workflow, against the same clip as a whole.

The tolerances are those of docs/long-videos.md.
"""

import json
import shutil

import numpy as np
import pytest
import yaml
from conftest import copy_checkout

from mimo import weights
from mimo.body.model import KEY_POINTS
from mimo.body.motion import Motion
from mimo.template import Template
from mimo.video import VideoReader
from video_decomp.inpainting.interface import mask_distance
from video_decomp.segments.part import Place

NAME = "wälk 1"
INGEST = {"start": 1.33, "max_seconds": 2.4, "fps": 15, "crop": [200, 450, 1568, 544], "short_side": 300}
CONFIG = {
    # The woman comes from behind a tree and walks across.
    "overrides": {NAME: {"ingest": INGEST}},
    "segments": {"length": 1.0, "overlap": 0.4},
    "pose": {"backend": "anny", "network": "full"},
}
FRAMES = 36
PARTS = 3
OVERLAP = 6
FEET = [KEY_POINTS.index(f"{side}_heel") for side in ("left", "right")]
STAGES = ("segmentation", "pose", "occlusion", "inpainting")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = copy_checkout(tmp_path_factory.mktemp("long") / "checkout")
    weights.fetch([*weights.select([]), "sports2d-demo"])
    for name in ("videos", "characters"):
        (checkout.folder / name).mkdir()
    shutil.copy(weights.path("sports2d-demo"), checkout.folder / "videos" / f"{NAME}.mp4")
    (checkout.folder / "long.yaml").write_text(yaml.safe_dump(CONFIG, allow_unicode=True))
    return checkout


def decompose(checkout, *options):
    return checkout.snakemake("--configfile=long.yaml", *options)


@pytest.fixture(scope="module")
def interrupted(checkout):
    """The first run, in which the file of one segment is damaged."""
    ingest = decompose(checkout, "--until", "ingest", "--", "templates")
    assert ingest.returncode == 0, ingest.stdout + ingest.stderr
    damaged = checkout.folder / "templates" / NAME / "segments" / "001"
    damaged.mkdir(parents=True)
    (damaged / "vid.mp4").write_bytes(b"no video")
    Place(1, PARTS, 9, 27, FRAMES, OVERLAP).write(damaged)
    first = decompose(checkout, "templates")
    status = checkout.run("video_decomp.status", "--configfile", "long.yaml")
    masked = {
        index: (checkout.folder / "templates" / NAME / "segments" / index / "mask.mp4").stat().st_mtime_ns
        for index in ("000", "002")
    }
    shutil.rmtree(damaged)
    return first, status, masked


@pytest.fixture(scope="module")
def divided(checkout, interrupted):
    """The template made of segments."""
    run = decompose(checkout, "templates")
    assert run.returncode == 0, run.stdout + run.stderr
    return checkout.folder / "templates" / NAME


@pytest.fixture(scope="module")
def whole(checkout, divided, tmp_path_factory):
    """The same clip, decomposed as a whole by the stages' command lines, as the workflow's jobs call them."""
    template = tmp_path_factory.mktemp("whole")
    shutil.copy(divided / "vid.mp4", template)
    for stage in ("segmentation", "pose", "occlusion", "inpainting"):
        network = " --network=full" if stage == "pose" else ""
        command = f"OPENBLAS_NUM_THREADS=1 python -m video_decomp.{stage} --template={template}{network}"
        made = checkout.shell(command)
        assert made.returncode == 0, made.stdout
    return template


def frames_of(template, name):
    return VideoReader(template / name, gray=name in ("mask.mp4", "occ.mp4"))


def joints(motion):
    return np.stack([motion.body.key_points(motion.vertices(index)) for index in range(len(motion))])


def seams(template):
    found = json.loads((template / "records" / "pose.json").read_text())["segments"]["seams"]
    inside = np.zeros(FRAMES, bool)
    for start, stop in found:
        inside[start - 1 : stop + 1] = True
    assert 0 < inside.sum() < FRAMES
    return inside


def psnr(first, second):
    return float(10 * np.log10(255**2 / max(np.mean((first.astype(float) - second) ** 2), 1e-9)))


def test_a_failing_segment_is_named_and_the_others_go_on(interrupted):
    first, status, masked = interrupted
    assert first.returncode == 1
    assert len(masked) == 2
    row = next(line for line in status.stdout.splitlines() if line.startswith("video")).split("  ")
    assert [text.strip() for text in row if text][2:4] == ["failed", "segmentation"]
    assert "segment 001: REJECTED" in row[-1]


def test_finished_segments_are_not_done_again(interrupted, divided):
    for index, time in interrupted[2].items():
        assert (divided / "segments" / index / "mask.mp4").stat().st_mtime_ns == time


def test_the_template_is_whole(divided):
    template = Template.load(divided)
    assert len(template.frame_numbers) == FRAMES
    assert template.has_occluder
    for stage in STAGES:
        record = json.loads((divided / "records" / f"{stage}.json").read_text())
        assert record["metrics"].get("frames", FRAMES) == FRAMES


def test_nothing_is_left_to_do_even_without_the_segments(checkout, divided):
    planned = ["--configfile=long.yaml", "templates"]
    assert checkout.planned(*planned) == {}
    kept = divided.parent.parent / "kept"
    shutil.move(divided / "segments", kept)
    try:
        assert checkout.planned(*planned) == {}
    finally:
        shutil.move(kept, divided / "segments")


def test_masks_are_those_of_the_whole_clip(divided, whole):
    overlaps = []
    for ours, theirs in zip(frames_of(divided, "mask.mp4"), frames_of(whole, "mask.mp4"), strict=True):
        overlaps.append(((ours > 127) & (theirs > 127)).sum() / ((ours > 127) | (theirs > 127)).sum())
    assert np.min(overlaps) == 1


def test_the_motion_is_that_of_the_whole_clip(divided, whole):
    ours, theirs = Motion.load(divided / "motion.npz"), Motion.load(whole / "motion.npz")
    assert np.abs(ours.rest_vertices - theirs.rest_vertices).max() < 1e-3
    here, there = joints(ours), joints(theirs)
    distance = 1000 * np.linalg.norm(here - there, axis=2)
    assert distance.mean() <= 15
    assert np.percentile(distance, 95) <= 40
    inside = seams(divided)[1:-1]
    bends = [np.linalg.norm(np.diff(points, 2, axis=0), axis=2).max(1) for points in (here, there)]
    assert bends[0][inside].max() <= 1.1 * bends[1].max()
    assert bends[0][inside].mean() <= 1.1 * bends[1][inside].mean()
    feet = there[:, FEET].reshape(-1, 3)
    heights = [feet @ plane[:3] - plane[3] for plane in (ours.ground, theirs.ground)]
    assert np.abs(heights[0] - heights[1]).mean() < 0.03


def test_the_background_is_that_of_the_whole_clip(divided, whole):
    inside = []
    triples = zip(
        *(frames_of(t, n) for t, n in ((divided, "bk.mp4"), (whole, "bk.mp4"), (whole, "mask.mp4"))),
        strict=True,
    )
    for ours, theirs, mask in triples:
        near = mask_distance(mask) < 15
        inside.append(psnr(ours[near], theirs[near]))
        assert psnr(ours, theirs) >= 40
    passing = seams(divided)
    inside = np.array(inside)
    assert inside.min() >= 38
    assert inside[passing].mean() >= inside[~passing].mean() - 2


def test_what_passes_in_front_is_that_of_the_whole_clip(divided, whole):
    for ours, theirs in zip(frames_of(divided, "occ.mp4"), frames_of(whole, "occ.mp4"), strict=True):
        either = (ours > 127) | (theirs > 127)
        assert ((ours > 127) & (theirs > 127)).sum() >= 0.98 * either.sum()
