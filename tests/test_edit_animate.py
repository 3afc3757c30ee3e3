"""`python -m mimo.edit` and `python -m mimo.animate`: one video in one command, with both backends."""

import json
import shutil

import cv2
import numpy as np
import pytest
from test_character import character, man  # noqa: F401 (fixtures)
from test_diffusion_backend import COUNT, HEIGHT, WIDTH, make_character, make_template
from test_synthesis import FRAMES, SIDE, template  # noqa: F401 (fixtures)

from mimo import animate, edit, weights
from mimo.animation import Animation
from mimo.one_video import prepared
from mimo.stage import Rejected
from mimo.synthesis.__main__ import main as synthesise
from mimo.video import VideoReader, VideoWriter, audio_codec_of

SMALL = ["--backend", "mimo", "--device", "cpu", "--steps", "1", "--size", "256"]


def run(main, *words):
    return main([str(word) for word in words])


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of its own; the model files lie in the old one."""
    monkeypatch.setenv("MIMO_WEIGHTS", str(weights.cache_dir()))
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_edit_takes_a_picture_and_keeps_the_sound(template, man, tmp_path, own_cache, capsys):  # noqa: F811
    picture = tmp_path / "-männ.png"
    cv2.imwrite(str(picture), man[..., ::-1])
    assert run(edit.main, template, picture, "-o", tmp_path / "edit.mp4", "--shadow", "0") == 0
    said = capsys.readouterr().err
    assert "preparing the character" in said
    assert "Models used: Apache-2.0 (blazepose-detector" in said
    assert "COMMERCIAL" not in said
    kept = next(own_cache.glob("characters/*/-männ"))
    assert prepared(picture, "mediapipe") == kept
    assert "preparing the character" not in capsys.readouterr().err
    words = ["--template", template, "--character", kept, "--output", tmp_path / "stage.mp4"]
    assert run(synthesise, *words, "--shadow", "0") == 0
    assert (tmp_path / "edit.mp4").read_bytes() == (tmp_path / "stage.mp4").read_bytes()
    assert audio_codec_of(tmp_path / "edit.mp4") == "aac"


def test_animate_puts_the_puppet_on_white(template, character, tmp_path):  # noqa: F811
    motion = tmp_path / "motion"
    motion.mkdir()
    for name in ("sdc.mp4", "motion.npz"):
        shutil.copy(template / name, motion / name)
    assert run(animate.main, motion, character, "-o", tmp_path / "out.mp4", "--shadow", "0") == 0
    made = VideoReader(tmp_path / "out.mp4")
    assert (made.info.frames, made.info.width, made.info.height) == (FRAMES, SIDE, SIDE)
    frame = made.frame(2).astype(float)
    inside = VideoReader(template / "mask.mp4", gray=True).frame(2) > 127
    far = cv2.dilate(inside.astype(np.uint8), np.ones((41, 41))) == 0
    assert np.abs(frame - 255)[far].max() < 4, "white around the person"
    core = cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0
    truth = VideoReader(template / "vid.mp4").frame(2).astype(float)
    error = ((frame - truth)[core] ** 2).mean()
    assert 10 * np.log10(255**2 / error) > 20, "the picture's own pixels, in its own light"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A template of the reference implementation, and a character."""
    folder = tmp_path_factory.mktemp("small")
    make_template(folder / "dance")
    make_character(folder / "character")
    return folder


def test_animate_with_the_diffusion_backend(small, golden_weights, tmp_path, capsys, one_thread):
    shutil.copy(small / "dance" / "sdc.mp4", tmp_path / "solo dance.mp4")
    words = [small / "character", *SMALL, "--weights", golden_weights, "--guidance", 1]
    assert run(animate.main, tmp_path / "solo dance.mp4", *words, "-o", tmp_path / "out.mp4") == 0
    assert "NOT FOR COMMERCIAL USE: the terms of mimo-denoising-unet" in capsys.readouterr().err
    frames = list(VideoReader(tmp_path / "out.mp4"))
    assert len(frames) == COUNT
    assert frames[0].shape == (HEIGHT, WIDTH, 3)
    assert (frames[0][:, -8:] > 250).all(), "white where the person never is"
    assert frames[0][30:70, 45:55].std() > 20, "noise of the random network where the body is"
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["template"] == "solo dance"


def test_edit_with_the_diffusion_backend(small, golden_weights, tmp_path, one_thread):
    words = [*SMALL, "--weights", golden_weights, "--guidance", 1]
    assert run(edit.main, small / "dance", small / "character", "-o", tmp_path / "edit.mp4", *words) == 0
    record = json.loads((tmp_path / "edit.json").read_text())
    assert (record["backend"], record["metrics"]["frames"]) == ("mimo", COUNT - 1)
    scene = VideoReader(small / "dance" / "bk.mp4").frame(1).astype(float)
    assert np.abs(VideoReader(tmp_path / "edit.mp4").frame(0) - scene)[:, -8:].mean() < 8


def test_a_templates_part_of_the_time_holds(small):
    assert Animation.load(small / "dance").frame_numbers.tolist() == list(range(1, COUNT))
    assert Animation.load(small / "dance" / "sdc.mp4").name == "dance"


def test_what_cannot_be_used_is_told(small, tmp_path, capsys):
    with pytest.raises(Rejected, match=r"sdc\.mp4: not there"):
        Animation.load(tmp_path)
    (tmp_path / "sdc.mp4").write_text("no video")
    with pytest.raises(Rejected, match="cannot be read as a video"):
        Animation.load(tmp_path)
    output = ["-o", tmp_path / "out.mp4"]
    assert run(animate.main, small / "dance", tmp_path / "nobody.png", *output) == 3
    assert "nobody.png: not there" in capsys.readouterr().err
    with VideoWriter(tmp_path / "sdc.mp4", 30) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
    assert run(animate.main, tmp_path / "sdc.mp4", small / "character", *output) == 3
    assert "needs motion.npz" in capsys.readouterr().err


def test_a_picture_without_a_person_is_refused(small, tmp_path, own_cache, capsys):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 200, 3), 128, np.uint8))
    assert run(edit.main, small / "dance", tmp_path / "wall.png", "-o", tmp_path / "out.mp4") == 3
    assert "REJECTED: " in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()
