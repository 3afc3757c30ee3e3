"""The report and the status table of a run where some things went wrong."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from mimo.template import FrameCrop, TemplateConfig, time_crop
from mimo.video import VideoWriter

STAGES = ("ingest", "segmentation", "pose", "occlusion", "inpainting")
SPOILED = '<B>"spoiled"</B>'


class Page(HTMLParser):
    """What a browser would show and fetch."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.addresses, self.pictures, self.names = [], [], [], set()
        self._code = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._code = tag in ("style", "script")
        for name, value in attributes:
            if name == "id":
                self.names.add(value)
            if name in ("src", "href"):
                (self.pictures if tag == "img" else self.addresses).append(value)

    def handle_endtag(self, tag):
        self._code = False

    def handle_data(self, data):
        if data.strip() and not self._code:
            self.texts.append(" ".join(data.split()))


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_log(stage, name, text, seconds=None):
    path = Path("logs") / stage / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if seconds:
        path.with_suffix(".tsv").write_text(f"s\tmax_rss\n{seconds}\t345.6\n")


def write_video(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 30) as writer:
        for number in range(8):
            writer.write(np.full((48, 64, 3), 20 * number, np.uint8))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder after a run: one video done, one rejected, one that crashed, one not started."""
    monkeypatch.chdir(tmp_path)
    config = Path(__file__).parent.parent / "config.yaml"
    Path("config.yaml").write_text(config.read_text())
    for name in ("walk", "nobody", SPOILED.replace("/", "-"), "later"):
        write_video(Path("videos") / f"{name}.mp4")
    Path("characters").mkdir()
    Image.new("RGB", (40, 60), "red").save("characters/anna.png")

    for stage in STAGES:
        record = {
            "stage": stage,
            "backend": "mediapipe",
            "settings": {"network": "full"},
            "metrics": {"frames": 8, "error": {"mean_px": 1.23456}},
            "weights": ["blazepose-detector", "home-made"],
        }
        warnings = ["the person is small"] if stage == "segmentation" else []
        write_json(Path(f"templates/walk/records/{stage}.json"), record | {"warnings": warnings})
        write_log(stage, "walk", "done in 4.0 s\n", 4.0)
    write_video(Path("templates/walk/vid.mp4"))
    Image.new("RGB", (300, 200), "blue").save("templates/walk/preview.png")
    TemplateConfig(
        fps=30, time_crop=time_crop(30, 0, 8), frame_crop=FrameCrop(), pipeline={"stages": {}}
    ).write(Path("templates/walk/config.json"))
    Path("prepared/anna").mkdir(parents=True)
    Image.new("RGB", (60, 60), "red").save("prepared/anna/image.png")
    write_json(Path("prepared/anna/character.json"), {"stage": "character", "backend": "mediapipe"})
    write_video(Path("results/walk/anna.mp4"))
    write_json(
        Path("results/walk/anna.json"),
        {"stage": "synthesis", "backend": "mimo", "metrics": {"frames": 8}, "weights": ["mimo-pose-guider"]},
    )

    write_json(Path("templates/nobody/records/ingest.json"), {"metrics": {"frames": 8}})
    write_log("segmentation", "nobody", "x\rREJECTED: vid.mp4: no person; take another video\n")
    write_log(
        "ingest",
        SPOILED.replace("/", "-"),
        "Traceback (most recent call last):\n  File\nOSError: disk <full>\n",
    )
    return tmp_path


def call(module, *options):
    return subprocess.run([sys.executable, "-m", module, *options], capture_output=True, text=True)


def test_report(project):
    result = call("mimo.report")
    assert result.returncode == 0, result.stderr
    text = Path("results/report.html").read_text()
    page = Page(text)
    shown = " | ".join(page.texts)

    assert "1 of 4 | videos done" in shown
    assert "1 of 4 | results done" in shown
    failures = shown[: shown.index("Videos and results")]
    assert "segmentation | REJECTED: vid.mp4: no person; take another video | nobody | log" in failures
    assert "snakemake --cores all -- templates/nobody/records/segmentation.json" in failures
    assert 'ingest | OSError: disk <full> | <B>"spoiled"<-B> | log' in failures
    assert "video nobody failed at segmentation" in shown  # of the result that needs it
    assert "2.5 s" in shown  # a template is made at 20 s / 8 frames
    assert "error.mean_px | 1.235" in shown
    assert "the person is small" in shown
    assert "Apache-2.0" in shown
    assert "home-made | not in the registry: look up its terms" in shown
    for said in (shown, result.stdout):
        assert "NOT FOR COMMERCIAL USE: the terms of mimo-pose-guider do not permit it" in said
        assert "LOOK UP THE TERMS of home-made" in said
    assert "Models used: Apache-2.0 (blazepose-detector)" in result.stdout

    assert len(page.pictures) >= 6
    assert all(address.startswith("data:image/webp;base64,") for address in page.pictures)
    linked = [address for address in page.addresses if not address.startswith(("data:", "#"))]
    assert linked
    assert all((project / "results" / unquote(address)).exists() for address in linked)
    inside = {address[1:] for address in page.addresses if address.startswith("#")}
    assert inside <= page.names
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r'"data:[^"]*"', "", text))


def test_damaged_record_does_not_stop_the_report(project):
    Path("templates/walk/records/pose.json").write_text("{")
    assert call("mimo.report").returncode == 0
    assert "pose.json: damaged" in Path("results/report.html").read_text()


def test_name_that_is_a_variable_to_snakemake_is_refused(project):
    Path("videos/<name>.mp4").touch()
    result = call("mimo.report")
    assert result.returncode == 3
    assert "<name> cannot stand in a name; rename it" in result.stderr
