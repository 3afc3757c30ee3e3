"""Quality flags: silent on real clips that are right, raised on the same clips damaged."""

import json

import cv2
import numpy as np
import pytest
from real_clips import balancing_man

from mimo.report.flags import CHECKS, flags
from mimo.report.outcomes import StageOutcome
from mimo.synthesis.quality import scene_change
from mimo.template import FrameCrop, Template, TemplateConfig, time_crop
from mimo.video import VideoReader, VideoWriter
from video_decomp.inpainting.__main__ import main as inpaint
from video_decomp.inpainting.quality import measure
from video_decomp.occlusion.measures import LayerMeasures
from video_decomp.segmentation.measures import MaskMeasures

FRAMES = 18


def raised(stage, /, **record):
    """Keys and sentences of the flags of a stage's record."""
    return {flag.check.key: flag.sentence for flag in flags([StageOutcome(stage, "done", "", record)])}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A real clip with its masks and the scene behind the person, and what inpainting wrote about it."""
    folder = balancing_man(tmp_path_factory.mktemp("clip") / "balance", FRAMES)
    assert inpaint(["--template", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def masks(clip):
    return list(VideoReader(clip / "mask.mp4", gray=True))


def segmented(clip, masks):
    """Flags of these masks, measured as the segmentation stage does."""
    measures = MaskMeasures()
    for image, mask in zip(VideoReader(clip / "vid.mp4"), masks, strict=True):
        measures.add(image, mask, 1.0)
    found = measures.frames_found()
    missing = sorted(set(range(len(masks))) - set(found))
    return raised(
        "segmentation",
        metrics=measures.summary(), missing_frames=missing, first_frame=found[0], last_frame=found[-1],
    )  # fmt: skip


def painted(clip, tmp_path, change):
    """Flags of a scene changed by a function of frame, number and mask, measured as inpainting does."""
    folder = tmp_path / "changed"
    folder.mkdir()
    for name in ("vid.mp4", "mask.mp4"):
        (folder / name).symlink_to(clip / name)
    frames = zip(VideoReader(clip / "bk.mp4"), VideoReader(clip / "mask.mp4", gray=True), strict=True)
    with VideoWriter(folder / "bk.mp4", 15) as writer:
        for number, (frame, mask) in enumerate(frames):
            writer.write(np.clip(change(frame.astype(np.int16), number, mask), 0, 255).astype(np.uint8))
    record = json.loads((clip / "records" / "inpainting.json").read_text())
    changed = record["metrics"]["changed_within_pixels"]
    return raised("inpainting", metrics=record["metrics"] | measure(folder, changed))


def within(mask, pixels):
    """Pixels at most so far from the mask, (h, w, 1) bool."""
    return (cv2.distanceTransform((mask < 128).astype(np.uint8), cv2.DIST_L2, 5) <= pixels)[..., None]


def test_masks_that_are_right(clip, masks):
    assert segmented(clip, masks) == {}


def test_mask_that_loses_a_half(clip, masks):
    damaged = [mask.copy() for mask in masks]
    rows = np.flatnonzero(damaged[7].any(1))
    damaged[7][: (rows[0] + rows[-1]) // 2] = 0
    said = segmented(clip, damaged)
    assert set(said) == {"mask-jumps"}
    assert "(2 ×)" in said["mask-jumps"]
    assert said["mask-jumps"].endswith("Frames 7, 8.")


def test_person_lost_for_some_frames(clip, masks):
    said = segmented(clip, [mask * (number not in (5, 6)) for number, mask in enumerate(masks)])
    assert set(said) == {"lost-track"}
    assert "11.1%" in said["lost-track"]
    assert said["lost-track"].endswith("Frames 5, 6.")


def test_person_seen_only_at_the_end(clip, masks):
    said = segmented(clip, [mask * (number > 12) for number, mask in enumerate(masks)])
    assert set(said) == {"mostly-absent"}


def test_person_who_walks_in_is_no_jump(clip, masks):
    """The real outline, moved in from the left by an eighth of its width a frame."""
    columns = np.flatnonzero(masks[0].any(0))
    width, left = columns[-1] - columns[0], columns[0]
    entering = []
    for number in range(FRAMES):
        shift = min(0, -left - width + (number + 1) * width // 8)
        matrix = np.array([[1, 0, shift], [0, 1, 0]], np.float32)
        entering.append(cv2.warpAffine(masks[0], matrix, masks[0].shape[::-1]))
    assert segmented(clip, entering) == {}


def test_scene_that_is_right(clip, tmp_path):
    assert painted(clip, tmp_path, lambda frame, number, mask: frame) == {}
    record = json.loads((clip / "records" / "inpainting.json").read_text())
    assert raised("inpainting", **record) == {}


def test_filled_part_that_is_brighter(clip, tmp_path):
    reach = json.loads((clip / "records" / "inpainting.json").read_text())["metrics"]["changed_within_pixels"]
    said = painted(clip, tmp_path, lambda frame, number, mask: frame + 30 * within(mask, reach))
    assert "seam" in said


def test_filled_part_that_flickers(clip, tmp_path):
    said = painted(clip, tmp_path, lambda frame, number, mask: frame + 8 * (number % 2) * within(mask, 8))
    assert "flicker" in said


def test_scene_that_is_shifted(clip, tmp_path):
    said = painted(clip, tmp_path, lambda frame, number, mask: np.roll(frame, 3, 1))
    assert set(said) >= {"drift"}


def layers(masks):
    measures = LayerMeasures()
    for mask in masks:
        measures.add(mask)
    return raised("occlusion", metrics=measures.summary(), occluders=[{"kind": "still"}])


def test_layer_in_front(masks):
    """A real outline as the layer: steady, coming and going once, and flickering."""
    nothing = np.zeros_like(masks[0])
    assert layers(masks) == {}
    assert layers([nothing] * 3 + masks[3:12] + [nothing] * 6) == {}
    said = layers([nothing if number in (4, 9) else mask for number, mask in enumerate(masks)])
    assert set(said) == {"occluder"}
    assert said["occluder"].endswith("Frames 4, 5, 9, 10.")


@pytest.fixture(scope="module")
def template(clip):
    """The clip as a template (its body is drawn by nobody: the mask stands for it)."""
    with VideoWriter(clip / "sdc.mp4", 15) as writer:
        for mask in VideoReader(clip / "mask.mp4", gray=True):
            writer.write(np.dstack([mask] * 3))
    TemplateConfig(fps=15, time_crop=time_crop(15, 0, FRAMES), frame_crop=FrameCrop()).write(
        clip / "config.json"
    )
    return Template.load(clip)


def composed(template, path, change):
    """Flags of a result: the person put back into the scene, changed by a function of frame and mask."""
    with VideoWriter(path, 15) as writer:
        for name in zip(template.frames("vid"), template.frames("bk"), template.frames("mask"), strict=True):
            video, scene, mask = name
            frame = np.where(mask[..., None] > 127, video, scene).astype(np.int16)
            writer.write(np.clip(change(frame, mask), 0, 255).astype(np.uint8))
    return raised("synthesis", metrics={"scene_change": scene_change(template, path)})


def test_character_put_cleanly_into_the_scene(template, tmp_path):
    assert composed(template, tmp_path / "a.mp4", lambda frame, mask: frame) == {}


def test_character_in_a_visible_box(template, tmp_path):
    def boxed(frame, mask):
        left, top, width, height = cv2.boundingRect(mask)
        frame[max(0, top - 60) : top + height + 60, max(0, left - 60) : left + width + 60] += 12
        return frame

    assert set(composed(template, tmp_path / "b.mp4", boxed)) == {"scene-change"}


@pytest.mark.parametrize(
    ("stage", "good", "bad", "key"),
    [
        ("pose", {"landmark_error_percent": 0.573}, {"landmark_error_percent": 1.006}, "body-fit"),
        ("pose", {"mask_iou_median": 0.8822}, {"mask_iou_median": 0.7796}, "body-overlap"),
        ("pose", {"frames": 50, "filled_frames": 1}, {"frames": 50, "filled_frames": 4}, "guessed-pose"),
        ("inpainting", {"never_seen": 0.2779}, {"never_seen": 0.6}, "invented"),
    ],
)
def test_limits_lie_between_clips_that_are_right_and_wrong(stage, good, bad, key):
    """The numbers of benchmarks/results/pose_accuracy.md and of the demonstration."""
    assert raised(stage, metrics=good) == {}
    assert set(raised(stage, metrics=bad)) == {key}


def test_records_of_others_and_half_written_ones_raise_nothing():
    for check in CHECKS:
        for record in ({}, {"metrics": {}}, {"metrics": None}, {"missing_frames": None, "first_frame": None}):
            assert flags([StageOutcome(check.stage, "done", "", record)]) == []
