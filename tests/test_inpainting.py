"""The inpainting stage, by its command line, on clips whose backgrounds are known."""

import json
from pathlib import Path

import cv2
import numpy as np
from background_scenes import figure, frames, picture, psnr, view, write_clip

from mimo.files import sha256
from video_decomp.inpainting.__main__ import main
from video_decomp.inpainting.exemplar import fill_hole
from video_decomp.light import fit_light

COUNT = 36
TIMES = np.linspace(0, 1, COUNT)


def fill(folder: Path, *options: str) -> dict:
    """Run the stage; its record."""
    assert main(["--template", str(folder), *options]) == 0
    return json.loads((folder / "records" / "inpainting.json").read_text())


def inside_psnr(folder: Path, truth: list[np.ndarray], masks: list[np.ndarray]) -> float:
    where = np.stack(masks)
    return psnr(frames(folder / "bk.mp4")[where], np.stack(truth)[where])


def test_a_walker_before_a_static_camera_vanishes(tmp_path):
    truth = [view(picture(), 100, 80)] * COUNT
    masks = [figure(30 + 260 * t, 40) for t in TIMES]
    write_clip(tmp_path, truth, masks)
    record = fill(tmp_path)
    assert inside_psnr(tmp_path, truth, masks) > 36
    assert record["metrics"]["camera"] == "static"
    assert record["metrics"]["never_seen"] == 0
    assert record["metrics"]["psnr_outside_db"] > 40
    changed = record["metrics"]["changed_within_pixels"]
    outside = np.stack([cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) for mask in masks])
    outside = outside > changed + 1
    assert psnr(frames(tmp_path / "bk.mp4")[outside], frames(tmp_path / "vid.mp4")[outside]) > 40


def test_a_panning_and_zooming_camera_is_followed(tmp_path):
    scene = picture(1300, 500)
    truth = [view(scene, 60 + 780 * t, 90 + 20 * t, 1.15 - 0.3 * t) for t in TIMES]
    masks = [figure(250 - 180 * t, 45) for t in TIMES]
    write_clip(tmp_path, truth, masks)
    record = fill(tmp_path)
    assert record["metrics"]["camera"] == "moving"
    assert record["metrics"]["plates"] > 1
    assert inside_psnr(tmp_path, truth, masks) > 30


def test_who_stays_leaves_no_ghost_and_the_invented_part_holds_still(tmp_path):
    truth = [view(picture(seed=3), 100, 80)] * COUNT
    masks = [figure(160 + 5 * np.sin(9 * t), 40) for t in TIMES]
    write_clip(tmp_path, truth, masks)
    record = fill(tmp_path)
    assert record["metrics"]["never_seen"] > 0.2
    always = np.all(masks, axis=0)
    filled = frames(tmp_path / "bk.mp4")[:, always].astype(float)
    red = filled[..., 0] - filled[..., 1:].max(axis=-1)
    assert np.quantile(red, 0.99) < 100, "the figure is (235, 30, 40)"
    assert filled.std(axis=0).mean() < 1.5
    assert record["metrics"]["flicker"]["filled"] < 2


def test_what_the_mask_missed_is_filled_too(tmp_path):
    truth = [view(picture(seed=4), 100, 80)] * COUNT
    masks = [figure(40 + 240 * t, 40) for t in TIMES]

    def without_feet(mask: np.ndarray) -> np.ndarray:
        smaller = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        smaller[np.flatnonzero(mask.any(axis=1))[-1] - 6 :] = False
        return smaller

    write_clip(tmp_path, truth, masks, without_feet)
    fill(tmp_path)
    assert inside_psnr(tmp_path, truth, masks) > 33


def test_light_that_changes_is_matched(tmp_path):
    empty = view(picture(seed=5), 100, 80).astype(float)
    truth = [np.clip(empty * (1.15 - 0.3 * t) + 12 * t, 0, 255) for t in TIMES]
    masks = [figure(40 + 240 * t, 40) for t in TIMES]
    write_clip(tmp_path, truth, masks)
    fill(tmp_path)
    matched = inside_psnr(tmp_path, truth, masks)
    fill(tmp_path, "--match-light", "false")
    assert matched > 34
    assert matched > inside_psnr(tmp_path, truth, masks) + 6


def test_a_cut_separates_two_scenes(tmp_path):
    half = COUNT // 2
    truth = [view(picture(seed=6), 100, 80)] * half + [view(picture(seed=7), 100, 80)] * half
    masks = [figure(40 + 240 * t, 40) for t in np.tile(np.linspace(0, 1, half), 2)]
    write_clip(tmp_path, truth, masks)
    assert fill(tmp_path)["metrics"]["shots"] == 2
    assert inside_psnr(tmp_path, truth, masks) > 33


def test_the_same_input_gives_the_same_file(tmp_path):
    truth = [view(picture(seed=8), 100, 80)] * 12
    masks = [figure(150 + 2 * (i % 3), 40) for i in range(12)]
    write_clip(tmp_path, truth, masks)
    fill(tmp_path)
    first = sha256(tmp_path / "bk.mp4")
    fill(tmp_path)
    assert sha256(tmp_path / "bk.mp4") == first


def test_three_frames_and_an_empty_mask(tmp_path):
    truth = [view(picture(seed=9), 100, 80)] * 3
    write_clip(tmp_path, truth, [np.zeros((192, 320), bool)] * 3)
    record = fill(tmp_path)
    assert psnr(frames(tmp_path / "bk.mp4"), frames(tmp_path / "vid.mp4")) > 40
    assert record["metrics"]["never_seen"] == 0


def test_a_mask_of_another_clip_is_rejected(tmp_path, capsys):
    truth = [view(picture(), 100, 80)] * 6
    write_clip(tmp_path, truth, [figure(100, 40)] * 6)
    write_clip(tmp_path / "other", truth[:4], [figure(100, 40)] * 4)
    (tmp_path / "other" / "mask.mp4").replace(tmp_path / "mask.mp4")
    assert main(["--template", str(tmp_path)]) == 3
    assert "REJECTED" in capsys.readouterr().err
    assert not (tmp_path / "bk.mp4").exists()


def test_the_exemplar_fill_continues_structure():
    columns = np.arange(240)
    stripes = np.where((columns // 10) % 2, 200, 60).astype(np.uint8)
    image = np.repeat(np.repeat(stripes[None, :, None], 160, axis=0), 3, axis=2)
    hole = np.zeros((160, 240), bool)
    hole[50:110, 90:150] = True
    damaged = np.where(hole[..., None], 0, image).astype(np.uint8)
    filled = fill_hole(damaged, hole, ~hole, seed=0)
    smeared = cv2.inpaint(damaged, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    assert (filled[~hole] == image[~hole]).all()
    assert psnr(filled[hole], image[hole]) > psnr(smeared[hole], image[hole]) + 5


def test_light_is_fitted_without_what_moved():
    random = np.random.default_rng(0)
    source = random.uniform(20, 180, (2000, 3))
    target = source * np.array([1.2, 1.0, 0.9]) + np.array([5.0, -3, 8]) + random.normal(0, 1, source.shape)
    target[:300] = 240
    slopes, offsets = fit_light(source, target)
    np.testing.assert_allclose(slopes, [1.2, 1.0, 0.9], atol=0.02)
    np.testing.assert_allclose(offsets, [5, -3, 8], atol=1.5)
