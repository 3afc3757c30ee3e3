"""Cameras, crops, hands and smoothing of the pose backend hmr2."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mimo.body.camera import project
from video_decomp.hmr2.crops import SIDE, cut, in_picture, person_box, picture_camera, square_around
from video_decomp.hmr2.hands import HAND_POINTS, attach, hand_squares
from video_decomp.hmr2.smoothing import smooth_rotations, smooth_values

# By MIMO's own code (video_decomp/run.py, commit fcc4c75): wrists, and the last joint of the left fingers.
RIGHT_WRIST, LEFT_WRIST = (0.62008, -0.15631, -1.13873), (0.63399, 3.65779, 0.6876)
LEFT_FINGER = (-0.56551, 0.50858, 0.06676)


def test_cameras_lead_back_to_the_picture():
    """What the network's camera sees in the crop, ours sees where the crop has it from."""
    rng = np.random.default_rng(1)
    camera = picture_camera(1280, 720)
    assert camera[0] == 5000 / 256 * 1280
    for box in ([200, 100, 420, 650], [900, 300, 1279, 500]):
        square = square_around(np.array(box, float))
        assert square.side == max(box[3] - box[1], (box[2] - box[0]) * 4 / 3)
        weak = np.array([0.8, 0.1, -0.2])
        points = rng.normal(0, 0.4, (50, 3))
        points[:, 2] = 0  # beyond that plane both cameras differ, as they should
        before_crop = points + np.array([weak[1], weak[2], 2 * 5000 / (SIDE * weak[0])])
        in_crop = 5000 * before_crop[:, :2] / before_crop[:, 2:] + SIDE / 2
        wanted = (in_crop - SIDE / 2) * square.side / SIDE + [square.x, square.y]
        found = project(points + in_picture(weak[None], [square], camera)[0], camera)
        assert np.abs(found - wanted).max() < 1e-3


def test_crops_show_what_stands_in_the_box():
    image = np.zeros((300, 400, 3), np.uint8)
    image[140:160, 240:260] = (250, 100, 20)
    square = square_around(np.array([200, 50, 300, 250.0]))
    seen = cut(image, square)
    middle = (np.array([250, 150]) - [square.x, square.y]) * SIDE / square.side + SIDE / 2
    rows, columns = np.nonzero(seen[..., 0] > 125)
    assert [columns.mean() + 0.5, rows.mean() + 0.5] == pytest.approx(middle, abs=1)
    far = square_around(np.array([-500, -1000, 800, 1000.0]), mirrored=True)
    small = cut(image, far)
    x = SIDE / 2 - (250 - far.x) * SIDE / far.side
    rows, columns = np.nonzero(small[..., 0] > 0.5 * small[..., 0].max())
    assert columns.mean() + 0.5 == pytest.approx(x, abs=1)
    assert small.max() < 250  # smoothed before it was made small
    assert person_box(np.zeros((50, 50), np.uint8)) is None
    speck = np.zeros((50, 50), np.uint8)
    speck[3, 3] = speck[20:40, 10:20] = 255
    assert person_box(speck).tolist() == [10, 20, 20, 40]


def test_hands_join_arms_as_in_the_reference():
    arm = Rotation.from_rotvec(0.4 * np.sin(0.7 * np.arange(72)).reshape(24, 3)).as_matrix()
    hand = Rotation.from_rotvec(0.6 * np.cos(0.9 * np.arange(48)).reshape(16, 3)).as_matrix()
    person = np.tile(np.eye(3), (52, 1, 1))
    person[:22] = arm[:22]
    attach(person, 0, hand)
    attach(person, 1, hand)
    for joint, vector in ((21, RIGHT_WRIST), (20, LEFT_WRIST), (36, LEFT_FINGER)):
        expected = Rotation.from_rotvec(vector).as_matrix()
        assert person[joint] == pytest.approx(expected, abs=2e-5)
    assert person[51] == pytest.approx(hand[15])
    assert person[:20] == pytest.approx(arm[:20])


def test_a_hand_is_seen_by_more_than_three_sure_points():
    points = np.zeros((133, 3))
    left, right = HAND_POINTS
    points[right] = [[100 + n, 50 + 2 * n, 0.9 if n < 4 else 0.5] for n in range(21)]
    points[left] = [[10, 10, 0.9 if n < 3 else 0.1] for n in range(21)]
    missing, square = hand_squares(points)
    assert missing is None
    assert (square.x, square.y, square.mirrored) == (101.5, 53, False)
    assert square.side == 2 * 6
    points[left] = points[right]
    assert hand_squares(points)[0].mirrored


def test_smoothing_damps_by_frequency_and_keeps_time():
    times = np.arange(240) / 30
    weights_ = np.ones(240)
    slow, at_cutoff = np.sin(2 * np.pi * times), np.sin(2 * np.pi * 6 * times)
    smooth = smooth_values(np.stack([slow, at_cutoff, 3 * times], 1), weights_, 6.0, 30.0)
    middle = slice(60, 180)
    assert smooth[middle, 0] == pytest.approx(slow[middle], abs=0.01)
    assert smooth[middle, 1] == pytest.approx(at_cutoff[middle] / 2, abs=0.01)
    assert smooth[:, 2] == pytest.approx(3 * times, abs=1e-6)
    turn = Rotation.from_euler("y", 3 * times[:, None]).as_matrix()[:, None]  # through more than a half turn
    assert np.abs(smooth_rotations(turn, weights_, 6.0, 30.0) - turn).max() < 0.03
