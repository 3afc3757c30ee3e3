"""The report: one HTML page that needs no other file and no network to be read, written part by part."""

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from mimo import weights
from mimo.files import whole_file
from mimo.licences import cautions
from mimo.report import usage
from mimo.report.flags import CHECKS
from mimo.report.media import Media, media_of, renew, result_video, transparent_file
from mimo.report.outcomes import Item, outcomes
from mimo.report.previews import Size, fitting_size
from mimo.report.rows import (
    DEFAULT_CONFIG,
    KINDS,
    PLURALS,
    STATES,
    Row,
    command_again,
    failures,
    row_key,
    table_rows,
)
from mimo.run.project import Project
from mimo.run.stages import STAGES
from mimo.storage.copies import bring_pictures, send

BUDGET = 60_000_000
"""Bytes of the page at most: more than a browser opens at ease."""
SHOWN_NAMES = 24
"""Names of a kind of failure that are seen without unfolding."""
LOG_LINES, LOG_BYTES = 14, 3000
PARTS = Path(__file__).parent / "html"


def write_report(
    project: Project,
    items: Sequence[Item] | None = None,
    configfiles: Iterable[Path] = (DEFAULT_CONFIG,),
    budget: float = BUDGET,
) -> Path:
    """Write ``report.html`` into the folder of results.

    Args:
        project: the run.
        items: what became of it, if already known (see `mimo.report.outcomes`).
        configfiles: configuration files of the run, for the commands that the page names.
        budget: bytes of the page at most; pictures and previews get smaller, then fewer, to stay within.

    Returns:
        The file.
    """
    path = project.config.results / "report.html"
    rows = table_rows(outcomes(project) if items is None else items)
    bring_pictures(project.config)
    size = _size(rows, budget)
    media = {row.key: media_of(project, row, size) for row in rows}
    problems = renew(media)
    page = _Page(project, path.parent, tuple(configfiles))
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(page.head(rows))
        for row in rows:
            file.write(page.row(row, media[row.key], problems.get(row.key, [])))
        file.write(page.tail(rows, size))
    send(path)
    return path


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


def _size(rows: Iterable[Row], budget: float) -> Size:
    results = sum(row.item.is_result and row.state == "done" for row in rows)
    others = sum(not row.item.is_result or row.state != "done" for row in rows)
    return fitting_size(results, others, budget)


