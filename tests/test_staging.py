"""Motions put into scenes: where people stand, what covers them, how long it lasts, what can be heard."""

import json

import numpy as np
import pytest
from background_scenes import picture
from PIL import Image
from scipy.spatial.transform import Rotation
from staged_scenes import RED, post_at, red_person
from test_motion import clips, in_world, sole_patches  # noqa: F401 (fixture)

from mimo import weights
from mimo.body.camera import project
from mimo.body.motion import Motion
from mimo.template import Template
from mimo.video import VideoReader, VideoWriter, has_audio
from video_decomp.motion.__main__ import main as convert
from video_decomp.motion.placing import Ground
from video_decomp.staging.__main__ import main

SIZE = (320, 192)


@pytest.fixture(scope="module")
def motions(clips, tmp_path_factory):  # noqa: F811
    """Motion templates: a walk across the picture, a run, and the same run seen by a camera that goes."""
    weights.fetch(["blazepose-detector", "blazepose-landmarks-full"])
    folder = tmp_path_factory.mktemp("motions")
    wide = ("--width=320", "--height=192")
    for name, words in {
        "walk": (clips["walk"], "--azimuth=80", "--elevation=10", "--margin=0.15", *wide),
        "run": (clips["run"], "--width=96", "--height=96"),
        "along": (clips["run"], "--camera=orbit", "--orbit=90", "--width=96", "--height=96"),
    }.items():
        assert convert([str(word) for word in (words[0], "-o", folder / name, *words[1:])]) == 0
    return folder


@pytest.fixture(scope="module")
def scene(motions, tmp_path_factory):
    """A template in which somebody in red walks behind a post."""
    walk = Motion.load(motions / "walk" / "motion.npz")
    distance = float(walk.translation[:, 2].min()) - 0.5
    return red_person(tmp_path_factory.mktemp("scenes") / "park", motions / "walk", distance)


def staged(motion, scene, folder, *options):
    words = ("--motion", motion, "--scene", scene, "-o", folder, *options)
    assert main([str(word) for word in words]) == 0
    template = Template.load(folder)
    record = json.loads((folder / "records" / "staging.json").read_text())
    assert template.config.is_staged
    assert (folder / "preview.png").is_file()
    return template, Motion.load(folder / "motion.npz"), record


def hips(motion, frame):
    return motion.body.key_points(motion.vertices(frame))[[23, 24]].mean(0)


def test_the_run_goes_where_the_scenes_person_goes(motions, scene, tmp_path):
    template, run, record = staged(
        motions / "run", scene.folder, tmp_path / "a", "--end=0.4", "--occluders=never"
    )
    walk = Motion.load(scene.motion)
    assert np.allclose(run.camera, walk.camera)
    assert np.allclose(run.ground, walk.ground, atol=1e-5)
    ways = [hips(motion, -1) - hips(motion, 0) for motion in (run, walk)]
    cosine = np.dot(*ways) / np.linalg.norm(ways[0]) / np.linalg.norm(ways[1])
    assert cosine > 0.97, "the same way"
    begins = in_world(walk, np.array([hips(motion, 0) for motion in (run, walk)]))[:, :2]
    assert np.linalg.norm(begins[0] - begins[1]) < 0.1, "from the same place"
    assert record["metrics"]["slide_mm"] <= 10
    assert record["warnings"] == []
    low = [in_world(run, run.vertices(frame))[:, 2].min() for frame in range(len(run))]
    assert min(low) > -0.02
    # The light is that of the person who was seen, who is in the mask.
    assert len(Motion.load(template.scene_motion)) == len(run) == template.info.frames
    assert template.videos["mask"].frame(0).max() == 255


