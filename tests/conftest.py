"""What several test files share: a copied checkout, small real inputs, and a way to call Snakemake in it."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

# A test run in the background of a shell ignores Ctrl-C, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
CHECKOUT = ("Snakefile", "config.yaml", "rules", "profiles", "envs", "mimo", "video_decomp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: the processes share the files, and end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.get_closest_marker("slurm") is None, item.path not in slow))


@dataclass
class Checkout:
    """A copy of the repository's workflow and packages that a test may change."""

    folder: Path

    def run(self, *command: str | Path, **more) -> subprocess.CompletedProcess:
        """Run a Python module or a Snakemake command line in it, with its own packages."""
        return subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            **more,
        )

    def shell(self, command: str, **more) -> subprocess.CompletedProcess:
        """Run a shell command in it, as a user would; standard error goes where standard output goes."""
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | more
        return subprocess.run(["bash", "-c", command], cwd=self.folder, env=self.environment, **settings)

    def snakemake(self, *options: str) -> subprocess.CompletedProcess:
        """Run Snakemake with two cores."""
        return self.run("snakemake", "--cores", "2", *options)

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which `python` and the packages are those that the tests run with."""
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"PYTHONPATH": str(self.folder), "PATH": programs}

    def planned(self, *options: str) -> dict[str, int]:
        """Jobs that a dry run plans: their number by rule, without `all`."""
        result = self.snakemake("-n", *options)
        assert result.returncode == 0, result.stdout + result.stderr
        lines = (result.stdout + result.stderr).split("Job stats:")
        if len(lines) == 1:
            assert "Nothing to be done" in lines[0]
            return {}
        table = [line.split() for line in lines[-1].splitlines()[3:]]
        rows = table[: next(i for i, row in enumerate(table) if row[0] == "total")]
        return {rule: int(count) for rule, count in rows if rule != "all"}


def copy_checkout(folder: Path) -> Checkout:
    """Copy the workflow and the packages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CHECKOUT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return Checkout(folder)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh copy."""
    return copy_checkout(tmp_path / "checkout")


@pytest.fixture(scope="module")
def planner():
    """Makes plans of the workflow."""
    from planner import Planner

    with Planner() as planner:
        yield planner


@pytest.fixture(scope="session")
def finished_batch(tmp_path_factory) -> Checkout:
    """A real batch of one video and one character, finished; to be read only. Made once for all processes."""
    from real_batch import write_inputs

    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (shared / "finished-batch").open("a+") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        note.seek(0)
        if made := note.read():
            return Checkout(Path(made))
        checkout = copy_checkout(tmp_path_factory.mktemp("batch") / "finished")
        write_inputs(checkout)
        result = checkout.shell("snakemake --cores 2")
        assert result.returncode == 0, result.stdout
        note.write(str(checkout.folder))
        return checkout


@pytest.fixture
def batch_copy(finished_batch: Checkout, tmp_path: Path) -> Checkout:
    """A copy of it that a test may change."""
    return Checkout(shutil.copytree(finished_batch.folder, tmp_path / "batch"))


@pytest.fixture(scope="module")
def one_thread():
    """Let torch use one thread: networks as small as the golden ones only lose by threads that wait."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def golden_weights(tmp_path_factory):
    """Folder with the golden set's weights, in the official layout; to be read only."""
    folder = tmp_path_factory.mktemp("weights")
    zipfile.ZipFile(ROOT / "tests" / "golden" / "weights.zip").extractall(folder)
    return folder
