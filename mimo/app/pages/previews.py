"""Small moving pictures for galleries and layers, made in the background and kept with the project."""

from __future__ import annotations

import hashlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps

from mimo.app.pages.layer_clips import write_layer
from mimo.app.project_folder import Entry, ProjectFolder
from mimo.report.media import Kept
from mimo.report.pictures import write_picture
from mimo.report.previews import Size, write_preview
from mimo.run.project import VIDEO_SUFFIXES
from mimo.video import VideoReader

logger = logging.getLogger(__name__)

TILE = Size("tile", 480, 5, 260_000, 0, 0, 0, 0, 0)
"""Previews of galleries: pixels, seconds, bytes."""
PICTURE_WIDTH, PICTURE_BYTES = 960, 120_000


@dataclass(frozen=True)
class Shown:
    """How something looks: the address of a video or of a picture, or the name of an icon; and what it is."""

    video: str = ""
    image: str = ""
    icon: str = ""
    label: str = ""


class Previews:
    """Makes what is asked for when it is not there yet, one after the other; asking never waits."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "previews")
        self._lock = threading.Lock()
        self._at_work: set[Path] = set()
        self._failed: dict[Path, int] = {}

    def entry(self, project: ProjectFolder, entry: Entry) -> Shown:
        """How something of a gallery looks."""
        if entry.kind == "templates":
            return self.template(project, entry.path)
        if entry.kind == "motions":
            return self.template(project, project.place("templates") / entry.name)
        return self.file(project, entry.path, entry.name)

    def template(self, project: ProjectFolder, folder: Path) -> Shown:
        """How a template looks: its video, or the body of one that is a motion only."""
        for name in ("vid.mp4", "sdc.mp4"):
            if (folder / name).is_file():
                return self.file(project, folder / name, folder.name)
        return Shown(icon="motion", label=folder.name)

    def file(self, project: ProjectFolder, source: Path, label: str) -> Shown:
        """How a video or picture looks; an icon while its preview is made."""
        moving = source.suffix.lower() in VIDEO_SUFFIXES
        digest = hashlib.sha256(str(source).encode()).hexdigest()[:16]
        path = project.private / "previews" / f"{digest}{'.mp4' if moving else '.webp'}"
        make = (
            partial(write_preview, video=source, size=TILE)
            if moving
            else partial(_write_picture, source=source)
        )
        if not self.ready(Kept(path, source, make)):
            return Shown(icon="wait", label=label)
        address = project.url(path)
        return Shown(video=address, label=label) if moving else Shown(image=address, label=label)

    def still(self, project: ProjectFolder, source: Path) -> str | None:
        """Address of the first frame of a video; None while it is made."""
        digest = hashlib.sha256(str(source).encode()).hexdigest()[:16]
        path = project.private / "previews" / f"{digest}.first.webp"
        return (
            project.url(path)
            if self.ready(Kept(path, source, partial(_write_first, source=source)))
            else None
        )

    def layer(self, project: ProjectFolder, template: Path, layer: str) -> str | None:
        """Address of a layer as a small video with all frames; None while it is made."""
        path = project.private / "layers" / template.name / f"{layer}.mp4"
        source = template / f"{layer}.mp4"
        kept = Kept(path, source, partial(write_layer, template=template, layer=layer))
        return project.url(path) if self.ready(kept) else None

    def ready(self, kept: Kept) -> bool:
        """Whether a small file is there; if not, it will be made."""
        if kept.fresh:
            return True
        with self._lock:
            try:
                time = kept.source.stat().st_mtime_ns
            except FileNotFoundError:
                return False
            if kept.path not in self._at_work and self._failed.get(kept.path) != time:
                self._at_work.add(kept.path)
                self._pool.submit(self._make, kept, time)
        return False

    def _make(self, kept: Kept, time: int) -> None:
        kept.path.parent.mkdir(parents=True, exist_ok=True)
        problem = kept.renew()
        with self._lock:
            self._at_work.discard(kept.path)
            if problem:
                logger.warning("%s: %s", kept.source, problem)
                self._failed[kept.path] = time


def _write_first(path: Path, source: Path) -> None:
    """Write the first frame of a video."""
    write_picture(path, Image.fromarray(VideoReader(source).frame(0)), PICTURE_WIDTH, PICTURE_BYTES)


def _write_picture(path: Path, source: Path) -> None:
    """Write a small copy of a picture, upright, what is transparent in white."""
    with Image.open(source) as image:
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    ground = Image.new("RGBA", upright.size, "white")
    write_picture(path, Image.alpha_composite(ground, upright).convert("RGB"), PICTURE_WIDTH, PICTURE_BYTES)