def test_feet_stand_still_on_the_ground_of_the_scene(motions, scene, tmp_path):
    _, motion, _ = staged(motions / "walk", scene.folder, tmp_path / "a", "--speed=0.7", "--turn=20")
    patches = list(sole_patches(motion))
    points = [in_world(motion, motion.vertices(frame)) for frame in range(len(motion))]
    tracks = np.array([[frame[patch].mean(0) for patch in patches] for frame in points]).swapaxes(0, 1)
    slides = []
    for track in tracks:
        still = (track[:, 2] < 0.015) & (np.linalg.norm(np.gradient(track, axis=0), axis=1) * 30 < 0.5)
        for part in np.split(np.flatnonzero(still), np.flatnonzero(np.diff(np.flatnonzero(still)) > 1) + 1):
            if len(part) >= 3:
                slides += np.linalg.norm(track[part, :2] - track[part, :2].mean(0), axis=1).tolist()
    assert len(slides) > len(motion)
    assert np.mean(slides) < 0.01


def test_a_post_covers_only_who_is_behind_it(motions, scene, tmp_path):
    behind, motion, record = staged(motions / "walk", scene.folder, tmp_path / "behind")
    assert behind.has_occluder
    (thing,) = record["metrics"]["things_in_front"]
    walk = Motion.load(scene.motion)
    assert thing["share"] == 1
    assert thing["distance_m"] == pytest.approx(walk.translation[:, 2].min() - 0.5, abs=0.3)
    # Twice as near to the camera: in front of the post.
    foot = project(Ground.of(walk).under(hips(walk, 0)) * [0.5, 1, 0.6], walk.camera)
    at = f"--at=[{foot[0]:.0f}, {min(foot[1], SIZE[1] - 1):.0f}]"
    front, motion, record = staged(motions / "walk", scene.folder, tmp_path / "front", at, "--turn=0")
    assert max(hips(motion, frame)[2] for frame in range(len(motion))) < thing["distance_m"]
    assert not front.has_occluder
    always, _, _ = staged(motions / "walk", scene.folder, tmp_path / "front", at, "--occluders=always")
    assert always.has_occluder
    never, _, _ = staged(motions / "walk", scene.folder, tmp_path / "behind", "--occluders=never")
    assert not never.has_occluder
    assert not (tmp_path / "behind" / "occ.mp4").exists(), "the one of the run before is gone"


def test_the_scenes_person_never_shows(motions, scene, tmp_path):
    template, _, _ = staged(motions / "run", scene.folder, tmp_path / "run", "--offset=0.4")
    original = [np.abs(frame.astype(int) - RED).max(2) < 90 for frame in scene.frames("vid")]
    assert max(red.sum() for red in original) > 200, "who is there in the scene"
    for empty, frame, front in zip(*(template.frames(name) for name in ("bk", "vid", "occ")), strict=True):
        shown = empty + (frame.astype(float) - empty) * (front[..., None] / 255)
        reddish = shown[..., 0] - shown[..., 1:].max(2) > 60
        assert not reddish.any()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A phone's picture, lying on its side with the tag that turns it upright; and the same upright."""
    folder = tmp_path_factory.mktemp("pictures")
    image = picture(800, 600)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 36  # a focal length of 36 mm on 24 x 36 mm
    Image.fromarray(np.rot90(image).copy()).save(folder / "-strand ü.jpg", quality=95, exif=exif)
    return folder


def test_a_person_in_a_picture_is_as_tall_as_said(motions, pictures, tmp_path):
    words = ("--at=[500, 560]", "--height=280", "--horizon=0.4", "--turn=10", "--short-side=300")
    template, motion, _ = staged(motions / "run", pictures / "-strand ü.jpg", tmp_path / "a", *words)
    assert (template.info.width, template.info.height) == (400, 300), "upright, at the size asked for"
    ground = Ground.of(motion)
    assert ground.camera[0] == pytest.approx(36 / np.hypot(36, 24) * 500, rel=0.01), "the lens of the file"
    foot = ground.under(hips(motion, 0))
    x, y = project(foot, ground.camera)
    assert (x, y) == pytest.approx((250, 280), abs=1.5), "half of the source's pixels"
    tall = foot + np.ptp(motion.rest_vertices[:, 2]) * ground.up
    assert y - project(tall, ground.camera)[1] == pytest.approx(140, abs=1)
    assert project(ground.forward * 1e6 - ground.height * ground.up, ground.camera)[1] == pytest.approx(
        120, abs=1
    )
    assert template.scene_motion is None
    assert template.videos["mask"].frame(3).max() == 0
    shares = [
        np.abs(a.astype(int) - b).mean()
        for a, b in zip(template.frames("vid"), template.frames("bk"), strict=True)
    ]
    assert max(shares) < 0.1


