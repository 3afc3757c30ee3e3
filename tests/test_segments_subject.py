"""Who is followed through the segments of a video with several people; segments of production backends."""

import json
import shutil

import networks_sam2 as networks
import numpy as np
import pytest

from mimo import weights
from mimo.video import VideoReader
from video_decomp.ingest.__main__ import main as ingest
from video_decomp.segmentation.__main__ import main as segmentation
from video_decomp.segments.cut import main as cut
from video_decomp.segments.mask import main as join
from video_decomp.segments.survey import main as survey


def in_segments(template, parts, overlap, backend, options):
    """Segment a template in parts; the records of the segments."""
    assert survey(["segmentation", f"--template={template}", f"--backend={backend}", *options]) == 0
    for index in range(parts):
        whole = [f"--template={template}", f"--overlap={overlap}"]
        assert cut([*whole, f"--part={index}", f"--parts={parts}"]) == 0
        part = template / "segments" / f"{index:03}"
        told = f"--survey={template / 'segments' / 'segmentation.npz'}"
        assert segmentation([f"--template={part}", f"--backend={backend}", told, *options]) == 0
    assert join([f"--template={template}", f"--parts={parts}"]) == 0
    return json.loads((template / "records" / "segmentation.json").read_text())


def masks(template):
    return np.array(list(VideoReader(template / "mask.mp4", gray=True)))


@pytest.fixture(scope="module")
def duet(tmp_path_factory):
    """Two people who cross: from frame 14 on one hides the other, and no key frame shows the hidden one."""
    weights.fetch([*weights.select([]), "pose2sim-multi-cam03"])
    template = tmp_path_factory.mktemp("duet") / "duet"
    options = ["--fps=15", "--short-side=300"]
    assert ingest([str(weights.path("pose2sim-multi-cam03")), f"--template={template}", *options]) == 0
    return template


def test_the_smaller_person_is_followed_through_all_segments(duet, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    shutil.copy(duet / "vid.mp4", whole)
    subject = ["--settings", json.dumps({"subject": 1})]
    assert segmentation([f"--template={whole}", *subject]) == 0
    said = in_segments(duet, 3, 0.27, "mediapipe", subject)
    assert np.array_equal(masks(duet), masks(whole))
    expected = json.loads((whole / "records" / "segmentation.json").read_text())
    for key in ("subject", "first_frame", "last_frame", "missing_frames"):
        assert said[key] == expected[key]
    # Without being told, the second segment would take the larger person.
    middle = duet / "segments" / "001"
    before = masks(middle)
    assert segmentation([f"--template={middle}"]) == 0
    largest = masks(middle)
    shared = (before & largest > 0).sum() / ((before | largest) > 0).sum()
    assert shared < 0.5


@pytest.mark.slow
def test_production_segmentation_works_on_segments(tmp_path):
    files = networks.write_all(tmp_path / "networks")
    template = networks.write_clip(tmp_path / "walk")
    places = {"weights": "sam2", "detector": "detector", "key-points": "key_points"}
    options = ["--device=cpu", *(f"--{name}={files / place}" for name, place in places.items())]
    said = in_segments(template, 2, 0.2, "sam2", options)
    assert len(masks(template)) == 14
    assert said["metrics"]["frames"] == 14
    assert said["segments"]["parts"] == 2
    assert said["subject"]["people"] == 1
    assert said["weights"] == ["rtdetr-v2-r50", "sam2.1-hiera-large", "vitpose-base-simple"]
