"""Composition: feathered boxes, and the improved mode's matte, colours and blending."""

import cv2
import numpy as np
import pytest

from mimo.compose import BORDER_CASES, Compositor, border_case, feathered_mask
from mimo.composition.regions import Box, Clip, frame_box, pad_square, plan_clips
from mimo.composition.scenes import Scene

HEIGHT, WIDTH, COUNT = 180, 260, 12


def scene(i):
    """A textured scene with a body that walks; the body's box is known."""
    noise = np.random.default_rng(5).integers(60, 200, (HEIGHT // 6, WIDTH // 6, 3), np.uint8)
    background = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    sdc = np.zeros_like(background)
    cv2.ellipse(sdc, (60 + 10 * i, 95), (14, 50), 0, 0, 360, (200, 120, 90), -1)
    return Scene(background, np.zeros_like(background), None, sdc)


def synthesised(scene, box, shift):
    """What the net would give: a green person a little wider than the body, colours shifted everywhere."""
    person = scene.background.copy()
    wider = cv2.dilate((scene.sdc[:, :, 0] > 0).astype(np.uint8), np.ones((5, 5)))
    person[wider > 0] = (20, 220, 60)
    square, _ = pad_square(person[box.y0 : box.y1, box.x0 : box.x1], (255, 255, 255))
    return np.clip(square.astype(np.float32) / 255 * 0.95 + shift, 0, 1), wider > 0


def composed(mode, shift=0.0, occlusion=None):
    scenes = [scene(i)._replace(occlusion=occlusion) for i in range(COUNT)]
    clips = plan_clips([frame_box(s.sdc) for s in scenes], improved=mode == "improved")
    video = [synthesised(scenes[i], clip.box, shift)[0] for clip in clips for i in clip.frames]
    return scenes, clips, list(Compositor(clips, mode=mode).frames(video, scenes))


def test_improved_mode_keeps_the_scene_and_corrects_the_person():
    scenes, _clips, frames = composed("improved", shift=0.06)
    assert len(frames) == COUNT
    for source, frame in zip(scenes, frames, strict=True):
        _, person = synthesised(source, Box(0, WIDTH, 0, HEIGHT), 0)
        far = ~cv2.dilate(person.astype(np.uint8), np.ones((25, 25))).astype(bool)
        assert np.array_equal(frame[far], source.background[far])
        inside = cv2.erode(person.astype(np.uint8), np.ones((9, 9))).astype(bool)
        error = np.abs(frame[inside].astype(int) - (20, 220, 60))
        assert error.mean() < 6, "the person's colours are those the scene would give"
        ring = person & ~(source.sdc[:, :, 0] > 0)
        assert np.abs(frame[ring].astype(int) - (20, 220, 60)).mean() < 45, "clothes past the body are kept"


def test_reference_mode_shows_the_shift_that_the_improved_one_removes():
    scenes, clips, frames = composed("reference", shift=0.06)
    box = clips[0].box
    middle = np.s_[box.y0 + 20 : box.y1 - 20, box.x0 + 20 : box.x0 + 30]
    difference = np.abs(frames[0][middle].astype(int) - scenes[0].background[middle]).mean()
    assert difference > 3


@pytest.mark.parametrize("mode", ["reference", "improved"])
def test_what_stands_in_front_comes_back(mode):
    occlusion = np.zeros((HEIGHT, WIDTH), np.uint8)
    occlusion[:, 100:140] = 255
    _scenes, _clips, frames = composed(mode, occlusion=occlusion)
    for frame in frames:
        assert frame[:, 100:140].max() == 0


def test_frames_stream_with_only_the_shared_ones_held():
    scenes = [scene(i) for i in range(COUNT)]
    clips = [Clip(0, 6, Box(20, 180, 20, 170)), Clip(3, 11, Box(60, 240, 20, 170))]
    read = []

    def stream():
        for i, one in enumerate(scenes):
            read.append(i)
            yield one

    video = (synthesised(scenes[i], clip.box, 0)[0] for clip in clips for i in clip.frames)
    for done, _frame in enumerate(Compositor(clips, mode="improved").frames(video, stream())):
        assert read[-1] <= (done if done < 3 else max(done, 6))
    assert done == COUNT - 1


@pytest.mark.parametrize("case", BORDER_CASES)
def test_feathers_fall_to_nothing_only_inside_the_frame(case):
    touching = set() if case == "inner" else set(case.split("_"))
    mask = feathered_mask(case, 64, 48)
    edges = {"up": mask[0], "down": mask[-1], "left": mask[:, 0], "right": mask[:, -1]}
    for side, edge in edges.items():
        assert (edge.max() == 1) == (side in touching), side
        assert side in touching or edge.max() < 0.1
    assert mask[32, 24] == 1
    left, right = (0, 100) if "left" in touching else (10, 100), 100 if "right" in touching else 90
    top, bottom = 0 if "up" in touching else 10, 80 if "down" in touching else 70
    assert border_case(Box(left[0], right, top, bottom), 100, 80) == case


def test_improved_clips_ignore_frames_without_a_body():
    boxes = [Box(100, 140, 60, 160)] * 5 + [Box(0, 0, 0, 0)] + [Box(100, 140, 60, 160)] * 4
    assert plan_clips(boxes)[0].box.x0 == 0 or len(plan_clips(boxes)) > 1
    assert plan_clips(boxes, improved=True) == [Clip(0, 9, Box(100, 140, 60, 160))]
    assert plan_clips([Box(0, 0, 0, 0)] * 3, improved=True) == [Clip(0, 2, Box(0, 0, 0, 0))]
