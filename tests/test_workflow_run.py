"""The real workflow on real footage: killed twice, finished, with bad videos in the folder."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml

from mimo import weights
from mimo.demo import CHARACTERS, picture
from mimo.template import Template
from mimo.video import VideoReader, VideoWriter

GOOD, NOBODY = "walk é 'n' run", "-nobody"
INGEST = {"start": 3.0, "max_seconds": 0.5, "short_side": 240}
OVERRIDES = {
    GOOD: {"ingest": INGEST | {"crop": [700, 450, 540, 540]}},
    NOBODY: {"ingest": INGEST | {"crop": [200, 450, 300, 300]}},
}
BAD = [NOBODY, "corrupt", "three frames"]


def write_inputs(folder):
    """The woman walking, a part of the same clip without her, a corrupt file, and a clip of three frames."""
    weights.fetch([*weights.select([]), "sports2d-demo"])
    footage = weights.path("sports2d-demo")
    for name in ("videos", "characters"):
        (folder / name).mkdir()
    for name in (GOOD, NOBODY):
        (folder / "videos" / f"{name}.mp4").write_bytes(footage.read_bytes())
    (folder / "videos" / "corrupt.mp4").write_bytes(random.Random(1).randbytes(50_000))
    with VideoWriter(folder / "videos" / "three frames.mp4", 30) as writer:
        for _ in range(3):
            writer.write(np.full((240, 320, 3), 90, np.uint8))
    _, number, box = CHARACTERS["woman"]
    picture(footage, number).crop(box).save(folder / "characters" / "-wöman.png")
    (folder / "more.yaml").write_text(yaml.safe_dump({"overrides": OVERRIDES}, allow_unicode=True))


def start(checkout, *options):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "more.yaml", *options]
    return subprocess.Popen(
        command,
        cwd=checkout.folder,
        env=checkout.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(process, words):
    """Read what Snakemake prints until a line has some words."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return
    raise AssertionError("".join(lines))


@pytest.mark.slow
def test_killed_twice_then_finished_beside_bad_videos(checkout):
    folder = checkout.folder
    write_inputs(folder)
    template = folder / "templates" / GOOD
    result = folder / "results" / GOOD / "-wöman.mp4"
    good_only = ["--config", f"exclude={BAD}"]

    first = start(checkout, *good_only)
    wait_for(first, "fitting the body")
    first.kill()  # the pose stage goes on as an orphan
    first.wait()
    masked = (template / "mask.mp4").stat().st_mtime_ns

    second = start(checkout, *good_only)
    wait_for(second, "rendering the video")
    os.killpg(second.pid, signal.SIGKILL)
    second.wait()
    assert not result.exists()

    third = start(checkout)
    output = third.communicate()[0]
    assert third.returncode == 1, output
    assert (template / "mask.mp4").stat().st_mtime_ns == masked
    frames = len(Template.load(template).frame_numbers)
    assert frames >= 12
    assert len(VideoReader(result)) == frames
    assert [path.name for path in (folder / "results").glob("*/*.mp4")] == ["-wöman.mp4"]
    leftovers = [path for path in folder.rglob("*.part*")]
    assert leftovers == []

    status = checkout.run("video_decomp.status", "--configfile", "more.yaml")
    assert status.returncode == 1
    rows = {line[11:].split("  ")[0]: line for line in status.stdout.splitlines() if line.startswith("video")}
    assert "segmentation failed: REJECTED" in rows[NOBODY]
    assert "ingest failed: REJECTED" in rows["corrupt"]
    assert "ingest failed: REJECTED" in rows["three frames"]
    assert "failed" not in rows[GOOD]
    report = (folder / "results" / "report.html").read_text()
    assert report.count("REJECTED") >= 3
    for name in BAD:
        assert f'">{name}</a>' in report

    assert checkout.planned("--configfile", "more.yaml", *good_only) == {}
