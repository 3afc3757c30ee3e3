"""The workflow's stages: their modules, backends and settings."""

from __future__ import annotations

import importlib
from functools import cache

from mimo.fingerprint import ROOT
from mimo.stage import Rejected, StageSettings, backends, load_backend

STAGES = {
    "ingest": "video_decomp.ingest",
    "segmentation": "video_decomp.segmentation",
    "pose": "video_decomp.pose",
    "occlusion": "video_decomp.occlusion",
    "inpainting": "video_decomp.inpainting",
    "template": "video_decomp.pack",
    "motion": "video_decomp.motion",
    "group": "video_decomp.group",
    "staging": "video_decomp.staging",
    "character": "video_decomp.character",
    "synthesis": "mimo.synthesis",
}
"""Module of each stage's command line, in the order they run."""


def main_module(stage: str) -> str:
    """The module that ``python -m`` runs for a stage."""
    module = STAGES[stage]
    return f"{module}.__main__" if ROOT.joinpath(*module.split("."), "__main__.py").is_file() else module


@cache
def backend_names(stage: str) -> list[str]:
    """Names of a stage's backends; none for a stage that has only one way to work."""
    if not ROOT.joinpath(*STAGES[stage].split(".")).is_dir():
        return []
    return [name for name in backends(STAGES[stage]) if not name.startswith("-")]


def settings_class(stage: str, backend: str | None, where: str) -> type[StageSettings]:
    """The model of a backend's settings; of a stage without backends, for None.

    Raises:
        Rejected: no such backend; the message begins with `where` and lists those there are.
    """
    known = backend_names(stage)
    settings: type[StageSettings]
    if not known and backend is None:
        settings = importlib.import_module(main_module(stage)).Settings
    elif not known:
        raise Rejected(f"{where}: this stage has no backends; remove the key 'backend'")
    elif backend in known:
        settings = load_backend(STAGES[stage], backend).Settings
    else:
        what = "give a backend" if backend is None else f"no backend '{backend}'"
        raise Rejected(f"{where}: {what} (known: {', '.join(known)})")
    return settings
