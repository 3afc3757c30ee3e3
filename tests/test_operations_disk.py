"""Disks that are full or can only be read, lost notes, wrong clocks: the same command goes on."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from operations import fault
from real_batch import RESULT, TEMPLATE, WOMAN, made, times

TOMORROW = 4_000_000_000


@contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """A small disk of its own as a folder; what was in the folder is out of sight meanwhile."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    result = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, text=True
    )
    if result.returncode:
        pytest.skip(f"disks cannot be mounted here: {result.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_full_disk(batch_copy, finished_batch):
    row = fault("the disk is full")
    results = batch_copy.folder / "results"
    before = times(batch_copy.folder)
    with disk(results, "size=64k"):
        full = batch_copy.snakemake()
        assert full.returncode == 1
        status = batch_copy.run("video_decomp.status")
        assert status.returncode == 1
        row.assert_seen(status.stdout)
        assert f"FAULT: {RESULT}: the disk is full" in full.stdout + full.stderr
        assert not [path for path in results.rglob("*") if path.is_file()]
        subprocess.run(["mount", "-o", "remount,size=64m", str(results)], check=True)
        result = row.recover(batch_copy)
        assert result.returncode == 0, result.stdout
        assert made(batch_copy.folder) == made(finished_batch.folder)
    assert times(batch_copy.folder) == before


@pytest.mark.slow
def test_limit_on_the_size_of_files(batch_copy):
    """What a full disk is to a stage where disks cannot be mounted: the encoder cannot write on."""
    result = batch_copy.folder / RESULT
    result.unlink()
    command = f"ulimit -f 16; python -m mimo.synthesis --template '{batch_copy.folder / 'template'}'"
    (batch_copy.folder / "template").symlink_to(batch_copy.folder / TEMPLATE)
    done = batch_copy.shell(f"{command} --character prepared/{WOMAN} --output results/out.mp4")
    assert done.returncode == 1
    assert "FAULT: results/out.mp4: no file may be that large here" in done.stdout
    assert not [path for path in (batch_copy.folder / "results").glob("*out*")]


@pytest.mark.slow
def test_read_only_folder(batch_copy, finished_batch):
    row = fault("a folder can only be read")
    results = batch_copy.folder / "results"
    with disk(results, "ro"):
        refused = batch_copy.snakemake()
        assert refused.returncode == 1
        row.assert_seen(refused.stdout + refused.stderr)
        subprocess.run(["mount", "-o", "remount,rw", str(results)], check=True)
        result = row.recover(batch_copy)
        assert result.returncode == 0, result.stdout
        assert made(batch_copy.folder) == made(finished_batch.folder)


@pytest.mark.slow
def test_lost_notes_of_snakemake_and_a_clock_that_was_wrong(batch_copy, finished_batch):
    row, dated = fault("the folder `.snakemake` is lost"), fault("a file is dated in the future")
    folder = batch_copy.folder
    shutil.rmtree(folder / ".snakemake")
    before = times(folder)
    result = row.recover(batch_copy)
    assert result.returncode == 0
    row.assert_seen(result.stdout)

    (folder / RESULT).unlink()
    os.utime(folder / TEMPLATE / "config.json", (TOMORROW, TOMORROW))
    result = dated.recover(batch_copy)
    assert result.returncode == 0, result.stdout
    dated.assert_seen(result.stdout)
    assert times(folder) | {"config.json": 0} == before | {"config.json": 0}
    assert made(folder) == made(finished_batch.folder)


@pytest.mark.slow
def test_killed_while_writing_the_report(batch_copy):
    """The results are whole by then."""
    row = fault("killed while the report was written")
    folder = batch_copy.folder
    report = folder / "results" / "report.html"
    report.unlink()
    (report.parent / ".report.part-0123abcd.html").write_text("<html>")
    row.assert_seen(batch_copy.shell("snakemake --cores 2").stdout)
    assert not report.exists()
    assert row.recover(batch_copy).returncode == 0
    assert report.stat().st_size > 1000
    assert list(report.parent.glob(".report*")) == []
