"""Two people who cross in real footage: each is followed, masked and looked at as themselves."""

import cv2
import numpy as np
import pytest

from mimo import weights
from mimo.video import VideoReader
from video_decomp.blazepose import LandmarkNetwork
from video_decomp.ingest.__main__ import main as ingest
from video_decomp.pose.observations import look_at, mask_box
from video_decomp.segmentation.__main__ import main as segment
from video_decomp.segmentation.rivals import cover, start_of_all

MAN, WOMAN = (0.37, 0.437), (0.254, 0.354)
"""In the last frame: his shorts and her shirt, who stands before him; shares of width and height."""


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    """The mask of a man behind whom, and then before whom, a woman stands."""
    weights.fetch([*weights.select([]), "pose2sim-multi-cam03"])
    template = tmp_path_factory.mktemp("crossing") / "man"
    cut = ["--fps=12", "--short-side=256"]
    assert ingest([str(weights.path("pose2sim-multi-cam03")), f"--template={template}", *cut]) == 0
    assert segment([f"--template={template}", "--subject=[150, 185]", "--subject-time=0"]) == 0
    return template


def last(template, name):
    video = VideoReader(template / f"{name}.mp4", gray=name == "mask")
    return video.frame(len(video) - 1)


def test_who_is_half_hidden_is_not_mixed_up_with_who_hides_them(hidden):
    for number, mask in enumerate(VideoReader(hidden / "mask.mp4", gray=True)):
        share = (mask > 127).mean()
        assert 0.03 < share < 0.12, number
    mask = last(hidden, "mask")
    height, width = mask.shape
    around = {
        name: mask[int(y * height) - 6 : int(y * height) + 6, int(x * width) - 4 : int(x * width) + 4]
        for name, (x, y) in {"man": MAN, "woman": WOMAN}.items()
    }
    assert (around["man"] > 127).mean() > 0.9
    assert (around["woman"] > 127).mean() < 0.1


def test_landmarks_are_those_of_whose_mask_it_is(hidden):
    image, mask = last(hidden, "vid"), last(hidden, "mask")
    network = LandmarkNetwork("full", 1)
    near = cv2.dilate((mask > 127).astype(np.uint8), np.ones((15, 15))) > 0

    def on_him(looks):
        points = np.concatenate([look.landmarks for look in looks]).astype(int)
        points = points.clip(0, [mask.shape[1] - 1, mask.shape[0] - 1])
        return near[points[:, 1], points[:, 0]].mean()

    told = look_at(image, mask_box(mask), network, 640.0, mask)
    assert on_him(told) > 0.7
    assert on_him(told) > on_him(look_at(image, mask_box(mask), network, 640.0))


def test_somebody_is_covered_with_the_colours_around():
    image = np.full((80, 80, 3), 50, np.uint8)
    mask = np.zeros((80, 80), bool)
    image[20:60, 30:50], mask[20:60, 30:50] = 200, True
    assert np.abs(cover(image, mask).astype(int) - 50).max() <= 1
    assert image[40, 40, 0] == 200


@pytest.mark.parametrize(
    ("people", "start"),
    [
        ([{0: 1, 7: 1, 14: 1}], 14),
        ([{0: 1, 7: 1, 14: 1}, {0: 1, 7: 1}], 7),
        ([{0: 1, 7: 1}, {14: 1, 21: 1}], 7),
        ([{7: 1}, {0: 1, 14: 1}], 3),
        ([{}], 3),
    ],
)
def test_everybody_is_followed_as_from_the_start(people, start):
    assert start_of_all([one for one in people if one], 16, earliest=3) == start
