"""The synthesis backend `mimo` on its command line, with small random weights, on a template of others."""

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_characters import make_character

from mimo.character import Character
from mimo.diffusion.presets import PRESETS
from mimo.synthesis.__main__ import main
from mimo.synthesis.mimo import Settings, reference_picture
from mimo.video import VideoReader, VideoWriter

GOLDEN = Path(__file__).parent / "golden"
HEIGHT, WIDTH, COUNT = 96, 160, 10


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Weights, a template without motion.npz or our own keys, and a character."""
    folder = tmp_path_factory.mktemp("mimo")
    zipfile.ZipFile(GOLDEN / "weights.zip").extractall(folder / "weights")
    make_template(folder / "template")
    make_character(folder / "character")
    return folder


def make_template(folder):
    folder.mkdir()
    texture = np.random.default_rng(1).integers(80, 180, (HEIGHT // 16, WIDTH // 16, 1), np.uint8)
    texture = np.repeat(texture, 3, axis=2)
    background = cv2.resize(texture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    with (
        VideoWriter(folder / "vid.mp4", 30) as vid,
        VideoWriter(folder / "bk.mp4", 30) as bk,
        VideoWriter(folder / "sdc.mp4", 30) as sdc,
        VideoWriter(folder / "occ.mp4", 30, kind="mask") as occ,
    ):
        for i in range(COUNT):
            code, occluder = np.zeros_like(background), np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.ellipse(code, (50 + 4 * i, 50), (9, 30), 0, 0, 360, (200, 120, 90), -1)
            occluder[:, 64:80] = 255
            video = background.copy()
            video[:, 64:80] = (250, 30, 30)
            vid.write(video)
            bk.write(background)
            sdc.write(code)
            occ.write(occluder)
    config = {
        "fps": 30,
        "time_crop": {"start_idx": 1, "end_idx": 900},
        "frame_crop": {"start_idx_x": 0, "end_idx_x": WIDTH, "start_idx_y": 0, "end_idx_y": HEIGHT},
        "layer_recover": True,
    }
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(autouse=True)
def quiet_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def synthesise(inputs, output, *options, weights="weights"):
    command = ["--backend", "mimo", "--device", "cpu", "--steps", "2", "--size", "256"]
    command += ["--template", inputs / "template", "--character", inputs / "character"]
    command += ["--output", output, "--weights", inputs / weights, *options]
    return main([str(word) for word in command])


@pytest.mark.parametrize("composition", ["reference", "improved"])
def test_a_template_of_the_reference_becomes_a_video(inputs, tmp_path, composition):
    output = tmp_path / "out.mp4"
    assert synthesise(inputs, output, "--composition", composition, "--compilation", "off") == 0
    frames = list(VideoReader(output))
    scenes = list(VideoReader(inputs / "template" / "bk.mp4"))[1:]
    assert len(frames) == COUNT - 1
    for frame, scene in zip(frames, scenes, strict=True):
        outside = np.abs(frame[:, :10].astype(int) - scene[:, :10])
        assert outside.mean() < 2, "far from the person the scene is untouched"
        assert np.abs(frame[:, 68:76].astype(int) - (250, 30, 30)).mean() < 12, "the occluder is back"
    changed = np.abs(frames[0][30:70, 50:60].astype(int) - scenes[0][30:70, 50:60]).mean()
    assert changed > 15, "the net painted where the body is"
    record = json.loads(output.with_suffix(".json").read_text())
    assert record["backend"] == "mimo"
    assert record["metrics"]["frames"] == COUNT - 1
    assert record["metrics"]["windows"] == 1
    assert record["metrics"]["peak_ram_gib"] > 0
    assert record["settings"]["compilation"] == "off", "a word that YAML takes for no"
    assert not list((tmp_path / "cache").rglob("*.safetensors")), "no state is left of a finished video"


def test_a_preset_is_taken_but_for_what_is_said_otherwise(inputs, tmp_path):
    output = tmp_path / "out.mp4"
    assert synthesise(inputs, output, "--preset", "fast", "--fp8", "true") == 0
    record = json.loads(output.with_suffix(".json").read_text())
    settings = record["settings"]
    expected = PRESETS["fast"] | {"steps": 2, "fp8": True}
    assert {name: settings[name] for name in expected} == expected
    assert Settings(**settings).model_dump(mode="json") == settings
    assert [text for text in record["warnings"] if text.startswith("fp8 needs a GPU")]


def test_missing_weights_are_rejected_with_the_file_named(inputs, tmp_path, capsys):
    assert synthesise(inputs, tmp_path / "out.mp4", weights="nothing") == 3
    message = capsys.readouterr().err
    assert "REJECTED" in message
    assert "nothing: not there" in message


def test_the_character_is_put_on_white_and_squared(inputs):
    picture = reference_picture(Character.load(inputs / "character"))
    assert picture.shape == (64, 64, 3)
    assert (picture[0] == 255).all()
    assert tuple(picture[32, 32]) == (220, 170, 40)
    assert not (np.abs(picture.astype(int) - (30, 60, 200)).sum(2) < 30).any(), (
        "nothing of the old background"
    )
