"""The report: one HTML page that needs no other file to be read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from mimo import weights
from mimo.files import whole_file
from mimo.licences import cautions
from mimo.project import Project
from mimo.report.outcomes import Item, StageOutcome, outcomes
from mimo.report.pictures import embedded, video_strip
from mimo.template import CONFIG, TemplateConfig

PREVIEW_WIDTH = 1200
PICTURE_WIDTH = 200


def write_report(project: Project) -> Path:
    """Write ``report.html`` into the folder of results.

    Returns:
        The file.
    """
    path = project.config.results / "report.html"
    items = outcomes(project)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mimo.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html").render(
        failed=[item for item in items if item.failure],
        templates=[_template(project, item, items) for item in items if item.kind in ("video", "template")],
        characters=[_character(project, item) for item in items if item.kind == "character"],
        counts=_counts(items),
        models=_models(items),
        cautions=cautions(used_models(items)),
        link=lambda target: _link(target, path.parent),
        number=_number,
        flat=_flat,
        per_frame=_per_frame,
    )
    with whole_file(path) as part:
        part.write_text(page)
    return path


def _template(project: Project, item: Item, items: Iterable[Item]) -> dict[str, Any]:
    """What the page shows of one template: its pictures, stages and results."""
    folder = project.config.templates / item.name
    config = folder / CONFIG
    results = [other for other in items if other.kind == "result" and other.template == item.name]
    first = TemplateConfig.read(config).crop(1 << 40).start if config.is_file() else 0
    return {
        "item": item,
        "source": project.videos.get(item.name),
        "preview": embedded(folder / "preview.png", PREVIEW_WIDTH),
        "frames": _frames(item.stages),
        "results": [_result(project, result, folder / "vid.mp4", first) for result in results],
    }


def _result(project: Project, item: Item, source: Path, first: int) -> dict[str, Any]:
    video = project.config.results / item.template / f"{item.character}.mp4"
    kept = project.config.logs / "report" / item.template / f"{item.character}.jpg"
    strip = video_strip(video, source, first, kept) if item.done and source.is_file() else ""
    return {"item": item, "video": video, "strip": strip, "frames": _frames(item.stages)}


def _character(project: Project, item: Item) -> dict[str, Any]:
    return {
        "item": item,
        "picture": embedded(project.characters[item.name], PICTURE_WIDTH),
        "prepared": embedded(project.config.prepared / item.name / "image.png", PICTURE_WIDTH),
        "mask": embedded(project.config.prepared / item.name / "mask.png", PICTURE_WIDTH),
    }


def _counts(items: list[Item]) -> dict[str, tuple[int, int]]:
    """Done and all, of each kind of item that there is."""
    kinds = {
        "videos": "video",
        "dropped-in templates": "template",
        "characters": "character",
        "results": "result",
    }
    counts = {}
    for title, kind in kinds.items():
        those = [item for item in items if item.kind == kind]
        if those:
            counts[title] = (sum(item.done for item in those), len(those))
    return counts


def used_models(items: Iterable[Item]) -> dict[str, list[str]]:
    """Every model file that a record names, in name order, with the stages that loaded it."""
    stages: dict[str, list[str]] = {}
    for item in items:
        for outcome in item.stages:
            for name in outcome.record.get("weights", []):
                users = stages.setdefault(name, [])
                if outcome.stage not in users:
                    users.append(outcome.stage)
    return dict(sorted(stages.items()))


def _models(items: Iterable[Item]) -> list[dict[str, Any]]:
    """Every model file used, with its terms and the stages that loaded it."""
    known = weights.registry().files
    return [
        {"name": name, "entry": known.get(name), "stages": users}
        for name, users in used_models(items).items()
    ]


def _frames(stages: list[StageOutcome]) -> int | None:
    """Number of frames, from the first record that says it."""
    for outcome in stages:
        frames = outcome.metrics.get("frames")
        if isinstance(frames, int):
            return frames
    return None


def _per_frame(seconds: float | None, frames: int | None) -> str:
    return f"{seconds / frames:.2f} s" if seconds is not None and frames else ""


def _link(target: Path, folder: Path) -> str:
    """Address of a file relative to the page's folder."""
    return quote(os.path.relpath(target, folder))


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values of nested metrics, as text; long lists are left out."""
    rows = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list) or len(value) <= 6:
            rows.append((f"{prefix}{key}", _number(value)))
    return rows


def _number(value: Any) -> str:
    """A value as text, with four significant digits."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.0f}"
    if isinstance(value, list):
        return ", ".join(_number(part) for part in value)
    return str(value)
