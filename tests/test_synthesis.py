"""The synthesis stage with the puppet: the character comes back in its place, behind what is in front."""

import json
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from test_character import character, man  # noqa: F401 (fixtures)

from mimo.body.camera import scale_camera
from mimo.body.motion import Motion
from mimo.character import Character
from mimo.files import sha256, write_json
from mimo.puppet.lift import lift
from mimo.retargeting.performance import Performance
from mimo.retargeting.proportions import scaled
from mimo.synthesis.__main__ import main
from mimo.video import VideoReader, VideoWriter

FRAMES = 6
SIDE = 448
FPS = 25


def write(path: Path, frames: list[np.ndarray], kind="colour", **more) -> None:
    with VideoWriter(path, FPS, kind=kind, **more) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.fixture(scope="session")
def template(character, tmp_path_factory) -> Path:  # noqa: F811
    """The character's own picture as a clip of six frames with sound, a plain grey background, a post."""
    folder = tmp_path_factory.mktemp("templates") / "tämplate 1"
    folder.mkdir()
    made = Character.load(character)
    image = cv2.resize(made.image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(made.mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    post = np.zeros((SIDE, SIDE), np.uint8)
    post[:, 250:] = 255
    sound = folder.parent / "sound.wav"
    make = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", "sine=440"]
    subprocess.run([*make, "-t", "1", str(sound)], check=True)
    write(folder / "vid.mp4", [image] * FRAMES, audio_from=sound)
    write(folder / "bk.mp4", [np.full_like(image, 128)] * FRAMES)
    write(folder / "sdc.mp4", [np.zeros_like(image)] * FRAMES)
    write(folder / "mask.mp4", [(mask > 127).astype(np.uint8) * 255] * FRAMES, "mask")
    write(folder / "occ.mp4", [post] * FRAMES, "mask")
    body = made.body
    repeated = {
        name: np.repeat(getattr(body, name), FRAMES, axis=0)
        for name in ("rotations", "root_rotation", "translation", "confidence", "visible")
    }
    camera = scale_camera(body.camera, SIDE / made.image.shape[0])
    replace(body, camera=camera, **repeated).save(folder / "motion.npz")
    write_json(folder / "config.json", config(sha256(folder / "occ.mp4")))
    return folder


def config(occluder: str | None, start: int = 0, end: int = 1000) -> dict:
    return {
        "fps": FPS,
        "time_crop": {"start_idx": start, "end_idx": end},
        "frame_crop": {},
        "layer_recover": True,
        "pipeline": {"occ_sha256": occluder},
    }


@pytest.fixture(scope="session")
def result(template, character, tmp_path_factory) -> Path:  # noqa: F811
    output = tmp_path_factory.mktemp("results") / "män.mp4"
    command = ["--template", template, "--character", character, "--output", output]
    assert main([*map(str, command), "--shadow", "0"]) == 0
    return output


def test_character_comes_back_where_it_was(result, template):
    made = VideoReader(result)
    assert (made.info.frames, made.info.width, made.info.height, made.info.fps) == (FRAMES, SIDE, SIDE, FPS)
    frame = made.frame(3).astype(float)
    truth = VideoReader(template / "vid.mp4").frame(3).astype(float)
    inside = VideoReader(template / "mask.mp4", gray=True).frame(3) > 127
    free = np.zeros_like(inside)
    free[:, :248] = True
    # The picture's own pixels: lifted, textured, posed and drawn, they are the same person again.
    error = (
        (frame - truth)[cv2.erode(inside.astype(np.uint8), np.ones((5, 5))).astype(bool) & free] ** 2
    ).mean()
    assert 10 * np.log10(255**2 / error) > 20
    # None of the person spills out: where nobody was, the background stays.
    far = cv2.dilate(inside.astype(np.uint8), np.ones((25, 25))) == 0
    assert np.abs(frame - 128)[far & free].max() < 12
    drawn = np.abs(frame - 128).max(axis=2) > 25
    drawn[:, 248:] = inside[:, 248:] = False
    assert (drawn & inside).sum() / (drawn | inside).sum() > 0.85


def test_what_stands_in_front_is_put_back(result, template):
    frame = VideoReader(result).frame(2).astype(float)
    truth = VideoReader(template / "vid.mp4").frame(2).astype(float)
    assert np.abs(frame - truth)[:, 256:].mean() < 2


def test_frames_are_steady(result):
    frames = [frame.astype(float) for frame in VideoReader(result)]
    assert max(np.abs(a - b).mean() for a, b in pairwise(frames)) < 0.5


def test_sound_and_record_come_along(result, template):
    with av.open(str(result)) as container:
        assert len(container.streams.audio) == 1
        assert float(container.duration / av.time_base) == pytest.approx(FRAMES / FPS, abs=0.05)
    record = json.loads(result.with_suffix(".json").read_text())
    assert record["backend"] == "puppet"
    assert record["template"] == template.name
    assert record["settings"]["shadow"] == 0
    assert record["metrics"]["frames"] == FRAMES
    assert record["metrics"]["silhouette_iou_lifted"] > record["metrics"]["silhouette_iou_fit"]
    assert record["licences"]["anny-body"]["commercial"] is True
    assert record["video_sha256"] == sha256(result)


def test_time_crop_limits_the_result(template, character, tmp_path):  # noqa: F811
    folder = tmp_path / "cropped"
    folder.mkdir()
    for path in template.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "config.json").unlink()
    # Counted in 30ths of a second: frames 2 and 3 at 25 fps.
    write_json(folder / "config.json", config(sha256(folder / "occ.mp4"), 3, 5))
    command = ["--template", folder, "--character", character, "--output", tmp_path / "out.mp4"]
    assert main([str(word) for word in command]) == 0
    assert len(VideoReader(tmp_path / "out.mp4")) == 2


def test_template_without_motion_is_refused(template, character, tmp_path, capfd):  # noqa: F811
    folder = tmp_path / "of others"
    folder.mkdir()
    for name in ("vid.mp4", "bk.mp4", "sdc.mp4", "mask.mp4"):
        (folder / name).symlink_to(template / name)
    reference = {key: value for key, value in config(None).items() if key != "pipeline"}
    write_json(folder / "config.json", reference)
    command = ["--template", folder, "--character", character, "--output", tmp_path / "out.mp4"]
    assert main([str(word) for word in command]) == 3
    assert "needs motion.npz" in capfd.readouterr().err
    assert list(tmp_path.glob("out*")) == []


def test_surroundings_never_reach_the_texture(character):  # noqa: F811
    made = Character.load(character)
    share = made.mask[..., None] / 255
    magenta = np.array([255, 0, 255])
    image = (made.image * share + magenta * (1 - share)).astype(np.uint8)
    puppet = lift(replace(made, image=image), 0.0)
    used = puppet.texture.astype(int)
    # Magenta is red and blue without green; skin, cap and shorts have no such pixel.
    assert ((used[..., 0] - used[..., 1] > 60) & (used[..., 2] - used[..., 1] > 60)).mean() < 1e-4


def test_feet_stay_on_the_ground_at_any_size(template, character):  # noqa: F811
    motion = Motion.load(template / "motion.npz")
    body = Character.load(character).body.body
    driver = motion.vertices(0)[:, 1].max()
    for scale in (0.7, 1.0, 1.2):
        actor = Performance(motion, scaled(body, scale), FPS)
        assert actor.vertices(0)[:, 1].max() == pytest.approx(driver, abs=0.03)
