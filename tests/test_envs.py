"""The conda environments hold what their stages import, at the versions of pyproject.toml."""

import ast
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from mimo.fingerprint import PACKAGES, sources
from mimo.project import STAGES, backend_names, main_module

ROOT = Path(__file__).parent.parent
USES_BACKENDS_OF = {"character": ["pose"]}
BROUGHT_ALONG = {"pydantic_core": "pydantic", "triton": "torch"}


@cache
def pinned() -> dict[str, str]:
    """Version of each dependency in pyproject.toml, optional ones too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = sum(project["optional-dependencies"].values(), project["dependencies"])
    return dict(line.split("==") for line in lines)


def imported(stage: str) -> set[str]:
    """Distributions that a stage and its backends import, wherever in their code."""
    used = [stage, *USES_BACKENDS_OF.get(stage, [])]
    backends = [
        f"{STAGES[other]}.{name.replace('-', '_')}" for other in used for name in backend_names(other)
    ]
    names = set()
    for path in sources((main_module(stage), *backends)).values():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module).partition(".")[0])
    third_party = names - set(sys.stdlib_module_names) - set(PACKAGES)
    known = packages_distributions()
    return {BROUGHT_ALONG.get(name) or known[name][0].lower() for name in third_party}


def environment(stage: str) -> tuple[list[str], list[str]]:
    """Conda lines and pip lines of a stage's environment."""
    content = yaml.safe_load((ROOT / "envs" / f"{stage}.yaml").read_text())
    assert content["channels"] == ["conda-forge", "nodefaults"]
    pip = [entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict)]
    return [entry for entry in content["dependencies"] if isinstance(entry, str)], pip[0]


@pytest.mark.parametrize("stage", STAGES)
def test_environment_holds_what_the_stage_imports(stage):
    conda, pip = environment(stage)
    assert conda == ["python =3.11", "pip"]
    assert {line.split("==")[0] for line in pip} == imported(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_environment_has_the_pinned_versions(stage):
    for line in environment(stage)[1]:
        name, version = line.split("==")
        assert version == pinned()[name], f"envs/{stage}.yaml: {name}"


def test_every_environment_is_used():
    used = {stage for stage in STAGES if f"../envs/{stage}.yaml" in (ROOT / f"rules/{stage}.smk").read_text()}
    assert used == {path.stem for path in (ROOT / "envs").glob("*.yaml")}
