"""The segmentation command on excerpts of the two real clips, against outlines drawn by hand.

The outlines (tests/data/segmentation) were traced on frames of the normalised clips with the help of a
background plate and corrected by eye; `unsure` marks places where the true edge cannot be told.
"""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimo import weights
from mimo.video import VideoReader, VideoWriter
from video_decomp.segmentation.measures import MaskMeasures

TRUTH = Path(__file__).parent / "data" / "segmentation"


@pytest.fixture(scope="module", autouse=True)
def footage():
    weights.fetch(weights.select(["segmentation/mediapipe", "sports2d-demo", "pose2sim-cam02"]))


def excerpt(folder, name, frames, crop=None, size=None, step=1):
    """Write a template's vid.mp4: frames start to stop, cropped (x, y, right, bottom), resized."""
    folder.mkdir(parents=True, exist_ok=True)
    with VideoWriter(folder / "vid.mp4", 30) as writer:
        for number, image in enumerate(VideoReader(weights.path(name)).frames(*frames)):
            if number % step == 0:
                left, top, right, bottom = crop or (0, 0, image.shape[1], image.shape[0])
                image = image[top:bottom, left:right]
                writer.write(cv2.resize(image, size, interpolation=cv2.INTER_AREA) if size else image)
    return folder


def segment(template, *options):
    return subprocess.run(
        [sys.executable, "-m", "video_decomp.segmentation", "--template", str(template), *options],
        capture_output=True,
        text=True,
    )


def masks(template):
    return list(VideoReader(template / "mask.mp4", gray=True))


def record(template):
    return json.loads((template / "records" / "segmentation.json").read_text())


def against_truth(mask, name, left=0):
    """IoU of a mask with the outline of `name`, whose frame was cropped at `left`."""
    truth = json.loads((TRUTH / f"{name}.json").read_text())
    shape = (truth["height"], truth["width"])
    person, unsure = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    cv2.fillPoly(person, [np.array(outline, np.int32) for outline in truth["person"]], 1)
    for hole in truth["holes"]:
        cv2.fillPoly(person, [np.array(hole, np.int32)], 0)
    for area in truth["unsure"]:
        cv2.fillPoly(unsure, [np.array(area, np.int32)], 1)
    care = unsure[:, left:] == 0
    person, mask = (person[:, left:] > 0) & care, (mask > 127) & care
    return (person & mask).sum() / (person | mask).sum()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The first 24 frames of the demo clip's right half: a woman comes from behind a trunk."""
    left = 900
    template = excerpt(
        tmp_path_factory.mktemp("tree"), "sports2d-demo", (40, 64), (200 + left, 450, 1768, 994)
    )
    result = segment(template)
    assert result.returncode == 0, result.stderr
    return template, left


def test_woman_behind_a_trunk_is_found_at_once(tree):
    template, left = tree
    found = masks(template)
    assert len(found) == len(VideoReader(template / "vid.mp4")) == 24
    assert all(np.isin(mask, (0, 255)).all() and mask.any() for mask in found)
    assert against_truth(found[3], "tree_walk_003", left) > 0.9
    trunk = slice(1400 - left, 1560 - left)  # in front of her; she comes out on its left
    assert not any(mask[100:540, trunk].any() for mask in found[:6])


def test_record_says_who_and_how_well(tree):
    template, _ = tree
    said = record(template)
    assert (said["first_frame"], said["last_frame"], said["missing_frames"]) == (0, 23, [])
    assert said["metrics"]["frames_found"] == 24
    assert said["metrics"]["median_score"] > 0.9
    assert said["metrics"]["area_jumps"] == 0
    assert set(said["weights"]) <= set(weights.registry().files)
    assert said["warnings"] == []


@pytest.fixture(scope="module")
def balance(tmp_path_factory):
    template = excerpt(
        tmp_path_factory.mktemp("balance"), "pose2sim-cam02", (0, 22), size=(720, 1280), step=2
    )
    result = segment(template)
    assert result.returncode == 0, result.stderr
    return template


def test_man_is_masked_and_the_woman_behind_him_is_not(balance):
    found = masks(balance)
    assert against_truth(found[5], "balance_005") > 0.95
    assert not any(mask[300:600, 520:600].any() for mask in found)


def test_same_input_gives_the_same_mask(balance, tmp_path):
    shorter = excerpt(tmp_path / "a", "pose2sim-cam02", (0, 6), size=(360, 640), step=2)
    assert segment(shorter).returncode == 0
    first = (shorter / "mask.mp4").read_bytes()
    assert segment(shorter).returncode == 0
    assert (shorter / "mask.mp4").read_bytes() == first


def test_subject_can_be_pointed_at(tmp_path):
    template = excerpt(tmp_path, "pose2sim-cam02", (0, 4), size=(720, 1280))
    assert segment(template, "--subject", "[540, 420]", "--min-area", "0.01").returncode == 0
    woman = np.argwhere(masks(template)[2])[:, 1].mean()
    assert 500 < woman < 580
    result = segment(template, "--subject", "[20, 20]")
    assert result.returncode == 3
    assert "no person found at subject (20.0, 20.0); people seen" in result.stderr


def test_person_who_enters_late_is_no_fault(tmp_path):
    template = excerpt(tmp_path, "sports2d-demo", (84, 116), (200, 450, 1100, 994))
    assert segment(template).returncode == 0
    found = [bool(mask.any()) for mask in masks(template)]
    said = record(template)
    assert said["first_frame"] == found.index(True)
    assert 5 <= said["first_frame"] <= 12
    assert all(found[said["first_frame"] :])
    assert said["missing_frames"] == list(range(said["first_frame"]))
    assert "not found in" in said["warnings"][0]


def test_person_who_leaves_and_comes_back_is_the_same(tmp_path):
    footage = VideoReader(weights.path("sports2d-demo"))
    with VideoWriter(tmp_path / "vid.mp4", 10) as writer:
        for start, stop in ((100, 106), (40, 46), (112, 118)):
            for image in footage.frames(start, stop):
                writer.write(np.ascontiguousarray(image[450:994, 500:1300]))
    assert segment(tmp_path).returncode == 0
    assert record(tmp_path)["missing_frames"] == list(range(6, 12))


@pytest.mark.parametrize(
    ("crop", "options", "reason"),
    [
        ((200, 450, 800, 994), [], "no person found"),
        ((1250, 500, 1768, 740), [], "no full body"),
        ((1100, 450, 1768, 994), ["--min-area", "0.6"], "person too small"),
    ],
)
def test_unusable_clip_is_rejected_with_its_reason(tmp_path, crop, options, reason):
    template = excerpt(tmp_path, "sports2d-demo", (50, 54), crop)
    result = segment(template, *options)
    assert result.returncode == 3, result.stderr
    assert f"REJECTED: {reason}" in result.stderr
    assert not (template / "mask.mp4").exists()


def test_measures_tell_a_steady_mask_from_a_flickering_one():
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (240, 400, 3), dtype=np.uint8), (0, 0), 2)
    steady, flickering = MaskMeasures(), MaskMeasures()
    for number in range(8):
        image = np.roll(texture, 3 * number, axis=1)
        mask = np.zeros((240, 400), np.uint8)
        mask[60:180, 100 + 3 * number : 160 + 3 * number] = 255
        steady.add(image, mask, 1.0)
        flickering.add(image, cv2.dilate(mask, np.ones((9, 9))) if number % 2 else mask, 1.0)
    assert steady.summary()["flicker"] < 0.05
    assert flickering.summary()["flicker"] > 2 * steady.summary()["flicker"]
    assert steady.summary()["frames_found"] == 8