def test_a_picture_works_unattended_and_a_mask_stands_in_front(motions, pictures, tmp_path):
    inputs = (pictures / "-strand ü.jpg", tmp_path / "a", "--short-side=240", "--end=0.7")
    _, motion, record = staged(motions / "walk", *inputs)
    assert record["warnings"] == []
    pixels = np.concatenate(
        [project(motion.vertices(frame), motion.camera) for frame in range(0, len(motion), 6)]
    )
    inside = ((pixels > 0) & (pixels < motion.camera[3:])).all(1)
    assert inside.mean() > 0.97
    tall = np.ptp(project(motion.vertices(0), motion.camera)[:, 1]) / motion.camera[4]
    assert 0.25 < tall < 0.8
    ground = Ground.of(motion)
    near = min(float(hips(motion, frame) @ ground.forward) for frame in range(len(motion)))
    mask = tmp_path / "mask.png"
    Image.fromarray(post_at(ground, motion.camera[1], near - 0.8)).save(mask)
    template, _, _ = staged(motions / "walk", *inputs, f"--occluder={mask}")
    assert template.has_occluder
    Image.fromarray(post_at(ground, motion.camera[1], near + 4)).save(mask)
    template, _, _ = staged(motions / "walk", *inputs, f"--occluder={mask}")
    assert not template.has_occluder


