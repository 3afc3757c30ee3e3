"""What is refused of a run before any of its jobs starts, besides what single files and settings are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mimo.run.configuration import Configuration
from mimo.run.stages import STAGES
from mimo.scene_names import JOINT, Staging
from mimo.stage import Rejected
from mimo.storage.addresses import address, shown
from mimo.weights import use_folders

if TYPE_CHECKING:
    from mimo.run.project import Project


def check_storage(config: Configuration) -> None:
    """Refuse what remote folders cannot do.

    Raises:
        Rejected: settings ask for it.
    """
    if config.segments.length is not None and config.remote_folders:
        raise Rejected("config.yaml: segments: length: cannot be used with folders on s3://")
    if config.alpha.format == "png" and address(config.results):
        raise Rejected("config.yaml: alpha: format: png: cannot be used with results on s3://; take prores")


def check_staged(project: Project) -> None:
    """Refuse motions in scenes that cannot be made, and templates that they would be made into.

    Raises:
        Rejected: there is one; the message names it, the motion and the scene.
    """
    made = [*project.results.staged, *project.cast_groups]
    if made and address(project.config.templates):
        raise Rejected(
            f"{made[0]}: motions in scenes and casts need templates here; set  templates:  to a folder, not s3://"
        )
    for staging in project.results.staged.values():
        file = project.config.templates / staging.motion / "motion.npz"
        if staging.motion in project.dropped_in and not file.is_file():
            raise Rejected(f"{file}: not there, so '{staging.motion}' cannot be put into '{staging.scene}'")
    for name in [*project.templates, *project.groups]:
        if JOINT in name and re.fullmatch(project.staged_pattern, name):
            staging = Staging.named(name)
            raise Rejected(
                f"{shown(project.config.templates / name)} is the {project.kind(name)} '{name}', but motion "
                f"'{staging.motion}' in scene '{staging.scene}' would be made into it; rename one of them"
            )


def check_settings(project: Project) -> None:
    """Read all settings once.

    Raises:
        Rejected: settings of nothing, of no stage, or with a key or value that cannot be; or backends that do
            not go together.
    """
    use_folders(project.config.weights)
    for stage in STAGES:
        project.settings(stage)
    known = {
        *project.templates,
        *project.characters,
        *project.scenes,
        *project.groups,
        *project.results.staged,
    }
    for name, stages in project.config.overrides.items():
        if known and name not in known and name not in project.config.exclude:
            raise Rejected(f"config.yaml: overrides: no video, template, scene or character '{name}'")
        for stage in stages:
            if stage not in STAGES:
                raise Rejected(f"{project.place(stage, name)}no stage '{stage}' (known: {', '.join(STAGES)})")
            project.settings(stage, name)
    for template in sorted({template for template, _ in project.pairs}):
        staging = project.results.staged.get(template)
        _check_body(project, template, staging.motion if staging else template)


def _check_body(project: Project, template: str, motion: str) -> None:
    """Refuse a synthesis backend for which the pose stage makes another body's motion."""
    if motion not in project.videos:
        return
    made = project.settings("pose", motion).body_model
    needed = project.settings("synthesis", template).body_model
    if needed not in (None, made):
        raise Rejected(
            f"config.yaml: {template}: pose backend {project.backend('pose', motion)} gives a motion "
            f"of {made}, synthesis backend {project.backend('synthesis', template)} needs {needed}"
            "; change either"
        )
