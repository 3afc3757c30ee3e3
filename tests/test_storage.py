"""Folders in buckets of a real S3-compatible server: a batch, a second computer, and what can go wrong.

The workflow is the real one; the stages are the stand-ins of the batch benchmark, which copy small files.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from operations import fault
from s3_server import SECRET, S3Server

from benchmarks import batch
from mimo.files import sha256
from mimo.fingerprint import ROOT
from mimo.run.stages import STAGES
from mimo.stage import Rejected
from mimo.storage.addresses import COPIES, address, local_folder

MADE = ("templates", "prepared", "results")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a bucket."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@dataclass
class Computer:
    """A folder to run the workflow in, on some computer."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def snakemake(self, *options: str) -> subprocess.CompletedProcess:
        return self.run(*batch.snakemake(*options))

    def status(self) -> dict[str, str]:
        """State of everything by name."""
        result = self.run(sys.executable, "-m", "video_decomp.status", "--format", "json")
        return {row["name"]: row["state"] for row in batch.status_rows(result.stdout)}

    def copy_of(self, bucket: str) -> Path:
        return self.folder / COPIES / bucket


def another_computer(folder: Path, bucket: str, environment: dict[str, str]) -> Computer:
    """One with nothing but a configuration that names a bucket."""
    folder.mkdir()
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    inputs = {name: f"s3://{bucket}/in/{name}" for name in ("videos", "characters")}
    config |= inputs | {name: f"s3://{bucket}/{name}/" for name in MADE}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return Computer(folder, environment)


def add_occluder(material: Path) -> None:
    """Let the stand-in of the occlusion stage find something: it writes the undeclared occ.mp4."""
    made = material / STAGES["occlusion"]
    shutil.copy(material / STAGES["segmentation"] / "mask.mp4", made / "occ.mp4")
    record = made / "records" / "occlusion.json"
    values = json.loads(record.read_text()) | {"occ_sha256": sha256(made / "occ.mp4")}
    record.write_text(json.dumps(values))
    config = material / STAGES["template"] / "config.json"
    packed = json.loads(config.read_text())
    packed["pipeline"]["occ_sha256"] = values["occ_sha256"]
    config.write_text(json.dumps(packed))


def content(client, bucket: str) -> dict[str, bytes]:
    """Everything that was made, by key; the report tells times."""
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]
    return {
        key: client.get_object(Bucket=bucket, Key=key)["Body"].read()
        for key in keys
        if key.startswith(MADE) and not key.endswith("report.html")
    }


@pytest.mark.slow
def test_batch_in_a_bucket(server, tmp_path):
    client, bucket = server.client(), "films"
    client.create_bucket(Bucket=bucket)
    local = Computer(tmp_path / "local", batch.prepare(tmp_path / "local", videos=3, bad=1))
    add_occluder(tmp_path / "local" / "material")
    for name in ("videos", "characters"):
        for path in (local.folder / name).iterdir():
            client.upload_file(str(path), bucket, f"in/{name}/{path.name}")
    bad = next(path.stem for path in (local.folder / "videos").glob("* bad for *"))
    without_bad = ("--config", f"exclude=[{bad}]")
    environment = local.environment | server.environment

    one = another_computer(tmp_path / "one", bucket, environment)
    first = one.snakemake()
    assert first.returncode == 1, first.stdout
    assert f"no good for {STAGES['ingest']}" in first.stdout
    assert "Report: s3://films/results/report.html" in first.stdout
    assert local.snakemake().returncode == 1
    expected = {
        str(path.relative_to(local.folder)): path.read_bytes()
        for name in MADE
        for path in (local.folder / name).rglob("*")
        if path.is_file() and path.name != "report.html"
    }
    assert content(client, bucket) == expected
    assert "templates/video 0000/occ.mp4" in expected
    assert not [
        path for path in one.folder.rglob("*") if path.is_file() and SECRET in path.read_text("latin1")
    ]

    two = another_computer(tmp_path / "two", bucket, environment)
    assert "Nothing to be done" in two.snakemake("-n", *without_bad).stdout
    assert two.status()["video 0000 with anna"] == "done"
    client.delete_object(Bucket=bucket, Key="results/video 0000/anna.mp4")
    again = two.snakemake(*without_bad)
    assert again.returncode == 0, again.stdout
    assert "rendering the video" in again.stdout
    assert "finding" not in again.stdout
    assert (two.copy_of(bucket) / "templates" / "video 0000" / "occ.mp4").is_file()
    assert content(client, bucket) == expected

    shutil.rmtree(one.folder / ".snakemake" / "storage")
    assert "Nothing to be done" in one.snakemake(*without_bad).stdout


@pytest.mark.slow
def test_what_can_go_wrong(server, checkout, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    config = yaml.safe_load((checkout.folder / "config.yaml").read_text())
    (checkout.folder / "config.yaml").write_text(yaml.safe_dump(config | {"videos": "s3://cinema/videos"}))

    missing = fault("a bucket is missing")
    missing.assert_seen(checkout.shell(f"{missing.command} -n").stdout)
    client = server.client()
    client.create_bucket(Bucket="cinema")
    client.put_object(Bucket="cinema", Key="videos/walk.mp4", Body=b"a video")
    assert missing.recover(checkout, "-n").returncode == 0

    refused = fault("wrong credentials for a bucket")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    output = checkout.shell(f"{refused.command} -n").stdout
    refused.assert_seen(output)
    assert "Traceback" not in output
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    down = fault("the storage server is down")
    server.stop()
    try:
        output = checkout.shell(f"{down.command} -n").stdout
    finally:
        server.start()
    down.assert_seen(output)
    assert "Traceback" not in output
    assert down.recover(checkout, "-n").returncode == 0
    assert refused.recover(checkout, "-n").returncode == 0


def test_without_a_bucket_nothing_of_it_is_imported():
    look = "import sys, mimo.report.page; print([name for name in sys.modules if 'boto' in name])"
    result = subprocess.run(
        [sys.executable, "-c", look],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "value", ["s3://", "s3:///videos", "s3://bucket/../other", "s3://bucket/what?", "s3://a//b"]
)
def test_addresses_that_cannot_be_used(value):
    with pytest.raises(ValueError, match="give s3://BUCKET"):
        local_folder(value)


def test_addresses():
    folder = local_folder("s3://bucket/some/videos/")
    assert folder == COPIES / "bucket" / "some" / "videos"
    assert address(folder / "walk é.mp4") == "s3://bucket/some/videos/walk é.mp4"
    assert local_folder("videos") == "videos"
    assert address("videos/walk.mp4") is None


def test_segments_are_refused():
    from mimo.run.project import Project

    with pytest.raises(Rejected, match="segments"):
        Project.load({"videos": "s3://bucket/videos", "segments": {"length": 60}})
