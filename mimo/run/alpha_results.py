"""Which results of a run are made with transparency, too, for compositors (see `mimo.alpha_video`)."""

from __future__ import annotations

import re
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
    return re.fullmatch(alpha_pattern(project), template) is not None


def alpha_options(project: Project, template: str) -> list[str]:
    """Command-line options of a template's results by which they are."""
    return [f"--alpha={project.config.alpha.format}"] if has_alpha(project, template) else []
