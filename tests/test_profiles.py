"""The profiles: what they share, that every line is explained, and that Snakemake takes them."""

import re
from pathlib import Path

import pytest
import yaml

from mimo.run import slurm_jobs

ROOT = Path(__file__).parents[1]
PROFILES = {path.parent.name: path for path in sorted((ROOT / "profiles").glob("*/profile.yaml"))}
ON_CLUSTERS = sorted(PROFILES.keys() - {"default"})


def read(name):
    return yaml.safe_load(PROFILES[name].read_text())


def test_there_is_one_for_every_kind_of_cluster():
    assert sorted(PROFILES) == ["cluster-generic", "default", "kubernetes", "slurm"]


def test_default_holds_what_suits_every_run():
    assert read("default") == {
        "keep-going": True,
        "rerun-incomplete": True,
        "nolock": True,
        "show-failed-logs": True,
        "max-checksum-file-size": "100GB",
        "scheduler": "greedy",
        "scheduler-greedy-omit-prioritize-by-temp-and-input": True,
        "scheduler-subsample": 8,
        "resources": {"gpu": 1},
        "set-resource-scopes": {"gpu": "local"},
    }


@pytest.mark.parametrize("name", ON_CLUSTERS)
def test_others_repeat_default_word_for_word(name):
    """A workflow profile takes the place of profiles/default instead of adding to it."""
    shared = PROFILES["default"].read_text().partition("\n\n")[2].rstrip()
    assert shared in PROFILES[name].read_text()


@pytest.mark.parametrize("name", PROFILES)
def test_every_line_is_explained(name):
    lines = PROFILES[name].read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        key = re.match(r"(\s*)([\w-]+):", line)
        if key and not before.endswith(":") and not before.lstrip().startswith("#"):
            pytest.fail(f"{PROFILES[name]}: no comment above: {line}")


@pytest.mark.parametrize("name", ["slurm", "cluster-generic"])
def test_snakemake_takes_it(checkout, name):
    plugin = f"snakemake_executor_plugin_{name.replace('-', '_')}"
    pytest.importorskip(plugin, reason="pip install -e '.[cluster]'")
    (checkout.folder / "videos").mkdir()
    (checkout.folder / "videos" / "walk.mp4").write_bytes(b"x")
    planned = checkout.run("snakemake", "-n", "--workflow-profile", f"profiles/{name}")
    assert planned.returncode == 0, planned.stderr
    assert f"profiles/{name}" in planned.stderr


def test_jobs_of_a_killed_run_are_found_by_their_name():
    assert read("slurm")["slurm-jobname-prefix"] + "_" == slurm_jobs.PREFIX
