"""config.gpu.yaml switches every stage to its production backend, and the workflow plans with it."""

import json
import shutil
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from mimo.run.project import Project
from mimo.run.stages import backend_names
from mimo.schema import config_schema

ROOT = Path(__file__).parent.parent
PRODUCTION = {
    "segmentation": "sam2",
    "pose": "hmr2",
    "occlusion": "depth-layers",
    "inpainting": "propainter",
    "character": "sam2",
    "synthesis": "mimo",
}


def test_every_stage_with_backends_gets_its_production_backend():
    content = yaml.safe_load((ROOT / "config.gpu.yaml").read_text())
    assert {stage: block["backend"] for stage, block in content.items()} == PRODUCTION
    assert all(backend in backend_names(stage) for stage, backend in PRODUCTION.items())
    default = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert {
        stage for stage, block in default.items() if isinstance(block, dict) and "backend" in block
    } == set(PRODUCTION)
    Draft202012Validator(json.loads(json.dumps(config_schema()))).validate(default | content)


def test_the_workflow_plans_with_it(checkout, monkeypatch):
    shutil.copy(ROOT / "config.gpu.yaml", checkout.folder)
    for path in ("videos/walk.mp4", "characters/anna.png"):
        (checkout.folder / path).parent.mkdir()
        (checkout.folder / path).write_text("x")
    planned = checkout.planned("--configfile", "config.gpu.yaml")
    assert {*PRODUCTION, "ingest", "template"} <= set(planned)

    monkeypatch.chdir(checkout.folder)
    project = Project.read([Path("config.yaml"), Path("config.gpu.yaml")])
    for stage, backend in PRODUCTION.items():
        assert project.backend(stage, "walk") == backend
        assert project.environment(stage, "walk") == f"../envs/gpu/{stage}.yaml"
        assert project.gpus(stage, "walk") == 1
