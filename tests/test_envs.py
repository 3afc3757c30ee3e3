"""The conda environments hold what their stages import, at the versions of pyproject.toml."""

from pathlib import Path

import pytest
import yaml

from mimo.environments import environments, pinned
from mimo.run.project import Project
from mimo.run.stages import STAGES

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def expected():
    return {path.relative_to(ROOT / "envs").as_posix(): text for path, text in environments().items()}


def content(text):
    """Conda lines and pip lines of an environment."""
    parsed = yaml.safe_load(text)
    assert parsed["channels"] == ["conda-forge", "nodefaults"]
    pip = [entry["pip"] for entry in parsed["dependencies"] if isinstance(entry, dict)]
    return [entry for entry in parsed["dependencies"] if isinstance(entry, str)], pip[0]


def test_files_are_what_code_and_pins_say(expected):
    written = {
        path.relative_to(ROOT / "envs").as_posix(): path.read_text()
        for path in (ROOT / "envs").rglob("*.yaml")
    }
    assert written == expected, "python -m mimo.environments"


def test_embedded_backends_need_no_pytorch(expected):
    for stage in STAGES:
        conda, pip = content(expected[f"{stage}.yaml"])
        assert conda == ["python =3.11", "pip"]
        assert "av==" + pinned()["av"] in pip
        assert not any(line.startswith(("torch", "transformers", "diffusers")) for line in pip), stage


def test_gpu_environments_take_the_pinned_pytorch_from_conda(expected):
    assert "gpu/synthesis.yaml" in expected
    for name, text in expected.items():
        if name.startswith("gpu/"):
            conda, pip = content(text)
            assert f"pytorch-gpu ={pinned()['torch']}" in conda
            assert any(line.startswith("cuda-version =") for line in conda)
            # What conda brings must not be installed over by pip.
            assert not any(line.startswith(("torch==", "numpy==")) for line in pip)
            embedded = content(expected[name.removeprefix("gpu/")])[1]
            assert set(embedded) - {f"numpy=={pinned()['numpy']}"} <= set(pip)


def test_jobs_get_the_environment_of_their_backend(tmp_path):
    (tmp_path / "videos").mkdir()
    for name in ("walk", "run"):
        (tmp_path / "videos" / f"{name}.mp4").write_text("x")
    values = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"videos": str(tmp_path / "videos")}
    values["synthesis"] = {"backend": "mimo"}
    project = Project.load(values | {"overrides": {"run": {"synthesis": {"backend": "puppet"}}}})
    assert project.environment("synthesis", "walk") == "../envs/gpu/synthesis.yaml"
    assert project.environment("synthesis", "run") == "../envs/synthesis.yaml"
    assert project.environment("template", "walk") == "../envs/template.yaml"
    for stage in STAGES:
        assert (ROOT / "rules" / project.environment(stage, "walk")).is_file()
