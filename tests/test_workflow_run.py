"""Bad videos never stop a batch: each has its reason, others are finished, `exclude:` silences them."""

import json
import random
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from operations import fault
from real_batch import GOOD, INGEST, RESULT, WALKING, configure, made, times

from mimo.video import VideoWriter

REASONS = {
    "-nobody": "segmentation",
    "corrupt": "ingest",
    "empty": "ingest",
    "sound only": "ingest",
    "text": "ingest",
    "three frames": "ingest",
    "truncated": "ingest",
}
"""Bad videos, and the stage that rejects each."""


def write_bad_videos(folder):
    """A part of the good clip where nobody is, and files that people have among their videos."""
    footage = (folder / f"{GOOD}.mp4").read_bytes()
    ffmpeg("-t", "1", "-i", folder / f"{GOOD}.mp4", "-c", "copy", folder / "truncated.mp4")
    whole = (folder / "truncated.mp4").read_bytes()
    for name, content in {
        "-nobody": footage,
        "corrupt": random.Random(1).randbytes(50_000),
        "empty": b"",
        "text": b"This is no video.\n" * 100,
        "truncated": whole[: len(whole) // 2],
    }.items():
        (folder / f"{name}.mp4").write_bytes(content)
    with VideoWriter(folder / "three frames.mp4", 30) as writer:
        for _ in range(3):
            writer.write(np.full((240, 320, 3), 90, np.uint8))
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", folder / "sound only.mp4")


def ffmpeg(*arguments):
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *map(str, arguments)], check=True)


@pytest.mark.slow
def test_bad_videos_do_not_stop_the_others(batch_copy, finished_batch):
    row = fault("some videos cannot be used")
    folder = batch_copy.folder
    write_bad_videos(folder / "videos")
    nobody = {"ingest": INGEST | {"crop": [200, 450, 300, 300]}}
    configure(batch_copy, overrides={GOOD: WALKING, "-nobody": nobody})
    (folder / RESULT).unlink()
    before = times(folder)

    run = batch_copy.snakemake()
    assert run.returncode == 1
    assert times(folder) == before
    expected = made(finished_batch.folder)
    assert {path: digest for path, digest in made(folder).items() if path in expected} == expected
    assert [path.parent.name for path in (folder / "results").glob("*/*.mp4")] == [GOOD]

    status = batch_copy.run("video_decomp.status", "--format", "json")
    assert status.returncode == 1
    rows = {row["name"]: row for row in json.loads(status.stdout) if row["kind"] == "video"}
    assert {name: row["stage"] for name, row in rows.items() if row["state"] == "failed"} == REASONS
    reasons = {rows[name]["reason"] for name in REASONS}
    assert len(reasons) == len(REASONS)
    report = (folder / "results" / "report.html").read_text()
    for name, stage in REASONS.items():
        row.assert_seen(rows[name]["reason"])
        assert stage != "ingest" or f"{name}.mp4: " in rows[name]["reason"]
        assert name in report
    assert report.count("REJECTED") >= len(REASONS)

    configure(batch_copy, exclude=list(REASONS))
    result = row.recover(batch_copy)
    assert result.returncode == 0, result.stdout
    assert batch_copy.run("video_decomp.status").returncode == 0
