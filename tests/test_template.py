"""The template contract: ours and the reference implementation's, whole and broken."""

import json
from fractions import Fraction

import numpy as np
import pytest

from mimo.files import sha256
from mimo.stage import Rejected
from mimo.template import FrameCrop, Template, TemplateConfig, time_crop
from mimo.video import VideoWriter


def write_video(path, frames, size=(64, 48), fps=30):
    """A video whose frame n is grey 5 + 4 n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "mask" if path.stem in ("mask", "occ") else "colour"
    shape = (size[1], size[0]) if kind == "mask" else (size[1], size[0], 3)
    with VideoWriter(path, fps, kind=kind, crf=1) as writer:
        for number in range(frames):
            writer.write(np.full(shape, 5 + 4 * number, np.uint8))


def numbers(frames):
    return [round((float(frame.mean()) - 5) / 4) for frame in frames]


@pytest.fixture
def template(tmp_path):
    """A folder as the reference implementation makes it: 40 frames at 30 fps."""
    for name in ("vid", "mask", "sdc", "bk"):
        write_video(tmp_path / "t" / f"{name}.mp4", 40)
    write_config(tmp_path / "t", 30, 0, 1000)
    return tmp_path / "t"


def write_config(folder, fps, start, end, **more):
    crop = {"start_idx_x": 0, "end_idx_x": 64, "start_idx_y": 0, "end_idx_y": 48}
    config = {
        "fps": fps,
        "time_crop": {"start_idx": start, "end_idx": end},
        "frame_crop": crop,
        "layer_recover": True,
    }
    (folder / "config.json").write_text(json.dumps(config | more))


def reference_frames(frames, rate, fps, start, end):
    """Frame numbers that the reference's run_edit.py uses (load_video_fixed_fps, then time_crop)."""
    kept = [int(i) for i in np.arange(0, frames, rate / fps) if int(i) < frames]
    return kept[max(0, int(fps * start / 30)) : min(len(kept), int(fps * end / 30))]


@pytest.mark.parametrize(
    ("rate", "fps", "start", "end"),
    [(30, 30, 0, 1000), (30, 30, 4, 19), (25, 25, 3, 20), (30, 15, 4, 30), (24, 30, 2, 31)],
)
def test_reference_template_gives_the_frames_that_the_reference_uses(template, rate, fps, start, end):
    for name in ("vid", "mask", "sdc", "bk"):
        write_video(template / f"{name}.mp4", 40, fps=rate)
    write_config(template, fps, start, end)
    loaded = Template.load(template)
    expected = reference_frames(40, rate, fps, start, end)
    assert loaded.frame_numbers.tolist() == expected
    assert numbers(loaded.frames("vid")) == expected
    assert numbers(loaded.frames("mask")) == expected
    assert next(loaded.frames("mask")).shape == (48, 64)
    assert next(loaded.frames("bk")).shape == (48, 64, 3)
    assert not loaded.has_occluder
    assert loaded.motion is None


@pytest.mark.parametrize("fps", [10, 23.976, 24, 25, 29.97, 30])
def test_time_crop_keeps_every_frame_range(fps):
    for start in range(0, 90, 7):
        for stop in range(start + 1, 100, 5):
            config = TemplateConfig(fps=fps, time_crop=time_crop(fps, start, stop), frame_crop=FrameCrop())
            assert config.crop(100) == range(start, stop)


def test_frame_rates_above_30_lose_a_frame_at_most():
    config = TemplateConfig(fps=60, time_crop=time_crop(60, 3, 80), frame_crop=FrameCrop())
    assert config.crop(100) == range(4, 80)


def test_config_is_written_as_the_reference_reads_it(tmp_path):
    config = TemplateConfig(fps=30.0, time_crop=time_crop(30, 2, 9), frame_crop=FrameCrop(end_idx_x=64))
    config.write(tmp_path / "config.json")
    content = json.loads((tmp_path / "config.json").read_text())
    assert content == {
        "fps": 30,
        "time_crop": {"start_idx": 2, "end_idx": 9},
        "frame_crop": {"start_idx_x": 0, "end_idx_x": 64, "start_idx_y": 0, "end_idx_y": 0},
        "layer_recover": True,
    }
    assert isinstance(content["fps"], int)
    assert TemplateConfig.read(tmp_path / "config.json") == config


def spoil_missing(folder):
    (folder / "bk.mp4").unlink()


def spoil_damaged(folder):
    (folder / "sdc.mp4").write_bytes(b"not a video")


def spoil_short(folder):
    write_video(folder / "bk.mp4", 39)


def spoil_small(folder):
    write_video(folder / "mask.mp4", 40, size=(32, 48))


def spoil_rate(folder):
    write_video(folder / "bk.mp4", 40, fps=Fraction(25))


def spoil_key(folder):
    write_config(folder, 0, 0, 10)


def spoil_config(folder):
    (folder / "config.json").write_text("{")


def spoil_crop(folder):
    write_config(folder, 30, 500, 1000)


def spoil_occluder(folder):
    write_config(folder, 30, 0, 1000, pipeline={"occ_sha256": None})
    write_video(folder / "occ.mp4", 40)


def spoil_lost_occluder(folder):
    write_config(folder, 30, 0, 1000, pipeline={"occ_sha256": "0" * 64})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_missing, ["bk.mp4", "missing"]),
        (spoil_damaged, ["sdc.mp4", "cannot be read"]),
        (spoil_short, ["bk.mp4 has 39 frames", "vid.mp4 has 40"]),
        (spoil_small, ["mask.mp4 is 32x48", "64x48"]),
        (spoil_rate, ["bk.mp4 runs at 25 fps", "30"]),
        (spoil_key, ["config.json", "fps", "greater than 0"]),
        (spoil_config, ["config.json", "JSON"]),
        (spoil_crop, ["time_crop", "no frame of the 40"]),
        (spoil_occluder, ["occ.mp4", "was added after"]),
        (spoil_lost_occluder, ["occ.mp4", "missing"]),
    ],
)
def test_broken_template_is_rejected_with_the_reason(template, spoil, words):
    spoil(template)
    with pytest.raises(Rejected) as error:
        Template.load(template)
    assert all(word in str(error.value) for word in words), error.value


def test_altered_occluder_is_rejected(template):
    write_video(template / "occ.mp4", 40)
    write_config(template, 30, 0, 1000, pipeline={"occ_sha256": sha256(template / "occ.mp4")})
    assert Template.load(template).has_occluder
    with (template / "occ.mp4").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Rejected, match="was changed after the template was packed"):
        Template.load(template)
