"""How well and how long a result is rendered: a few choices that stand for settings of `synthesis`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mimo.run.project import Project
from mimo.run.stages import settings_class
from mimo.stage import parse_settings
from mimo.weight_sources.needs import entries, needs
from mimo.weights import entry, place


@dataclass(frozen=True)
class Quality:
    """One choice.

    Attributes:
        title: for users.
        words: what it costs and gives.
        backend: of the stage `synthesis`.
        settings: of that backend.
    """

    title: str
    words: str
    backend: str
    settings: dict[str, Any] = field(default_factory=dict)


QUALITIES = {
    "preview": Quality("Preview", "on any processor, under a second a frame", "puppet"),
    "fast": Quality("Diffusion, fast", "a GPU and MIMO's weights", "mimo", {"preset": "fast"}),
    "exact": Quality("Diffusion, exact", "four times as long", "mimo", {"preset": "exact"}),
}
"""From the quickest to the best."""


def missing_models(project: Project, quality: Quality) -> list[str]:
    """Names of model files that a quality needs and this computer lacks.

    One result that lacks them would keep the workflow from making any other, too.

    Args:
        project: says where the user's own files lie.
        quality: what is asked for.
    """
    block = dict(project.config.synthesis)
    if block.pop("backend", None) != quality.backend:
        block = {}
    wanted = settings_class("synthesis", quality.backend, "synthesis")
    settings = parse_settings(wanted, block | quality.settings, "synthesis")
    lacking = []
    for name, own in needs(f"synthesis/{quality.backend}", settings).items():
        if own is not None:
            lacking += [] if own.exists() else [name]
        else:
            lacking += [part for part in entries(name) if place(entry(part)) is None]
    return lacking
