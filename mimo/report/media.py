"""Pictures and small videos of the report: kept beside the logs, made again when their source changed."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from mimo.alpha_video import alpha_file
from mimo.report.outcomes import Item
from mimo.report.pictures import shrink, write_still, write_strip
from mimo.report.previews import Size, write_preview
from mimo.report.rows import PLURALS, Row
from mimo.run.project import Project
from mimo.stage import progress
from mimo.template import CONFIG, TemplateConfig
from mimo.video import VideoError

THREADS = 4
"""Previews made at the same time at most; each decodes and encodes with two threads."""
TYPES = {".webp": "image/webp", ".mp4": "video/mp4"}


@dataclass(frozen=True)
class Kept:
    """A small file made of a large one.

    It carries its source's time, so that a source replaced by an older file counts as changed, too.

    Attributes:
        path: the small file.
        source: the large one.
        make: writes the small file.
    """

    path: Path
    source: Path
    make: Callable[[Path], None]

    @property
    def fresh(self) -> bool:
        """Whether it was made of the source as it is now."""
        try:
            ours, theirs = self.path.stat().st_mtime_ns, self.source.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        return ours // 1000 == theirs // 1000

    def renew(self) -> str:
        """Make it if it is not fresh.

        Returns:
            Why it could not be made; empty if it was.
        """
        try:
            if not self.fresh:
                time = self.source.stat().st_mtime_ns
                self.make(self.path)
                os.utime(self.path, ns=(time, time))
        except (VideoError, OSError, IndexError) as error:
            self.path.unlink(missing_ok=True)
            return f"no preview: {error}"
        return ""

    def aspect(self) -> float | None:
        """Width over height of a kept picture; None if it is not there."""
        if not self.path.is_file():
            return None
        with Image.open(self.path) as image:
            return image.width / image.height

    def address(self) -> str:
        """The small file as a data address; empty if it is not there."""
        if not self.path.is_file():
            return ""
        return f"data:{TYPES[self.path.suffix]};base64,{base64.b64encode(self.path.read_bytes()).decode()}"


@dataclass(frozen=True)
class Media:
    """What the page shows of one row; None for what there is not.

    Attributes:
        poster: the row's picture.
        clip: the small video of a result.
        sheet: contact sheet: of a template its layers over time, of a result some frames above the driver's.
        pictures: further pictures with their captions.
    """

    poster: Kept | None = None
    clip: Kept | None = None
    sheet: Kept | None = None
    pictures: tuple[tuple[str, Kept], ...] = ()

    def __iter__(self) -> Iterator[Kept]:
        several = (self.poster, self.clip, self.sheet, *(kept for _, kept in self.pictures))
        yield from {kept.path: kept for kept in several if kept is not None}.values()


def media_of(project: Project, row: Row, size: Size) -> Media:
    """The small files of one row, made or not; those whose source is not there are left out."""
    item, config = row.item, project.config
    folder = config.logs / "report" / PLURALS[item.kind]
    poster = (size.poster, size.poster_bytes)

    def kept(name: str, source: Path, make: Callable[[Path], None]) -> Kept | None:
        return Kept(folder / name, source, make) if source.is_file() else None

    if item.kind == "character":
        base = f"{item.name}.{size.name}"
        found = {
            "picture": project.characters[item.name],
            "prepared": config.prepared / item.name / "image.png",
            "mask": config.prepared / item.name / "mask.png",
        }
        files = [
            (what, kept(f"{base}.{what}.webp", file, partial(_shrunk, file, *poster)))
            for what, file in found.items()
        ]
        there = tuple((what, file) for what, file in files if file is not None)
        return Media(dict(there).get("prepared") or dict(there).get("picture"), pictures=there)
    template = config.templates / item.template
    driver = _driver(project, item)
    if not item.is_result:
        base, preview = f"{item.name}.{size.name}", template / "preview.png"
        return Media(
            kept(f"{base}.still.webp", driver, partial(_still, driver, *poster)),
            sheet=kept(f"{base}.sheet.webp", preview, partial(_shrunk, preview, size.sheet, size.sheet_bytes))
            if size.sheet
            else None,
        )
    if row.state != "done":
        return Media()
    base, video = f"{item.template}/{item.character}.{size.name}", result_video(project, row)
    strip = kept(f"{base}.sheet.webp", video, partial(_strip, video, driver, size))
    return Media(
        kept(f"{base}.still.webp", video, partial(_still, video, *poster)),
        kept(f"{base}.preview.mp4", video, partial(_preview, video, size)) if size.side else None,
        strip if size.sheet and driver.is_file() else None,
    )


def result_video(project: Project, row: Row) -> Path:
    """The finished video of a result's row."""
    return project.config.results / row.item.template / f"{row.item.character}.mp4"


def transparent_file(project: Project, row: Row) -> Path | None:
    """The file or folder of a result's row with transparency; None if there is none."""
    if project.config.alpha.format is None:
        return None
    beside = alpha_file(result_video(project, row), project.config.alpha.format)
    return beside if beside.exists() else None


def renew(media: dict[str, Media]) -> dict[str, list[str]]:
    """Make all small files that are not there or not fresh, several at a time.

    Args:
        media: by row.

    Returns:
        What could not be made and why, by row.
    """
    wanted = [(key, kept) for key, files in media.items() for kept in files if not kept.fresh]
    problems: dict[str, list[str]] = {}
    if not wanted:
        return problems
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        reasons: Iterable[str] = pool.map(lambda pair: pair[1].renew(), wanted)
        for (key, _), reason in zip(
            wanted, progress(reasons, "previews for the report", len(wanted)), strict=True
        ):
            if reason:
                problems.setdefault(key, []).append(reason)
    return problems


def _still(video: Path, width: int, most: int, path: Path) -> None:
    write_still(path, video, width, most)


def _shrunk(picture: Path, width: int, most: int, path: Path) -> None:
    shrink(path, picture, width, most)


def _preview(video: Path, size: Size, path: Path) -> None:
    write_preview(path, video, size)


def _driver(project: Project, item: Item) -> Path:
    """What drives a template's results: its video, or the body of a motion that comes from elsewhere."""
    template = project.config.templates / item.template
    video, body = template / "vid.mp4", template / "sdc.mp4"
    staging = project.results.staged.get(item.template)
    scene_is_seen = staging is None or staging.scene in project.scenes or staging.scene in project.templates
    shows_scene = scene_is_seen and not (staging and item.is_result)
    return video if video.is_file() and (shows_scene or not body.is_file()) else body


def _strip(video: Path, driver: Path, size: Size, path: Path) -> None:
    config = driver.with_name(CONFIG)
    first = TemplateConfig.read(config).crop(1 << 40).start if config.is_file() else 0
    write_strip(path, video, driver, first, size.sheet, size.sheet_times, size.sheet_bytes)
