"""The image gets the files that a run needs and the pinned packages. Building it needs Docker: not tested."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from conftest import CHECKOUT

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def copied():
    """Sources of the Dockerfile's COPY lines."""
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        yield from line.split()[:-1]


def test_image_has_what_a_run_needs_and_nothing_is_ignored():
    sources = set(copied())
    assert set(CHECKOUT) | {"config.gpu.yaml", "pyproject.toml"} <= sources
    assert all((ROOT / source).exists() for source in sources)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == allowed


def test_image_has_the_pinned_packages():
    def printed(*options):
        command = [sys.executable, ROOT / "docker" / "requirements.py", *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    groups = re.search(r"requirements\.py ([a-z ]+) >", DOCKERFILE)[1].split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    assert set(groups) == set(optional) - {"dev"}
    assert set(printed(*groups)) == {*project["dependencies"], *(p for g in groups for p in optional[g])}
    assert printed("--only", "torch") == [
        line for line in project["dependencies"] if line.startswith("torch==")
    ]
    python = re.search(r"^FROM python:(\d+\.\d+)-", DOCKERFILE, re.MULTILINE)[1]
    assert project["requires-python"].startswith(f">={python}")
