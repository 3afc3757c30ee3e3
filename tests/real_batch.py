"""A small real batch, a woman who walks and a picture of her, and the workflow as a process to kill."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from conftest import Checkout

from mimo import weights
from mimo.demo import CHARACTERS, picture
from mimo.files import sha256

GOOD, WOMAN = "walk é 'n' run", "-wöman"
RESULT = f"results/{GOOD}/{WOMAN}.mp4"
TEMPLATE = f"templates/{GOOD}"
INGEST = {"start": 3.0, "max_seconds": 0.5, "short_side": 240}
WALKING = {"ingest": INGEST | {"crop": [700, 450, 540, 540]}}
PATIENCE = 300.0
"""Seconds in which anything that a test waits for has happened, however busy the computer is."""


def write_inputs(checkout: Checkout) -> None:
    """Half a second of footage, the picture, and their settings in ``config.yaml``."""
    weights.fetch([*weights.select([]), "sports2d-demo"])
    footage = weights.path("sports2d-demo")
    for name in ("videos", "characters"):
        (checkout.folder / name).mkdir()
    (checkout.folder / "videos" / f"{GOOD}.mp4").write_bytes(footage.read_bytes())
    _, number, box = CHARACTERS["woman"]
    picture(footage, number).crop(box).save(checkout.folder / "characters" / f"{WOMAN}.png")
    configure(checkout, overrides={GOOD: WALKING})


def configure(checkout: Checkout, **values) -> None:
    """Change keys of ``config.yaml``."""
    path = checkout.folder / "config.yaml"
    config = yaml.safe_load(path.read_text()) | values
    path.write_text(yaml.safe_dump(config, allow_unicode=True))


def made(folder: Path) -> dict[str, str]:
    """Digests of all videos, motions and pictures that a run has made, by path."""
    names = ("templates", "prepared", "results")
    paths = [path for name in names for path in (folder / name).rglob("*.*")]
    assert not [path for path in paths if ".part-" in path.name], "something half-written is left"
    return {
        str(path.relative_to(folder)): sha256(path)
        for path in paths
        if path.suffix in (".mp4", ".npz", ".png") and path.is_file()
    }


def times(folder: Path) -> dict[str, int]:
    """When each video and motion of the template was made."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / TEMPLATE).iterdir() if path.is_file()}


def wait_until(what: Callable[[], object]) -> None:
    """Wait for a condition, at most `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.01)


class Run:
    """The workflow at work in a checkout: ``snakemake --cores 2`` in a process group of its own."""

    def __init__(self, checkout: Checkout) -> None:
        self.folder = checkout.folder
        self.output = checkout.folder / "output.txt"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                ["snakemake", "--cores", "2"],
                cwd=checkout.folder,
                env=checkout.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stage(self, record: str) -> int:
        """Process number of the stage that makes a file, as soon as it is there."""
        claim = (self.folder / record).with_name(f".{Path(record).name}.maker")
        wait_until(lambda: self.process.poll() is not None or (claim.is_file() and claim.read_text()))
        assert self.process.poll() is None, self.output.read_text()
        found = re.match(r"process (\d+) on ", claim.read_text())
        assert found
        return int(found[1])

    def writing(self, path: str) -> None:
        """Wait until a file is being written."""
        file = self.folder / path
        start = f".{file.stem}.part-"
        wait_until(
            lambda: (
                self.process.poll() is not None
                or any(found.name.startswith(start) for found in file.parent.iterdir())
            )
        )
        assert self.process.poll() is None, self.output.read_text()

    def kill(self) -> None:
        """``kill -9`` of Snakemake alone."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """``kill -9`` of Snakemake and all that it started, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> str:
        """Wait until it ends; gives what it said."""
        self.process.wait(PATIENCE)
        return self.output.read_text()


def is_alive(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
