import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimo import weights
from mimo.video import VideoReader
from video_decomp.blazepose import LandmarkNetwork, PersonDetector
from video_decomp.body_region import Landmark, Roi, roi_from_box, roi_from_landmarks

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def networks():
    weights.fetch(["blazepose-detector", "blazepose-landmarks-full", "sports2d-demo"])
    return PersonDetector(), LandmarkNetwork()


@pytest.fixture(scope="module")
def walker(networks):
    """A walking woman, 420 px tall, with what MediaPipe itself says about her."""
    frame = VideoReader(weights.path("sports2d-demo")).frame(85)[450:994, 800:1500]
    return frame, json.loads((DATA / "blazepose_mediapipe.json").read_text())


def distances(a, b):
    return np.linalg.norm(np.asarray(a) - np.asarray(b), axis=1)


def test_agrees_with_mediapipe(networks, walker):
    image, expected = walker
    found = networks[1].run(image, Roi(*expected["roi"]))
    # MediaPipe samples half a cell (1 px here) off centre, which accounts for most of the difference.
    assert np.median(distances(found.image[:, :2], np.array(expected["image"])[:, :2])) < 2.0
    assert distances(found.world, expected["world"]).mean() < 0.012
    assert np.abs(found.visibility - expected["visibility"]).max() < 0.15


def test_detector_finds_the_same_region_as_mediapipe(networks, walker):
    image, expected = walker
    best = networks[0].detect(image)[0]
    x, y, side, angle = expected["roi"]
    assert best.score > 0.9
    assert np.hypot(best.roi.x - x, best.roi.y - y) < 6
    assert best.roi.side == pytest.approx(side, rel=0.05)
    assert best.roi.angle == pytest.approx(angle, abs=0.05)


def test_turned_picture_gives_turned_landmarks(networks, walker):
    image, expected = walker
    roi = Roi(*expected["roi"])
    upright = networks[1].run(image, roi)
    turned_image = np.ascontiguousarray(np.rot90(image, -1))  # clockwise: (x, y) -> (height - y, x)
    height = image.shape[0]
    turned = networks[1].run(turned_image, Roi(height - roi.y, roi.x, roi.side, roi.angle + np.pi / 2))
    expected_image = np.stack([height - upright.image[:, 1], upright.image[:, 0]], axis=1)
    expected_world = np.stack([-upright.world[:, 1], upright.world[:, 0], upright.world[:, 2]], axis=1)
    assert distances(turned.image[:, :2], expected_image).max() < 2.0
    assert distances(turned.world, expected_world).max() < 0.03
    mask = np.rot90(upright.mask_in_image(*image.shape[:2]), -1) > 0.5
    turned_mask = turned.mask_in_image(*turned_image.shape[:2]) > 0.5
    assert (mask & turned_mask).sum() / (mask | turned_mask).sum() > 0.98


def test_small_person_is_found_only_by_looking_closely(networks, walker):
    image, _ = walker
    wide = np.full((640, 2400, 3), 128, np.uint8)
    wide[300:572, 1700:2050] = cv2.resize(image, (350, 272), interpolation=cv2.INTER_AREA)
    detector, network = networks
    person = detector.detect_small(wide)[0]
    found = network.run_twice(wide, person.roi)
    assert found.score > 0.9
    feet = found.image[[Landmark.LEFT_ANKLE, Landmark.RIGHT_ANKLE], :2]
    assert ((feet > (1700, 480)) & (feet < (2050, 572))).all()


def test_regions_from_box_and_landmarks_hold_the_person(networks, walker):
    image, _ = walker
    network = networks[1]
    from_box = network.run_twice(image, roi_from_box(255, 70, 500, 485))
    again = network.run(image, roi_from_landmarks(from_box.image))
    assert from_box.score > 0.9
    assert again.score > 0.9
    assert np.median(distances(from_box.image[:, :2], again.image[:, :2])) < 5


def test_region_maps_pixels_there_and_back():
    roi = Roi(40.0, 30.0, 32.0, 0.7)
    image = np.zeros((64, 80), np.uint8)
    image[25:36, 34:47] = 255
    patch = roi.crop(image, 64)
    back = roi.paste(patch, 64, 80)
    assert ((back > 127) != (image > 127)).sum() < 20
