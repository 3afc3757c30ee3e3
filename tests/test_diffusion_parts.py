"""Parts of a clip by the diffusion backend: they agree with the whole, across borders of parts and clips."""

import itertools
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from test_diffusion_backend import GOLDEN, make_character

from mimo import closed_groups
from mimo.compose import Compositor
from mimo.composition.excerpts import clips_within, in_places, places, settled
from mimo.composition.regions import Box, Clip, frame_box, in_clips, plan_clips
from mimo.composition.scenes import Scene
from mimo.diffusion.excerpts import excerpt, noise
from mimo.diffusion.windows import closed_windows, open_windows
from mimo.synthesis import parts
from mimo.synthesis.__main__ import main
from mimo.synthesis.join import main as join
from mimo.synthesis.mimo import Settings
from mimo.template import Template
from mimo.video import VideoReader, VideoWriter

HEIGHT, WIDTH, FRAMES, SHORT_GROUP = 96, 160, 22, 11


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Weights, a character, and a template of others in which the body crosses the picture."""
    folder = tmp_path_factory.mktemp("mimo parts")
    zipfile.ZipFile(GOLDEN / "weights.zip").extractall(folder / "weights")
    make_character(folder / "character")
    template = folder / "template"
    template.mkdir()
    texture = np.random.default_rng(1).integers(80, 180, (HEIGHT // 16, WIDTH // 16, 1), np.uint8)
    scene = cv2.resize(np.repeat(texture, 3, axis=2), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    with (
        VideoWriter(template / "vid.mp4", 30) as vid,
        VideoWriter(template / "bk.mp4", 30) as bk,
        VideoWriter(template / "sdc.mp4", 30) as sdc,
    ):
        for i in range(FRAMES):
            code = np.zeros_like(scene)
            cv2.ellipse(code, (20 + 5 * i, 50), (9, 30), 10 * np.sin(i / 2), 0, 360, (200, 120, 90), -1)
            vid.write(scene)
            bk.write(scene)
            sdc.write(code)
    config = {"fps": 30, "time_crop": {"start_idx": 0, "end_idx": 900}, "layer_recover": True}
    (template / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def clips(inputs) -> list[Clip]:
    boxes = [frame_box(frame) for frame in VideoReader(inputs / "template" / "sdc.mp4")]
    found = plan_clips(boxes)
    assert len(found) == 2
    return found


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return cv2.PSNR(one.reshape(-1, WIDTH, 3), other.reshape(-1, WIDTH, 3))


def test_parts_agree_with_the_whole(inputs, clips, tmp_path, monkeypatch):
    # Parts begin at multiples of this; the real length would take minutes here.
    for module in (closed_groups, parts):
        monkeypatch.setattr(module, "GROUP", SHORT_GROUP)
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        folders = ["--template", inputs / "template", "--character", inputs / "character"]
        options = ["--backend", "mimo", "--weights", inputs / "weights", "--device", "cpu", "--size", "256"]
        options += ["--steps", "1", "--guidance", "0", "--window", "6", "--overlap", "2"]
        options += ["--part-context", "0"]
        common = [str(word) for word in (*folders, *options)]
        assert main([*common, "--output", str(tmp_path / "whole.mp4")]) == 0
        made = []
        for number in (1, 2):
            made.append(str(tmp_path / f"{number}.mp4"))
            assert main([*common, "--output", made[-1], "--part", f"{number}/2"]) == 0
        assert join([*common, "--output", str(tmp_path / "joined.mp4"), *made]) == 0
    finally:
        torch.set_num_threads(threads)
    whole = np.array(list(VideoReader(tmp_path / "whole.mp4")))
    joined = np.array(list(VideoReader(tmp_path / "joined.mp4")))
    assert len(whole) == len(joined) == FRAMES
    seam = parts.Part(2, 2).frames(FRAMES).start
    assert clips[1].first < seam <= clips[0].last, "the parts' border lies where two clips are blended"
    # After one step windows have not met yet: before they are coded, both parts' frames are the same.
    tail, head = (np.load(tmp_path / f"{number}.npz")[end] for number, end in ((1, "tail"), (2, "head")))
    assert len(tail) == len(head) == Settings.seam_frames
    assert np.abs(tail.astype(int) - head).max() <= 1
    # What random networks paint is noise, and its coding differs where a group begins.
    assert psnr(whole, joined) > 35
    assert min(map(psnr, whole, joined)) > 28
    record = json.loads((tmp_path / "joined.json").read_bytes())
    assert record["metrics"]["clips"] == len(clips)
    in_one_go, *in_parts = (
        json.loads((tmp_path / f"{name}.json").read_bytes())["metrics"]["windows"]
        for name in ("whole", "1", "2")
    )
    assert max(in_parts) < in_one_go


def test_a_part_sees_the_frames_of_the_whole(inputs, clips):
    template = Template.load(inputs / "template")
    sequence = list(in_clips(template.frames("sdc"), clips))
    for wanted in ([0, 1, 2, 9, 10, 20], range(len(sequence)), [len(sequence) - 1]):
        found = list(in_places(template, "sdc", clips, wanted))
        assert len(found) == len(wanted)
        for place, (clip, frame) in zip(wanted, found, strict=True):
            assert clip.box == sequence[place][0].box
            assert (frame == sequence[place][1]).all()


@pytest.mark.parametrize("mode", ["reference", "improved"])
def test_frames_of_a_part_are_put_together_as_in_the_whole(mode):
    boxes = [Box(8, 40, 4, 44), Box(16, 56, 8, 44), Box(20, 60, 4, 40), Box(0, 30, 0, 40)]
    # The third clip begins where the second one does.
    clips = [Clip(0, 9, boxes[0]), Clip(6, 9, boxes[1]), Clip(6, 14, boxes[2]), Clip(11, 20, boxes[3])]
    random = np.random.default_rng(0)
    sequence = [random.random((48, 48, 3), np.float32) for clip in clips for _ in clip.frames]
    codes = np.zeros((48, 64, 3), np.uint8)
    codes[10:40, 20:30] = 200
    scenes = [Scene(*random.integers(0, 255, (2, 48, 64, 3), np.uint8), None, codes) for _ in range(21)]
    # Colours are smoothed over a clip's frames from its first on; here that is left out.
    more = {"mode": mode, "match_colours": False}
    whole = list(Compositor(clips, **more).frames(sequence, scenes))
    for start, stop in itertools.combinations(range(0, 22, 1 + 2 * (mode == "improved")), 2):
        frames = settled(clips, range(start, stop))
        assert frames.start <= start < stop <= frames.stop
        own = places(clips, frames)
        compositor = Compositor(clips_within(clips, frames), **more)
        found = list(compositor.frames(sequence[own.start : own.stop], scenes[frames.start : frames.stop]))
        assert len(found) == len(frames)
        assert all((found[i - frames.start] == whole[i]).all() for i in range(start, stop)), (start, stop)


@pytest.mark.parametrize("closed", [True, False])
def test_an_excerpt_is_made_of_whole_windows(closed):
    make = closed_windows if closed else open_windows
    windows = make(100, 24, 4)
    for own in (range(0, 40), range(38, 41), range(60, 100)):
        found = excerpt(windows, own, 1, closed=closed)
        assert [found.places[i] for i in range(*found.own.indices(200))] == list(own)
        as_places = [[found.places[i] for i in window] for window in found.windows]
        assert all(window in windows for window in as_places)
        holding = [window for window in windows if {*window} & {*own}]
        assert all(window in as_places for window in holding)
        assert len(holding) < len(as_places) <= len(holding) + 2
    everything = excerpt(windows, range(100), 0, closed=closed)
    assert (everything.places, everything.windows) == (list(range(100)), windows)


@pytest.mark.parametrize(("total", "height", "width"), [(1, 1, 3), (3, 33, 33), (40, 98, 98), (301, 33, 65)])
def test_a_part_gets_its_share_of_the_noise(total, height, width):
    whole = torch.randn((1, 4, total, height, width), generator=torch.Generator().manual_seed(7))
    some = [place for place in range(total) if place % 7 != 3]
    assert torch.equal(noise(7, some, total, height, width), whole[:, :, some])
