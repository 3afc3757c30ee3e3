"""Writes the conda environments of the stages, ``envs/*.yaml`` and ``envs/gpu/*.yaml``.

    python -m mimo.environments

What a stage needs is read from its code's imports, versions from `pyproject.toml`, so that neither can drift;
a test compares the files with what this would write. ``envs/STAGE.yaml`` holds what the stage needs with its
embedded backends, ``envs/gpu/STAGE.yaml`` what any backend needs, with PyTorch's CUDA build from conda-forge.
A job gets the second one if a backend that it uses has a setting ``device`` (`Project.environment`).
"""

from __future__ import annotations

import ast
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from mimo.fingerprint import PACKAGES, ROOT, sources
from mimo.run.stages import STAGES, backend_names, main_module, settings_class

USES_BACKENDS_OF = {"character": ["pose"]}
FURTHER_JOBS = {
    "ingest": ["video_decomp.segments.cut"],
    "segmentation": ["video_decomp.segments.survey", "video_decomp.segments.mask"],
    "pose": ["video_decomp.segments.survey", "video_decomp.segments.motion"],
    "occlusion": ["video_decomp.segments.survey", "video_decomp.segments.occluders"],
    "inpainting": ["video_decomp.segments.survey", "video_decomp.segments.background"],
    "group": ["video_decomp.group.pack"],
    "synthesis": ["mimo.synthesis.join", "mimo.synthesis.cast"],
}
"""Modules of further command lines that run in a stage's environment."""
BROUGHT_ALONG = {"pydantic_core": "pydantic", "triton": "torch", "cuda": "cuda-bindings", "botocore": "boto3"}
PYTHON = "python =3.11"
CUDA = "cuda-version =12.9"
FROM_CONDA = {"torch": "pytorch-gpu", "numpy": "numpy"}
"""Packages that the GPU environments take from conda-forge, with their names there: PyTorch's CUDA build and
NumPy, on which that build depends."""
BINDINGS = "cuda-bindings"
"""Comes along with the package index's PyTorch, so that no pin names it; conda-forge has it apart."""


@cache
def pinned() -> dict[str, str]:
    """Version of each dependency in pyproject.toml, optional ones too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = sum(project["optional-dependencies"].values(), project["dependencies"])
    return dict(line.split("==") for line in lines if "==" in line)


def has_networks_of(stage: str, backend: str) -> bool:
    """Whether a backend computes with PyTorch, on a device that its settings choose."""
    return "device" in settings_class(stage, backend, stage).model_fields


def imported(stage: str, *, networks: bool) -> set[str]:
    """Distributions that a stage imports, wherever in its code.

    Args:
        networks: with those of the backends that compute with PyTorch.
    """
    modules = [
        f"{STAGES[used]}.{name.replace('-', '_')}"
        for used in [stage, *USES_BACKENDS_OF.get(stage, [])]
        for name in backend_names(used)
        if networks or not has_networks_of(used, name)
    ]
    modules += FURTHER_JOBS.get(stage, [])
    names: set[str] = set()
    for path in sources((main_module(stage), *modules)).values():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module).partition(".")[0])
    third_party = names - set(sys.stdlib_module_names) - set(PACKAGES)
    known = packages_distributions()
    return {BROUGHT_ALONG.get(name) or known[name][0].lower() for name in third_party}


def environments() -> dict[Path, str]:
    """Path and text of every environment file."""
    files = {}
    for stage in STAGES:
        embedded, everything = (imported(stage, networks=networks) for networks in (False, True))
        folder = ROOT / "envs"
        files[folder / f"{stage}.yaml"] = _environment([], embedded)
        if any(has_networks_of(stage, name) for name in backend_names(stage)):
            from_conda = [
                f"{FROM_CONDA[name]} ={pinned()[name]}" for name in sorted(FROM_CONDA, reverse=True)
            ]
            bindings = [f"{BINDINGS} {CUDA.split()[1]}"] if BINDINGS in everything else []
            files[folder / "gpu" / f"{stage}.yaml"] = _environment(
                [*from_conda, CUDA, *bindings], everything - {BINDINGS, *FROM_CONDA}
            )
    return files


def _environment(conda: list[str], pip: set[str]) -> str:
    lines = [
        "# Made by `python -m mimo.environments`; do not edit.",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
    ]
    lines += ["dependencies:", *(f"  - {line}" for line in [PYTHON, "pip", *conda]), "  - pip:"]
    return "\n".join([*lines, *(f"      - {name}=={pinned()[name]}" for name in sorted(pip))]) + "\n"


def main() -> int:
    """Write all files, and remove those of environments that are no more."""
    files = environments()
    for path in (ROOT / "envs").rglob("*.yaml"):
        if path not in files:
            path.unlink()
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
