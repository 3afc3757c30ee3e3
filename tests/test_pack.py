"""Packing: what the stages made becomes a template, or is rejected with a reason."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mimo.files import sha256
from mimo.stage import Rejected
from mimo.template import Template
from mimo.video import VideoWriter
from video_decomp.preview import BACKGROUND

FRAMES, SIZE = 12, (96, 64)
STAGES = ("ingest", "segmentation", "pose", "occlusion", "inpainting")


def pack(folder, *options):
    return subprocess.run(
        [sys.executable, "-m", "video_decomp.pack", f"--template={folder}", *options],
        capture_output=True,
        text=True,
    )


def write_videos(folder, names=("vid", "mask", "sdc", "bk"), frames=FRAMES):
    """A red square (the person) crosses a green scene; a blue post stands in its way."""
    colours = {"vid": (220, 40, 40), "sdc": (40, 220, 220), "bk": (30, 140, 30)}
    for name in names:
        grey = name in ("mask", "occ")
        with VideoWriter(folder / f"{name}.mp4", 30, kind="mask" if grey else "colour") as writer:
            for number in range(frames):
                image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
                if name in ("vid", "bk"):
                    image[:] = (30, 140, 30)
                left = 4 + number * 6
                if name != "occ":
                    image[20:50, left : left + 20] = colours.get(name, (255, 255, 255))
                else:
                    image[:, 60:70] = 255
                writer.write(np.ascontiguousarray(image[..., 0]) if grey else image)


def write_records(folder, **occlusion):
    for stage in STAGES:
        record = {
            "stage": stage,
            "backend": "b",
            "settings": {},
            "metrics": {"frames": FRAMES},
            "weights": [],
        }
        if stage == "segmentation":
            record |= {"first_frame": 2, "last_frame": 10, "weights": ["blazepose-detector", "mine"]}
        if stage == "occlusion":
            record |= {"occluders": 0, "occ_sha256": None} | occlusion
        (folder / "records").mkdir(exist_ok=True)
        (folder / "records" / f"{stage}.json").write_text(json.dumps(record))


@pytest.fixture
def folder(tmp_path):
    """Everything the stages make, of a clip where nothing occludes."""
    folder = tmp_path / "-my clip ü"
    folder.mkdir()
    write_videos(folder)
    write_records(folder)
    np.savez(folder / "motion.npz", model="anny")
    return folder


def test_packs_a_whole_template(folder):
    result = pack(folder, "--preview-times=5")
    assert result.returncode == 0, result.stderr
    config = json.loads((folder / "config.json").read_text())
    assert config["fps"] == 30
    assert config["time_crop"] == {"start_idx": 2, "end_idx": 11}
    assert config["frame_crop"] == {"start_idx_x": 0, "end_idx_x": 96, "start_idx_y": 0, "end_idx_y": 64}
    assert set(config["pipeline"]["stages"]) == set(STAGES)
    assert config["pipeline"]["files"]["vid.mp4"] == sha256(folder / "vid.mp4")
    assert config["pipeline"]["licences"] == {"blazepose-detector": "Apache-2.0", "mine": "unknown"}
    assert config["pipeline"]["name"] == "-my clip ü"
    template = Template.load(folder)
    assert template.frame_numbers.tolist() == list(range(2, 11))
    assert template.motion == folder / "motion.npz"


def test_preview_shows_what_was_made(folder):
    assert pack(folder, "--preview-times=3").returncode == 0
    with Image.open(folder / "preview.png") as image:
        without = np.array(image)
    write_videos(folder, ["occ"])
    write_records(folder, occluders=1, occ_sha256=sha256(folder / "occ.mp4"))
    assert pack(folder, "--preview-times=3").returncode == 0
    with Image.open(folder / "preview.png") as image:
        sheet = np.array(image)
    assert sheet.shape[0] == without.shape[0]
    assert sheet.shape[1] > without.shape[1]  # a wide clip: one column more
    tiles = sheet[-68:-4, -100:-4].astype(int)  # the occluder's column, last time
    post, scene = tiles[10:50, 61:69].mean((0, 1)), tiles[10:15, 5:50].mean((0, 1))
    assert post[2] > post[1] > post[0]
    assert scene[1] > 2 * scene[2]
    assert (sheet[2, 2] == BACKGROUND).all()


def spoil_length(folder):
    write_videos(folder, ["bk"], frames=FRAMES - 1)


def spoil_record(folder):
    (folder / "records" / "pose.json").unlink()


def spoil_motion(folder):
    (folder / "motion.npz").unlink()


def spoil_occluder(folder):
    write_records(folder, occluders=1, occ_sha256="0" * 64)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_length, "bk.mp4 has 11 frames"),
        (spoil_record, "pose.json: missing"),
        (spoil_motion, "motion.npz: missing"),
        (spoil_occluder, "occ.mp4: missing, though something passes in front"),
    ],
)
def test_what_does_not_fit_is_no_template(folder, spoil, words):
    assert pack(folder).returncode == 0
    spoil(folder)
    result = pack(folder)
    assert result.returncode == 3
    assert result.stderr.startswith("REJECTED: ")
    assert words in result.stderr
    assert not (folder / "config.json").exists()


def test_occluder_made_by_hand_is_taken(folder):
    for frames in (FRAMES, FRAMES - 1):
        assert pack(folder).returncode == 0
        write_videos(folder, ["occ"], frames=frames)
        with pytest.raises(Rejected, match=r"occ.mp4: was (added|changed) after|has 11 frames"):
            Template.load(folder)
    result = pack(folder)
    assert result.returncode == 3
    assert "occ.mp4 has 11 frames" in result.stderr
    write_videos(folder, ["occ"])
    assert pack(folder).returncode == 0
    assert Template.load(folder).has_occluder


def test_unknown_setting(folder):
    result = pack(folder, "--settings", '{"columns": 3}')
    assert result.returncode != 0
    assert "unknown key 'columns' (known: preview_times)" in result.stderr
