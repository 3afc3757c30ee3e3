"""What runs again after a change: that stage and its dependants, and nothing else.

The outputs are stand-ins that ``snakemake --touch`` signs as made by the present code and settings; what is
tested is the plan, by Snakemake's own dry run, with the real stages' modules, backends and settings.
"""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import pytest
import yaml
from conftest import ROOT, Checkout, copy_checkout
from operations import fault
from pydantic import ValidationError

from mimo import weights
from mimo.files import sha256
from mimo.run.project import Project
from mimo.run.stages import STAGES, main_module
from mimo.template import FrameCrop, TemplateConfig, time_crop

MADE = ("vid.mp4", "mask.mp4", "sdc.mp4", "bk.mp4", "motion.npz", "preview.png")
RECORDS = ("ingest", "segmentation", "pose", "occlusion", "inpainting")
PREPARED = ("image.png", "mask.png", "body.npz", "character.json")
VIDEOS, CHARACTERS = ("walk", '-a b\'ünï "q" (1)'), ("-anna", "bo b")
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

OTHERS = ("motion", "group", "staging")  # test_motion_workflow.py, test_workflow_jobs.py
OF_VIDEOS = tuple(stage for stage in STAGES if stage not in OTHERS)
ALL = dict.fromkeys(OF_VIDEOS, 2) | {"synthesis": 4}
OLD = 1_000_000_000


def with_dependants(stage: str, videos: int = 2) -> dict[str, int]:
    """Jobs of a stage and of all that come after it, for each of so many videos with two characters."""
    rules = {stage} | DEPENDANTS[stage]
    return {rule: 2 * videos if rule == "synthesis" else videos for rule in rules}


def fill(checkout: Checkout) -> None:
    """Write videos, pictures and everything made of them; in `walk` something passes in front."""
    folder = checkout.folder
    paths = []
    for video in VIDEOS:
        template = folder / "templates" / video
        paths += [folder / "videos" / f"{video}.MP4", *(template / name for name in MADE)]
        paths += [template / "records" / f"{stage}.json" for stage in RECORDS]
        paths += [folder / "results" / video / f"{c}{end}" for c in CHARACTERS for end in (".mp4", ".json")]
    for character in CHARACTERS:
        paths.append(folder / "characters" / f"{character}.Jpg")
        paths += [folder / "prepared" / character / name for name in PREPARED]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    occluder = folder / "templates" / "walk" / "occ.mp4"
    occluder.write_text("what passes in front")
    passing = {"occ_sha256": sha256(occluder)}
    (occluder.parent / "records" / "occlusion.json").write_text(json.dumps(passing))
    write_config(checkout, VIDEOS[0], passing)
    write_config(checkout, VIDEOS[1], {"occ_sha256": None})


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


@dataclass
class Change:
    """One line of the table.

    Attributes:
        what: the change.
        planned: jobs by rule that are planned then.
        make: makes the change in a checkout's folder.
        options: of Snakemake.
    """

    what: str
    planned: dict[str, int]
    make: Callable[[Path], object] = lambda folder: None
    options: list[str] = field(default_factory=list)


def replaced(path: str, time: int | None = None) -> Callable[[Path], object]:
    """Put another file in the place of one, perhaps an old one."""

    def make(folder: Path) -> None:
        (folder / path).write_text("another")
        if time is not None:
            os.utime(folder / path, (time, time))

    return make


def deleted(path: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).unlink()


def touched(path: str, time: float | None = None) -> Callable[[Path], object]:
    return lambda folder: os.utime(folder / path, time and (time, time))


def code(module: str, text: str = "CHANGED = True") -> Callable[[Path], object]:
    """Add a line to a module."""

    def make(folder: Path) -> None:
        path = folder / f"{module.replace('.', '/')}.py"
        path.write_text(f"{path.read_text()}\n{text}\n")

    return make


def all_touched_backwards(folder: Path) -> None:
    """Times as a copy that keeps none may leave them: every input newer than what was made of it."""
    for number, path in enumerate(sorted(folder.rglob("*.*"), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (OLD - number, OLD - number))


def without_snakemakes_folder(*makes: Callable[[Path], object]) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        shutil.rmtree(folder / ".snakemake")
        for other in makes:
            other(folder)

    return make


def template_of_others(pipeline: dict | None) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        for name in ("vid", "mask", "sdc", "bk"):
            path = folder / "templates" / "dance (2)" / f"{name}.mp4"
            path.parent.mkdir(exist_ok=True)
            path.write_text(name)
        write_config(Checkout(folder), "dance (2)", pipeline)

    return make


def added(*paths: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / path).write_text("new") for path in paths]


