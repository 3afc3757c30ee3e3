"""Production backends on segments of a video: tiny random networks, so only the mechanism is tested."""

import json
import shutil

import numpy as np
import pytest
import yaml
from conftest import ROOT
from test_production_chain import networks as networks
from test_production_chain import settings

from mimo import weights
from mimo.body.motion import Motion
from mimo.video import VideoReader

FRAMES = 17


@pytest.mark.slow
def test_production_backends_work_on_segments(checkout, networks):
    weights.fetch(["pose2sim-cam02"])
    folder = checkout.folder
    shutil.copy(ROOT / "config.gpu.yaml", folder)
    for name in ("videos", "characters"):
        (folder / name).mkdir()
    shutil.copy(weights.path("pose2sim-cam02"), folder / "videos" / "balance.mp4")
    divided = {"ingest": {"fps": 10, "short_side": 128}, "segments": {"length": 1, "overlap": 0.3}}
    (folder / "more.yaml").write_text(yaml.safe_dump(settings(networks) | divided))

    result = checkout.snakemake("--configfile", "config.gpu.yaml", "more.yaml", "--", "templates")
    assert result.returncode == 0, result.stdout + result.stderr

    template = folder / "templates" / "balance"
    for name in ("vid", "mask", "sdc", "bk"):
        assert len(VideoReader(template / f"{name}.mp4")) == FRAMES
    records = json.loads((template / "config.json").read_text())["pipeline"]["stages"]
    for stage in ("segmentation", "pose", "occlusion", "inpainting"):
        assert records[stage]["segments"]["parts"] == 2
    # One build, of those that the segments were estimated with.
    motion = Motion.load(template / "motion.npz")
    shapes = [Motion.load(template / "segments" / f"00{part}" / "motion.npz").shape for part in (0, 1)]
    assert motion.shape == pytest.approx(np.mean(shapes, axis=0), abs=0.1)
    assert motion.visible.any()
