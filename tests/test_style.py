"""Promises about the shape of the code that the linters do not check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from mimo.fingerprint import sources
from mimo.run.stages import STAGES, backend_names, main_module
from mimo.weights import registry

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for package in ("mimo", "video_decomp") for path in (ROOT / package).rglob("*.py"))


def dotted(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_files_are_small_and_packages_empty():
    assert [str(path) for path in MODULES if len(path.read_text().splitlines()) > 420] == []
    assert [str(path) for path in MODULES if path.name == "__init__.py" and path.read_text()] == []


def test_mimo_does_not_import_video_decomp():
    names = tuple(dotted(path) for path in MODULES if path.is_relative_to(ROOT / "mimo"))
    assert [name for name in sources(names) if name.startswith("video_decomp.")] == []


@pytest.mark.parametrize("stage", STAGES)
def test_settings_are_read_without_heavy_libraries(stage):
    modules = [f"{STAGES[stage]}.{name.replace('-', '_')}" for name in backend_names(stage)]
    code = f"import sys, {', '.join(modules or [main_module(stage)])}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    loaded = set(result.stdout.split())
    assert result.returncode == 0, result.stderr
    assert not loaded & {"torch", "anny", "diffusers", "transformers", "snakemake"}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_explains_itself(stage):
    result = subprocess.run(
        [sys.executable, "-m", STAGES[stage], "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    assert "--settings" in result.stdout


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_nothing_is_swallowed(path):
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{path}:{node.lineno}: bare except"
            assert not all(isinstance(part, ast.Pass) for part in node.body), f"{path}:{node.lineno}: pass"


def test_model_files_name_backends_that_exist():
    known = {f"{stage}/{name}" for stage in STAGES for name in backend_names(stage)} | {"demo", "benchmarks"}
    needed = {user for entry in registry().files.values() for user in entry.needed_by}
    assert needed <= known