ONE = {"template": {"preview_times": 3}}
OCCLUDER = "templates/walk/occ.mp4"
SYNTHESIS_OF_ONE = {"synthesis": 2}
PACKED_AGAIN = {"template": 1, "synthesis": 2}

CHANGES = [
    Change("nothing", {}),
    # settings
    Change("a setting of one video", PACKED_AGAIN, options=[f"overrides={json.dumps({'walk': ONE})}"]),
    Change("a folder of logs", {}, options=["logs=elsewhere"]),
    # code
    Change("code of a backend that is not used", {}, code("mimo.synthesis.mimo")),
    Change("shared code", ALL, code("mimo.files")),
    Change("a comment in a backend", {}, code("video_decomp.pose.anny", "# A comment changes nothing.")),
    Change("a text in shared code", {}, code("mimo.stage", '"""A text changes nothing."""')),
    # sources
    Change("a video replaced", with_dependants("ingest", 1), replaced("videos/walk.MP4")),
    Change("a video replaced by an older one", with_dependants("ingest", 1),
           replaced("videos/walk.MP4", OLD)),
    Change("a picture replaced by an older one", {"character": 1, "synthesis": 2},
           replaced("characters/bo b.Jpg", OLD)),
    Change("a video touched", {}, touched("videos/walk.MP4")),
    Change("a video from tomorrow", {}, touched("videos/walk.MP4", 4_000_000_000)),
    Change("a video added", with_dependants("ingest", 1), added("videos/new.webm")),
    Change("a picture added", {"character": 1, "synthesis": 2},
           added("characters/new.webp", "characters/.hidden.png", "characters/notes.txt")),
    Change("a video excluded", {"character": 1, "synthesis": 1}, added("characters/new.webp"),
           ['exclude=["walk"]']),
    Change("pairs chosen", {"character": 1, "synthesis": 1}, added("characters/new.webp"),
           ['pairs=[{"template": "walk", "character": "new"}]']),
    Change("a template of the reference implementation", SYNTHESIS_OF_ONE, template_of_others(None)),
    Change("a template from another folder", SYNTHESIS_OF_ONE, template_of_others({})),
    # what was made
    Change("vid.mp4 deleted", with_dependants("ingest", 1), deleted("templates/walk/vid.mp4")),
    Change("bk.mp4 deleted", with_dependants("inpainting", 1), deleted("templates/walk/bk.mp4")),
    Change("a record deleted", with_dependants("pose", 1), deleted("templates/walk/records/pose.json")),
    Change("mask.mp4 retouched", with_dependants("segmentation", 1) | {"segmentation": 0},
           replaced("templates/walk/mask.mp4")),
    Change("occ.mp4 deleted", with_dependants("occlusion", 1), deleted(OCCLUDER)),
    Change("occ.mp4 retouched", PACKED_AGAIN, replaced(OCCLUDER)),
    Change("occ.mp4 replaced by an older one", PACKED_AGAIN, replaced(OCCLUDER, OLD)),
    Change("occ.mp4 added by hand", PACKED_AGAIN, added(f"templates/{VIDEOS[1]}/occ.mp4")),
    Change("a result deleted", {"synthesis": 1}, deleted("results/walk/bo b.mp4")),
    Change("a prepared character deleted", {"character": 1, "synthesis": 2},
           deleted("prepared/bo b/character.json")),
    # copies: Snakemake's own notes are in .snakemake
    Change("a fresh clone with everything copied, times kept", {}, without_snakemakes_folder()),
    Change("a fresh clone with everything copied, times lost", ALL,
           without_snakemakes_folder(all_touched_backwards)),
    Change("times lost, but not .snakemake", {}, all_touched_backwards),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_what_runs_again(planner, finished, change):
    change.make(finished.folder)
    options = ["--config", *change.options] if change.options else []
    assert planner.plan(finished, *options) == {rule: n for rule, n in change.planned.items() if n}


@pytest.mark.parametrize("stage", OF_VIDEOS)
def test_changed_setting(planner, signed, stage, monkeypatch):
    monkeypatch.chdir(signed.folder)
    change = other_settings(Project.read([Path("config.yaml")]), stage)
    assert (
        set(planner.plan(signed, "--config", f"{stage}={json.dumps(change)}")) == {stage} | DEPENDANTS[stage]
    )


@pytest.mark.parametrize("stage", OF_VIDEOS)
def test_changed_code(planner, finished, stage, monkeypatch):
    """Code of a stage's backend, or of a stage that has none."""
    monkeypatch.chdir(finished.folder)
    backend = Project.read([Path("config.yaml")]).backend(stage)
    code(f"{STAGES[stage]}.{backend}" if backend else main_module(stage))(finished.folder)
    expected = {stage} | DEPENDANTS[stage] | SHARED_BACKENDS.get(stage, set())
    assert set(planner.plan(finished)) == expected


def other_settings(project: Project, stage: str) -> dict:
    """One setting of a stage with another valid value than it has."""
    settings = project.settings(stage)
    for name, field_ in type(settings).model_fields.items():
        now = getattr(settings, name)
        for value in [*get_args(field_.annotation), *nearby(now)]:
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


def test_copied_without_times_then_signed(planner, finished):
    """`--touch` says that what was copied is up to date, without the times or the notes of the original."""
    row = fault("results were copied without their times and `.snakemake`")
    without_snakemakes_folder(all_touched_backwards)(finished.folder)
    row.assert_seen(f"snakemake -n\n{planner.output(finished)[1]}")
    assert row.recover(finished).returncode == 0
    assert planner.plan(finished) == {}


def test_changed_model_file(planner, finished, tmp_path):
    """Another file in the cache, as long as the old one, and older, concerns the stages that load it."""
    cache = tmp_path / "cache"
    shutil.copytree(weights.cache_dir(), cache, ignore=no_clips, copy_function=os.symlink)
    assert planner.plan(finished, MIMO_CACHE=str(cache)) == {}
    network = cache / weights.path("blazepose-landmarks-full").name
    data = network.read_bytes()
    network.unlink()
    network.write_bytes(bytes([*data[:-1], 77]))
    os.utime(network, (OLD, OLD))
    expected = with_dependants("segmentation") | with_dependants("character")
    assert planner.plan(finished, MIMO_CACHE=str(cache)) == expected


no_clips = shutil.ignore_patterns("*.mp4", "digests", "durations", "interrupted", ".*")


def test_changed_origin_of_a_model_file(planner, finished):
    registry = finished.folder / "mimo" / "weights.yaml"
    text = registry.read_text()
    digest = yaml.safe_load(text)["files"]["anny-body"]["origins"][0]["function"]
    registry.write_text(text.replace(digest, f"{digest}_2"))
    planned = set(planner.plan(finished))
    assert planned >= {"pose", "synthesis"}
    assert not planned & {"ingest", "segmentation", "inpainting"}


def test_changed_weights_of_ones_own(tmp_path):
    """A folder or a file that the settings name counts by its contents, whatever its time."""

    def digests(**blocks):
        config = yaml.safe_load((ROOT / "config.yaml").read_text()) | blocks
        project = Project.load(config | {"templates": str(tmp_path)})
        return {stage: project.digest(stage) for stage in STAGES}

    for name in ("dropped in", "weights"):
        (tmp_path / name).mkdir()
    TemplateConfig(fps=30, time_crop=time_crop(30, 0, 9)).write(tmp_path / "dropped in" / "config.json")
    network, motion = tmp_path / "weights" / "unet.pth", tmp_path / "walk.pkl"
    blocks = {
        "synthesis": {"backend": "mimo", "weights": str(network.parent)},
        "pose": {"backend": "phalp", "results": str(motion)},
    }
    for path in (network, motion):
        path.write_text("content")
    before = digests(**blocks)
    assert digests(**blocks) == before
    for path, stage in ((network, "synthesis"), (motion, "pose")):
        path.write_text("changed")
        os.utime(path, (OLD, OLD))
        changed = digests(**blocks)
        assert {stage for stage in STAGES if changed[stage] != before[stage]} == {stage}
        before = changed
