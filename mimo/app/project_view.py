"""What there is in a user's project: a folder in the layout of the workflow, as for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from mimo.fingerprint import ROOT
from mimo.run.configuration import Configuration, read_configuration
from mimo.run.project import MOTION_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES, Project
from mimo.run.sources import by_name
from mimo.stage import Rejected
from mimo.template import CONFIG, TemplateConfig

Kind = Literal["videos", "motions", "characters", "scenes", "templates"]
"""A folder of a project with what results are made of."""

SUFFIXES: dict[str, set[str]] = {
    "videos": VIDEO_SUFFIXES,
    "motions": MOTION_SUFFIXES,
    "characters": PICTURE_SUFFIXES,
    "scenes": VIDEO_SUFFIXES | PICTURE_SUFFIXES,
}
"""What users bring, and how its files' names may end."""

PRIVATE = ".mimo-app"
"""Folder in a project for what only the app reads."""

GALLERY_KINDS = ("templates", "motions", "characters", "scenes")
"""What a gallery offers."""

PRIVATE_KINDS = ("previews", "layers")
"""Folders of the private one that its user may read files of."""

SERVED_KINDS = (*SUFFIXES, "templates", "prepared", "results", "corrections", *PRIVATE_KINDS)
"""Folders of a project that its user may read files of."""


@dataclass(frozen=True)
class Entry:
    """Something that a result can be made of.

    Attributes:
        kind: the folder that it lies in.
        name: its name, without suffix.
        path: the file; of a template its folder.
        shared: it lies in the gallery that all users see, not in the project.
        template: of a template what it is (``video``, ``motion``, ``staged``, ``group``, ``foreign``: not
            made by us); of anything else empty.
    """

    kind: Kind
    name: str
    path: Path
    shared: bool
    template: str = ""


@dataclass(frozen=True)
class Result:
    """A finished video: ``results/TEMPLATE/CHARACTER.mp4``."""

    template: str
    character: str
    path: Path

    @property
    def record(self) -> Path:
        """What synthesis wrote about it."""
        return self.path.with_suffix(".json")


@dataclass(frozen=True)
class ProjectView:
    """A project folder of one user, and the gallery that may be used in it, as they are looked at.

    Attributes:
        user: whose it is; empty for the only user.
        folder: absolute path; may be missing.
        gallery: another project, whose templates, motions, characters and scenes are offered, too; or None.
        origin: configuration that ``config.yaml`` is made from where there is none.
    """

    user: str
    folder: Path
    gallery: Path | None
    origin: Path = ROOT / "config.yaml"

    @property
    def private(self) -> Path:
        """Folder for what only the app reads; made if it is not there."""
        path = self.folder / PRIVATE
        if not path.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
        return path

    @property
    def configuration(self) -> dict[str, Any]:
        """Content of ``config.yaml``, with absolute folders: the server works in none of the projects."""
        path = self.folder / "config.yaml"
        path = path if path.is_file() else self.origin
        status = path.stat()
        values = dict(_content(path, status.st_mtime_ns, status.st_size))
        for name, field in Configuration.model_fields.items():
            given = values.get(name, field.default)
            if isinstance(field.default, Path) and isinstance(given, (str, Path)) and "://" not in str(given):
                values[name] = str(self.folder / given)
        values["weights"] = [str(self.folder / folder) for folder in values.get("weights") or []]
        return values

    def load(self) -> Project:
        """The project as the workflow sees it, with absolute paths.

        Raises:
            Rejected: it is empty, or something in it cannot be used.
        """
        try:
            return Project.load(self.configuration)
        except Rejected as error:
            raise Rejected(self.words(str(error))) from None

    def words(self, text: str) -> str:
        """A text without the places where the project, the gallery and the program lie on the server."""
        for place in filter(None, (self.folder, self.gallery, ROOT)):
            text = text.replace(f"{place}/", "").replace(str(place), "the project")
        return text

    def place(self, kind: str) -> Path:
        """Folder of a kind: ``videos``, ``results`` and so on; those of `PRIVATE_KINDS` are the app's own."""
        if kind in PRIVATE_KINDS:
            return self.folder / PRIVATE / kind
        return Path(self.configuration.get(kind, self.folder / kind))

    def entries(self, kind: Kind) -> list[Entry]:
        """What there is of a kind, by name; then what the gallery has under other names."""
        own = _entries(kind, self.place(kind), shared=False)
        if self.gallery is None:
            return own
        names = {entry.name for entry in own}
        return own + [e for e in _entries(kind, self.gallery / kind, shared=True) if e.name not in names]

    def entry(self, kind: Kind, name: str) -> Entry:
        """One of `entries`.

        Raises:
            Rejected: there is none of that name.
        """
        for entry in self.entries(kind):
            if entry.name == name:
                return entry
        raise Rejected(f"there is no '{name}' among your {kind}; it may have been deleted")

    @staticmethod
    def own_kinds() -> tuple[Kind, ...]:
        """Kinds of what users bring."""
        return ("videos", "motions", "characters", "scenes")

    def taken_names(self) -> set[str]:
        """Names, in lower case, that nothing new may have: results and settings go by them."""
        kinds = (*self.own_kinds(), "templates")
        return {entry.name.casefold() for kind in kinds for entry in self.entries(kind)}

    def results(self) -> list[Result]:
        """All finished videos, the latest first."""
        found = [
            Result(path.parent.name, path.stem, path)
            for path in self.place("results").glob("*/*.mp4")
            if not path.name.startswith(".")
        ]
        return sorted(found, key=lambda result: result.path.stat().st_mtime, reverse=True)

    def url(self, path: Path, download: str | None = None) -> str:
        """Address of a file of the project or of the gallery (see `mimo.app.media`).

        Args:
            path: the file.
            download: name to save it under; None: to be shown.

        Raises:
            ValueError: it lies elsewhere.
        """
        path = path.absolute()
        places = [("media", kind, self.place(kind)) for kind in SERVED_KINDS]
        if self.gallery is not None:
            places += [("gallery", kind, self.gallery / kind) for kind in GALLERY_KINDS]
        for route, kind, folder in places:
            if path.is_relative_to(folder):
                place = f"/{route}/{kind}/{quote(path.relative_to(folder).as_posix())}"
                break
        else:
            raise ValueError(f"{path} is in neither {self.folder} nor the gallery")
        version = path.stat().st_mtime_ns if path.exists() else 0
        return f"{place}?v={version}" + (f"&download={quote(download, safe='')}" if download else "")


@lru_cache(256)
def _content(path: Path, time: int, size: int) -> dict[str, Any]:
    """Content of a ``config.yaml`` as it is at that time: to draw a page takes hundreds of looks at it."""
    return read_configuration([path])


def _entries(kind: Kind, folder: Path, *, shared: bool) -> list[Entry]:
    if kind == "templates":
        return [Entry(kind, path.name, path, shared, what) for path, what in _templates(folder)]
    with suppress(Rejected):
        return [Entry(kind, name, path, shared) for name, path in by_name(folder, SUFFIXES[kind]).items()]
    return []


def _templates(folder: Path) -> Iterator[tuple[Path, str]]:
    """Finished templates of a folder and what they are, by name."""
    for path in sorted(folder.glob(f"*/{CONFIG}")):
        if path.parent.name.startswith("."):
            continue
        with suppress(Rejected):
            config = TemplateConfig.read(path)
            kind = "foreign" if config.pipeline is None else config.pipeline.get("kind", "video")
            yield path.parent, str(kind)
