"""The status command: one row an item, reasons of failures, exit codes."""

import csv
import fcntl
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

STAGES = ("ingest", "segmentation", "pose", "occlusion", "inpainting")
SPOILED, UNWRITTEN = 'b <"spoiled"> ü', "unwritten"
REASONS = {
    "nobody": ("segmentation", "REJECTED: vid.mp4: no person; take another video"),
    SPOILED: ("ingest", "OSError: disk <full>"),
    UNWRITTEN: ("ingest", "FAULT: templates/unwritten/vid.mp4: the disk is full; free some space"),
    "lost": ("ingest", "stopped before its end (killed, or out of memory?), or its files were deleted"),
}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder after a run: one video done, four failed, one not started, one template of another origin."""
    monkeypatch.chdir(tmp_path)
    write(Path("config.yaml"), (ROOT / "config.yaml").read_text())
    for name in ("walk", "later", *REASONS):
        write(Path("videos") / f"{name}.mp4", "")
    write(Path("characters/anna.png"), "")
    for stage in (*STAGES, "template"):
        if stage != "template":
            write(
                Path(f"templates/walk/records/{stage}.json"), {"backend": "mine" if stage == "pose" else ""}
            )
        write(Path(f"logs/{stage}/walk.log"), "done in 4.0 s\n")
        write(Path(f"logs/{stage}/walk.tsv"), "s\tmax_rss\n4.0\t345.6\n")
    config = {"fps": 30, "time_crop": {"start_idx": 0, "end_idx": 9}}
    write(Path("templates/walk/config.json"), config | {"pipeline": {}})
    write(Path("templates/dance/config.json"), config)
    write(Path("prepared/anna/character.json"), {"backend": "mediapipe"})
    write(Path("results/walk/anna.json"), {"backend": "puppet"})
    write(Path("results/walk/anna.mp4"), "")
    write(Path("templates/nobody/records/ingest.json"), {})
    for name, (stage, reason) in REASONS.items():
        start = "Traceback (most recent call last):\n  File\n" if "OSError" in reason else "reading\r50 %\n"
        write(Path(f"logs/{stage}/{name}.log"), start + ("" if name == "lost" else f"{reason}\n"))
    return tmp_path


def status(*options):
    return subprocess.run(
        [sys.executable, "-m", "video_decomp.status", *options],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_rows(folder):
    result = status()
    assert result.returncode == 1, result.stderr
    rows = {tuple(line.split()[:2]): " ".join(line.split()) for line in result.stdout.splitlines()}
    assert rows["video", "walk"] == "video walk done template 24 s"
    assert rows["template", "dance"] == "template dance done"
    assert rows["character", "anna"] == "character anna done character mediapipe"
    assert rows["video", "later"] == "video later waiting"
    assert f"nobody failed segmentation mediapipe {REASONS['nobody'][1]}" in rows["video", "nobody"]
    results = [" ".join(line.split()) for line in result.stdout.splitlines() if line.startswith("result")]
    assert "result walk with anna done synthesis puppet" in results
    assert "result nobody with anna blocked video nobody failed at segmentation" in results
    assert "result dance with anna waiting" in results
    summary = result.stdout.splitlines()[-1]
    assert summary.startswith(
        "videos: 4 failed, 1 waiting, 1 done; templates: 1 done; characters: 1 done; results: "
    )


def test_for_programs(folder):
    result = status("--format", "json")
    assert result.returncode == 1
    rows = {(row["kind"], row["name"]): row for row in json.loads(result.stdout)}
    assert len(rows) == 6 + 1 + 1 + 7
    for name, (stage, reason) in REASONS.items():
        row = rows["video", name]
        assert (row["state"], row["stage"], row["reason"]) == ("failed", stage, reason)
    assert rows["video", "walk"]["seconds"] == 24.0
    assert rows["result", "nobody with anna"]["state"] == "blocked"

    failed = status("--failed", "--format", "tsv")
    assert failed.returncode == 1
    table = list(csv.DictReader(io.StringIO(failed.stdout), dialect="excel-tab"))
    assert {row["name"]: (row["stage"], row["reason"]) for row in table} == REASONS
    assert all(row["state"] == "failed" for row in table)


def test_exit_codes(folder):
    write(Path("more.yaml"), yaml.safe_dump({"exclude": list(REASONS)}, allow_unicode=True))
    assert status("--configfile", "more.yaml").returncode == 4
    nothing = status("--configfile", "more.yaml", "--failed", "--format", "json")
    assert json.loads(nothing.stdout) == []
    write(Path("more.yaml"), yaml.safe_dump({"exclude": [*REASONS, "later", "dance"]}, allow_unicode=True))
    assert status("--configfile", "more.yaml").returncode == 0
    write(Path("more.yaml"), "exclude: walk")
    assert status("--configfile", "more.yaml").returncode == 3


def test_while_a_run_is_at_work(folder):
    (folder / ".snakemake").mkdir()
    with (folder / ".snakemake" / "run.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        rows = json.loads(status("--format", "json").stdout)
    assert {row["name"]: row["state"] for row in rows if row["kind"] == "video"}["lost"] == "running"
