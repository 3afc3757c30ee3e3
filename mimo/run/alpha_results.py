"""Which results of a run are made with transparency, too, for compositors (see `mimo.alpha_video`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimo.scene_names import JOINT, TRANSPARENT
from mimo.segments import NOTHING, any_of

if TYPE_CHECKING:
    from mimo.run.project import Project


def alpha_pattern(project: Project) -> str:
    """Regular expression of the templates whose results are made with transparency, too."""
    if project.config.alpha.format is None:
        return NOTHING
    if project.config.alpha.of == "all":
        return "[^/]+"
    staged = project.results.staged.values()
    motions = dict.fromkeys(staging.motion for staging in staged if staging.scene == TRANSPARENT)
    return f"(?:{any_of(motions)}){JOINT}{TRANSPARENT}"


def has_alpha(project: Project, template: str) -> bool:
    """Whether a template's results are."""
    alpha, staging = project.config.alpha, project.results.staged.get(template)
    if alpha.format is None:
        return False
    return alpha.of == "all" or (staging is not None and staging.scene == TRANSPARENT)


def alpha_options(project: Project, template: str) -> list[str]:
    """Command-line options of a template's results by which they are."""
    return [f"--alpha={project.config.alpha.format}"] if has_alpha(project, template) else []