class _Page:
    """Renders the parts of the page.

    Args:
        project: the run.
        folder: where the page will lie; links are relative to it.
        configfiles: configuration files of the run.
    """

    def __init__(self, project: Project, folder: Path, configfiles: tuple[Path, ...]) -> None:
        self._project, self._folder, self._configfiles = project, folder, configfiles
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(PARTS),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals |= {
            "amount": usage.amount,
            "duration": usage.duration,
            "drawn": usage.drawn,
            "scale": usage.scale,
            "flat": flat,
            "link": self._link,
            "stage_number": lambda stage: [*STAGES].index(stage) + 1 if stage else 0,
        }
        self._row = environment.get_template("row.html")
        self._environment = environment

    def head(self, rows: list[Row]) -> str:
        """Everything above the table's rows."""
        raised = Counter(key for row in rows for key in {flag.check.key for flag in row.flags})
        return self._environment.get_template("head.html").render(
            title=f"{Path.cwd().name}: report",
            subtitle=f"{Path.cwd()}, {datetime.now():%d %B %Y, %H:%M}",
            css=Markup((PARTS / "page.css").read_text()),
            script_hash=Markup(_hash((PARTS / "page.js").read_text())),
            tiles=_tiles(rows),
            cautions=cautions(used_models(row.item for row in rows)),
            failures=failures(rows),
            failed=sum(row.state == "failed" for row in rows),
            shown=SHOWN_NAMES,
            again=self._again,
            kinds={kind: count for kind in KINDS if (count := sum(row.item.kind == kind for row in rows))},
            plurals=PLURALS,
            states={state: count for state in STATES if (count := sum(row.state == state for row in rows))},
            flag_counts=[(check, raised[check.key]) for check in CHECKS if raised[check.key]],
        )

    def row(self, row: Row, media: Media, problems: list[str]) -> str:
        """One row of the table with its details."""
        log = row.item.failure.log if row.item.failure else None
        return self._row.render(
            row=row,
            poster=media.poster.address() if media.poster else "",
            aspect=media.poster.aspect() if media.clip and media.poster else None,
            clip=media.clip.address() if media.clip else "",
            sheet=media.sheet.address() if media.sheet else "",
            pictures=[(caption, kept.address()) for caption, kept in media.pictures],
            problems=problems,
            links=list(self._links(row)),
            again=self._again([row]) if row.item.failure else "",
            tail=_tail(log) if log else "",
        )

    def tail(self, rows: list[Row], size: Size) -> str:
        """Everything below the table's rows."""
        raised = Counter(key for row in rows for key in {flag.check.key for flag in row.flags})
        uses = usage.stage_uses(rows)
        items = [row.item for row in rows]
        known = weights.registry().files
        return self._environment.get_template("tail.html").render(
            checks=[(check, raised[check.key]) for check in CHECKS],
            uses=uses,
            dots=usage.DOTS + 1,
            total_seconds=sum(use.seconds for use in uses) or 1.0,
            time_axis=usage.Axis.over(point for use in uses for point in use.times),
            memory_axis=usage.Axis.over(point for use in uses for point in use.memories),
            cautions=cautions(used_models(items)),
            models=[
                {"name": name, "entry": known.get(name), "stages": users}
                for name, users in used_models(items).items()
            ],
            footer=f"Previews: {_described(size)}. Links to logs and videos work where the page was written.",
            script=Markup((PARTS / "page.js").read_text()),
        )

    def _links(self, row: Row) -> Iterator[tuple[str, str]]:
        """Texts and addresses of what a row's details lead to."""
        item = row.item
        if item.is_result and row.state == "done":
            yield "full video", self._link(result_video(self._project, row))
            if (beside := transparent_file(self._project, row)) is not None:
                yield "with transparency", self._link(beside)
        for kind, name in item.needs:
            yield kind if kind != "character" or item.kind != "cast" else name, f"#{row_key(kind, name)}"
        if item.kind == "video":
            yield "source", self._link(self._project.videos[item.name])
        folder = self._project.config.templates / item.name
        if item.template == item.name and folder.is_dir():
            yield "folder", self._link(folder)
        for outcome in item.stages:
            if outcome.log:
                yield f"log: {outcome.stage}", self._link(outcome.log)

    def _again(self, rows: Iterable[Row]) -> str:
        return command_again(self._project, rows, self._configfiles)

    def _link(self, target: Path) -> str:
        """Address of a file relative to the page's folder."""
        return quote(os.path.relpath(target, self._folder))


def _tiles(rows: list[Row]) -> list[dict[str, Any]]:
    """The numbers at the top of the page."""
    tiles: list[dict[str, Any]] = []
    for kind, title in (PLURALS | {"template": "by hand"}).items():
        those = [row for row in rows if row.item.kind == kind]
        done = sum(row.state == "done" for row in those)
        if those:
            tiles.append(
                {"value": f"{done} of {len(those)}", "label": f"{title} done", "share": done / len(those)}
            )
    failed, flagged = sum(row.state == "failed" for row in rows), sum(bool(row.flags) for row in rows)
    frames = sum(row.frames or 0 for row in rows if row.item.is_result)
    tiles.append({"value": failed, "label": "failed", "tone": "bad" if failed else "good"})
    tiles.append({"value": flagged, "label": "to look at", "tone": "warn" if flagged else "good"})
    tiles.append({"value": f"{frames:,}", "label": "frames made"})
    tiles.append({"value": usage.duration(sum(row.item.seconds for row in rows)), "label": "of computing"})
    return [{"tone": "", "share": None} | tile for tile in tiles]


def _described(size: Size) -> str:
    if not size.side:
        return "pictures only, since the run is large; the videos are beside this page"
    return f"{size.side} pixels wide, {size.seconds:g} s at most, from the middle of each result"


def _tail(log: Path) -> str:
    """The last lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
        lines = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return "\n".join([line for line in lines if line.strip()][-LOG_LINES:])


def _hash(script: str) -> str:
    """What the page's policy calls the one script that may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values of nested metrics, as text; long lists are left out."""
    rows = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list) or len(value) <= 6:
            rows.append((f"{prefix}{key}", _text(value)))
    return rows


def _text(value: Any) -> str:
    """A value as text, with four significant digits."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.0f}"
    if isinstance(value, list):
        return ", ".join(_text(part) for part in value)
    return str(value)
