"""A bad configuration or folder is refused in one line before any job; odd names are no problem."""

import fcntl
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from operations import fault

from mimo.run.project import Project
from mimo.schema import config_schema
from mimo.stage import Rejected


@pytest.fixture
def small(checkout):
    """A checkout with one video and one picture."""
    for path in ("videos/walk.mp4", "characters/anna.png"):
        (checkout.folder / path).parent.mkdir(exist_ok=True)
        (checkout.folder / path).write_text("x")
    return checkout


def refusal(checkout, *options):
    """The line that tells why a dry run was refused."""
    result = checkout.snakemake("-n", *options)
    assert result.returncode == 1
    lines = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()]
    start = next(i for i, line in enumerate(lines) if line.startswith("WorkflowError"))
    assert not any("Traceback" in line for line in lines)
    return lines[start + 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("videoz: x", ["unknown key 'videoz'", "known: ", "videos"]),
        (
            "segmentation: {backend: mediapipe, trackr: 1}",
            ["segmentation", "unknown key 'trackr'", "known: "],
        ),
        ("segmentation: {backend: sam9}", ["segmentation", "no backend 'sam9'", "mediapipe"]),
        ("segmentation: null", ["segmentation", "dictionary"]),
        ("ingest: {short_side: -3}", ["ingest", "short_side = -3", "greater than or equal to"]),
        ("ingest: {backend: x}", ["ingest", "no backends"]),
        ("template: {preview_times: many}", ["template", "preview_times = 'many'", "integer"]),
        ("exclude: walk", ["exclude", "list"]),
        ("pairs: [{template: walk, character: bob}]", ["pairs", "no character 'bob'", "anna"]),
        ("overrides: {wlak: {ingest: {fps: 25}}}", ["overrides", "no video", "'wlak'"]),
        ("overrides: {walk: {ingestion: {fps: 25}}}", ["overrides: walk", "no stage 'ingestion'", "ingest"]),
        ("overrides: {walk: {ingest: {fbs: 25}}}", ["overrides: walk: ingest", "unknown key 'fbs'"]),
        ("subjects: {wlak: {bob: 0}}", ["subjects", "no video 'wlak'", "walk"]),
        ("subjects: {walk: {a/b: 0}}", ["subjects: walk", "'a/b' cannot be a name"]),
        ("subjects: {walk: {bob: left}}", ["walk-bob: segmentation", "subject"]),
        ("videos: nowhere", ["no driving video in nowhere/"]),
        ("videos: [", ["more.yaml", "line 1"]),
    ],
)
def test_bad_configuration(small, text, words, monkeypatch):
    monkeypatch.chdir(small.folder)
    Path("more.yaml").write_text(text)
    with pytest.raises(Rejected) as error:
        Project.read([Path("config.yaml"), Path("more.yaml")])
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_people_of_one_video_become_templates(small, monkeypatch):
    monkeypatch.chdir(small.folder)
    config = {
        "overrides": {"walk": {"ingest": {"fps": 25}}, "walk-ben": {"pose": {"smoothness": 2}}},
        "subjects": {"walk": {"anna": 0, "ben": {"subject": [5.0, 7.0], "subject_time": 2}}},
    }
    Path("more.yaml").write_text(yaml.safe_dump(config))
    project = Project.read([Path("config.yaml"), Path("more.yaml")])
    assert project.templates == ["walk-anna", "walk-ben"]
    assert set(project.videos.values()) == {Path("videos/walk.mp4")}
    assert project.settings("segmentation", "walk-anna").subject == 0
    assert project.settings("segmentation", "walk-ben").subject == (5.0, 7.0)
    assert project.settings("segmentation", "walk-ben").subject_time == 2
    assert project.settings("ingest", "walk-ben").fps == 25
    assert project.settings("pose", "walk-ben").smoothness == 2
    assert project.settings("pose", "walk-anna").smoothness == 1
    assert ("walk-ben", "anna") in project.pairs
    planned = small.planned("--configfile", "more.yaml")
    assert planned["ingest"] == planned["segmentation"] == planned["synthesis"] == 2
    Path("more.yaml").write_text(yaml.safe_dump(config | {"exclude": ["walk-ben"]}))
    assert Project.read([Path("config.yaml"), Path("more.yaml")]).templates == ["walk-anna"]


def test_bad_configuration_stops_the_workflow(small):
    line = refusal(small, "--config", "pose={backend: anny, smoth: 1}")
    assert line.startswith("config.yaml: pose: unknown key 'smoth' (known: ")


def test_two_videos_of_one_name(small):
    (small.folder / "videos" / "walk.MOV").write_text("x")
    assert "walk.MOV and videos/walk.mp4 would share the name 'walk'" in refusal(small)


def test_name_that_cannot_be_a_file_pattern(small):
    (small.folder / "videos" / "{walk}.mp4").write_text("x")
    assert "braces" in refusal(small)


def test_reference_template_is_not_overwritten(small):
    config = {
        "fps": 30,
        "time_crop": {"start_idx": 0, "end_idx": 90},
        "frame_crop": {},
        "layer_recover": True,
    }
    (small.folder / "templates" / "walk").mkdir(parents=True)
    (small.folder / "templates" / "walk" / "config.json").write_text(json.dumps(config))
    assert "templates/walk was not made here" in refusal(small)


def test_two_runs_in_one_folder(small):
    (small.folder / ".snakemake").mkdir()
    with (small.folder / ".snakemake" / "run.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result = small.snakemake()
    assert result.returncode == 1
    fault("two runs at once in one folder").assert_seen(result.stdout + result.stderr)
    assert not (small.folder / "logs").exists()


def test_templates_only(small):
    (small.folder / "characters" / "anna.png").unlink()
    assert set(small.planned()) == {
        "ingest", "segmentation", "pose", "occlusion", "inpainting", "template"
    }  # fmt: skip


def test_schema_for_editors():
    folder = Path(__file__).parent.parent
    schema = config_schema()
    written = yaml.safe_load((folder / "rules" / "config.schema.yaml").read_text())
    assert written == json.loads(json.dumps(schema)), "python -m mimo.schema > rules/config.schema.yaml"
    check = Draft202012Validator(schema)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    check.validate(config)
    assert not check.is_valid(config | {"videoz": "x"})
    assert not check.is_valid(config | {"pose": {"backend": "anny", "smoth": 1}})
    assert not check.is_valid(config | {"ingest": {"short_side": -3}})
