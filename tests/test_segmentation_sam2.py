"""The backend sam2 of the segmentation, as a user drives it: command line, bad files, workflow."""

import json
import os
import pickle

import networks_sam2 as networks
import numpy as np
import pytest
import yaml
from safetensors.torch import load_file, save_file

from mimo import weights
from mimo.stage import Rejected
from mimo.video import VideoReader
from video_decomp.sam2 import loading
from video_decomp.segmentation.__main__ import main

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder with a tiny network of each kind."""
    return networks.write_all(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A template's folder with 14 frames, 320x180."""
    return networks.write_clip(tmp_path_factory.mktemp("template"))


def segment(template, files, *options, **other):
    """Run the command line with the tiny networks, or others of the folder in their place."""
    chosen = {"weights": "sam2", "detector": "detector", "key_points": "key_points"} | other
    places = [f"--{name.replace('_', '-')}={files / place}" for name, place in chosen.items()]
    return main(["--template", str(template), "--backend", "sam2", "--device", "cpu", *places, *options])


def record(template):
    return json.loads((template / "records" / "segmentation.json").read_text())


def masks(template):
    return list(VideoReader(template / "mask.mp4", gray=True))


def test_command_line_masks_the_clip(files, template):
    assert segment(template, files) == 0
    found, said = masks(template), record(template)
    assert len(found) == 14
    assert all(mask.shape == (180, 320) and np.isin(mask, (0, 255)).all() for mask in found)
    assert sum(mask.any() for mask in found) == said["metrics"]["frames_found"] > 10
    assert said["subject"]["people"] == 1
    assert said["weights"] == ["sam2.1-hiera-large", "rtdetr-v2-r50", "vitpose-base-simple"]
    assert set(said["weights"]) <= set(weights.registry().files)
    assert "not on the person" in " ".join(said["warnings"])  # random masks are not
    first = (template / "mask.mp4").read_bytes()
    assert segment(template, files) == 0
    assert (template / "mask.mp4").read_bytes() == first


def test_first_sam_and_matting_are_used_when_wanted(files, template):
    more = {"sam_weights": "sam.pth", "matting_weights": "matting"}
    assert segment(template, files, "--first-mask=sam", "--matting=true", "--batch=5", **more) == 0
    assert record(template)["weights"][-1] == "sam-vit-h"
    assert "vitmatte-small" in record(template)["weights"]
    assert all(np.isin(mask, (0, 255)).all() for mask in masks(template))


def test_subject_can_be_pointed_at_without_detection(files, template):
    none = {"detector": "nowhere", "key_points": "nowhere"}
    assert (
        segment(template, files, "--detect=false", "--subject=[200, 90]", "--subject-time=0.2", **none) == 0
    )
    assert record(template)["subject"]["frame"] == 6
    assert record(template)["weights"] == ["sam2.1-hiera-large"]


@pytest.mark.parametrize(
    ("options", "other", "reason"),
    [
        ([], {"detector": "blind"}, "no person found in any frame"),
        ([], {"key_points": "doubtful"}, "no full body"),
        (["--min-area=0.3"], {}, "person too small: at most 24.6"),
        (["--subject=[10, 10]"], {}, "no person found at subject (10.0, 10.0); people seen: frames 0-13"),
        (["--detect=false"], {}, "without detection the subject must be a point"),
        (["--detect=false", "--subject=[900, 20]"], {}, "outside the video: 320x180, 14 frames"),
        ([], {"detector": "key_points"}, "a network of type 'vitpose', not a person detector"),
        (
            [],
            {"weights": "sam.pth"},
            "not a checkpoint like sam2.1_hiera_large.pt; its tensors are image_encoder",
        ),
        ([], {"weights": "missing"}, "missing: not there (it is set in place of the registry's"),
    ],
)
def test_unusable_input_is_rejected_with_its_reason(files, template, capfd, options, other, reason):
    (template / "mask.mp4").unlink(missing_ok=True)
    assert segment(template, files, *options, **other) == 3
    assert reason in capfd.readouterr().err
    assert not (template / "mask.mp4").exists()


class Evil:
    def __reduce__(self):
        return os.system, ("echo hacked",)


def test_damaged_files_are_refused(files, tmp_path, capfd):
    page, hostile = tmp_path / "sam2.1_hiera_large.pt", tmp_path / "hostile.pt"
    page.write_text("<!doctype html><title>Sign in</title>")
    hostile.write_bytes(pickle.dumps({"model": Evil()}, protocol=2))
    for place in (page, hostile):
        with pytest.raises(Rejected, match=f"{place.name}: no file of weights"):
            loading.load_video_network(place)
    assert "hacked" not in capfd.readouterr().out
    tensors = load_file(files / "sam2" / "model.safetensors")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_bytes((files / "sam2" / "config.json").read_bytes())
    with pytest.raises(Rejected, match=r"folder: holds no model\.safetensors"):
        loading.load_video_network(tmp_path / "folder")
    del tensors["no_object_pointer"]
    save_file(tensors, tmp_path / "folder" / "model.safetensors")
    with pytest.raises(Rejected, match="1 missing keys, such as no_object_pointer"):
        loading.load_video_network(tmp_path / "folder")
    (tmp_path / "folder" / "model.safetensors").write_text("<html>")
    with pytest.raises(Rejected, match=r"folder: cannot be read as a SAM 2\.1 video network"):
        loading.load_video_network(tmp_path / "folder")


@pytest.mark.slow
def test_workflow_runs_it(checkout, files):
    (checkout.folder / "videos").mkdir()
    weights.fetch(["sports2d-demo"])
    (checkout.folder / "videos" / "walk.mp4").write_bytes(weights.path("sports2d-demo").read_bytes())
    own = {key: str(files / place) for key, place in
           {"weights": "sam2", "detector": "detector", "key_points": "key_points"}.items()}  # fmt: skip
    more = {
        "ingest": {"start": 3.0, "max_seconds": 0.3, "short_side": 180},
        "segmentation": {"backend": "sam2", "device": "cpu", **own},
    }
    (checkout.folder / "more.yaml").write_text(yaml.safe_dump(more))
    result = checkout.snakemake("--configfile", "more.yaml", "--", "templates/walk/mask.mp4")
    assert result.returncode == 0, result.stdout + result.stderr
    template = checkout.folder / "templates" / "walk"
    assert len(masks(template)) == len(VideoReader(template / "vid.mp4")) == 9
    assert record(template)["backend"] == "sam2"