def test_somebody_in_the_picture_shows_the_scale(motions, tmp_path):
    weights.fetch(["pose2sim-cam02"])
    source = tmp_path / "hall.jpg"
    Image.fromarray(VideoReader(weights.path("pose2sim-cam02")).frame(84)).save(source, quality=92)
    words = (source, tmp_path / "a", "--short-side=270", "--end=0.3", "--occluders=always")
    template, motion, record = staged(motions / "walk", *words)
    assert record["scene"]["ground_from"] == "person"
    # He stands from row 425 to row 1220 of 1920; who stands beside him is as tall, seen from above or not.
    mask = template.videos["mask"].frame(0) > 127
    rows = np.flatnonzero(mask.any(1)) * 4
    assert rows[[0, -1]] == pytest.approx([425, 1220], abs=40)
    ground, seen = Ground.of(motion), Motion.load(template.scene_motion)
    foot = ground.at_pixel(np.flatnonzero(mask[rows[-1] // 4]).mean(), rows[-1] / 4)
    tall = project(np.stack([foot, foot + np.ptp(seen.rest_vertices[:, 2]) * ground.up]), ground.camera)
    assert np.ptp(tall[:, 1]) * 4 == pytest.approx(np.ptp(rows), rel=0.12)
    assert (template.videos["occ"].frame(0) > 127)[mask].mean() > 0.9, "he can stand in front"


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    """A video of ten frames at 25 a second, each brighter than the one before, with a sound."""
    folder = tmp_path_factory.mktemp("videos")
    sound = folder / "sound.wav"
    rate = 8000
    tone = (np.sin(np.arange(rate) / rate * 2 * np.pi * 440) * 9000).astype("<i2")
    header = b"RIFF" + (36 + tone.nbytes).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += (1).to_bytes(2, "little") * 2 + rate.to_bytes(4, "little") + (2 * rate).to_bytes(4, "little")
    sound.write_bytes(header + b"\x02\0\x10\0data" + tone.nbytes.to_bytes(4, "little") + tone.tobytes())
    with VideoWriter(folder / "clip.mp4", 25, audio_from=sound) as writer:
        for number in range(10):
            writer.write(np.clip(picture()[:96, :160] // 4 + 18 * number, 0, 255).astype(np.uint8))
    return folder / "clip.mp4"


@pytest.mark.parametrize(
    ("repeat", "shown"),
    [
        ("back", [3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5]),
        ("loop", [3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3]),
        ("hold", [3, 4, 5, 6, 7, 8, 9] + [9] * 14),
    ],
)
def test_a_short_video_goes_on(motions, counting, tmp_path, repeat, shown):
    template, motion, record = staged(
        motions / "run", counting, tmp_path / "a", "--offset=0.12", f"--repeat={repeat}"
    )
    assert template.info.fps == 25, "the scene's rate"
    assert len(motion) == len(shown), "0.8 seconds of motion"
    levels = np.array([frame.mean() for frame in VideoReader(counting)])
    found = [int(np.abs(levels - frame.mean()).argmin()) for frame in template.frames("vid")]
    assert found == shown
    assert record["sound"] == "scene"
    assert has_audio(template.folder / "vid.mp4")
    assert record["metrics"]["slide_mm"] <= 10, "at another rate than it was made for"


def test_whose_sound_is_heard(motions, counting, scene, tmp_path):
    first, _, _ = staged(motions / "run", counting, tmp_path / "first")
    _, _, record = staged(first.folder, scene.folder, tmp_path / "second")
    assert record["sound"] == "motion"
    quiet, _, record = staged(first.folder, counting, tmp_path / "third", "--sound=none")
    assert record["sound"] is None
    assert not has_audio(quiet.folder / "vid.mp4")


@pytest.mark.parametrize(("word", "colour"), [("#203040", (32, 48, 64)), ("rebeccapurple", (102, 51, 153))])
def test_a_colour_shows_the_motion_as_it_was(motions, tmp_path, word, colour):
    template, motion, _ = staged(motions / "along", word, tmp_path / "a")
    own = Motion.load(motions / "along" / "motion.npz")
    assert np.abs(motion.translation - own.translation).max() < 0.005
    turns = Rotation.from_rotvec(motion.root_rotation) * Rotation.from_rotvec(own.root_rotation).inv()
    assert turns.magnitude().max() < 0.01
    assert template.plain
    assert not template.transparent
    for name in ("vid", "bk"):
        assert np.abs(template.videos[name].frame(5).astype(int) - colour).max() <= 3


def test_transparent_is_for_compositing(motions, tmp_path):
    template, motion, _ = staged(motions / "run", "transparent", tmp_path / "a", "--size=[160, 128]")
    assert template.transparent
    assert template.plain
    assert (template.info.width, template.info.height) == (160, 128)
    points = project(motion.vertices(10), motion.camera)
    assert points.min() > 0
    assert (points < [160, 128]).all()


def test_a_motion_travels_though_its_camera_went_along(motions, scene, tmp_path):
    _, run, _ = staged(motions / "run", scene.folder, tmp_path / "run")
    _, along, _ = staged(motions / "along", scene.folder, tmp_path / "along")
    assert np.abs(run.translation - along.translation).max() < 0.005


def test_what_cannot_be_staged_is_said(motions, scene, tmp_path, capfd):
    text, broken = tmp_path / "words.txt", tmp_path / "broken.png"
    text.write_text("no scene")
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    empty = tmp_path / "empty"
    empty.mkdir()
    run = motions / "run"
    for words, said in {
        (run, "nowhere"): "no such folder or file",
        (run, text): "cannot be opened as a video",
        (run, broken): "broken.png",
        (run, empty): "config.json",
        (run, motions / "walk"): "a motion without a scene",
        (empty, "white"): "motion.npz",
        (run, scene.folder, "--at=[5, 2]"): "horizon",
        (run, scene.folder, "--offset=60"): "begin within it",
        (run, "white", "--start=50"): "the motion lasts",
        (run, "white", "--size=[31, 32]"): "must be even",
    }.items():
        motion, where, *options = map(str, words)
        arguments = ["--motion", motion, "--scene", where, "-o", str(tmp_path / "out"), *options]
        assert main(arguments) == 3, words
        message = capfd.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("REJECTED: ")
        assert said in message
        assert not (tmp_path / "out" / "config.json").exists()
