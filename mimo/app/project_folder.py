"""Changes in a user's project: what the page chooses is written where the command line reads it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from mimo.app.config_text import with_key
from mimo.app.project_view import (
    GALLERY_KINDS,
    PRIVATE,
    SERVED_KINDS,
    SUFFIXES,
    Entry,
    Kind,
    ProjectView,
    Result,
)
from mimo.files import whole_file
from mimo.fingerprint import ROOT
from mimo.run.configuration import Configuration, read_configuration
from mimo.run.jobs_file import JobRow, append_job, remove_jobs
from mimo.run.matrix import DEFAULT_FILE
from mimo.scene_names import JOINT
from mimo.stage import Rejected

__all__ = ["GALLERY_KINDS", "PRIVATE", "SERVED_KINDS", "SUFFIXES", "Entry", "Kind", "ProjectFolder", "Result"]

Settings = dict[str, dict[str, Any]]
"""Settings by stage and key."""

_OF_ONE_PROJECT = ("exclude", "pairs", "jobs", "overrides", "subjects", "app")
"""Keys of the configuration that speak of one project's files, and are not handed on to users' projects."""

_naming = threading.RLock()


class ProjectFolder(ProjectView):
    """A project folder of one user that can be changed."""

    def prepare(self) -> None:
        """Make the folders and the configuration, where they are missing.

        A project that begins here has an empty table of jobs: only what is asked for is made.
        """
        for name in (*SUFFIXES, "templates", "results"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.private.chmod(0o700)
        config = self.folder / "config.yaml"
        if config.is_file():
            return
        if not (table := self.folder / DEFAULT_FILE).exists():
            with whole_file(table) as part:
                part.write_text("character\tmotion\tscene\n", encoding="utf-8")
        with whole_file(config) as part:
            if self.origin.parent == ROOT:
                shutil.copyfile(self.origin, part)
            else:
                part.write_text(yaml.safe_dump(_handed_on(self.origin), sort_keys=False, allow_unicode=True))

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let nobody else give a name, or change settings, in this server's projects until the block ends."""
        with _naming:
            yield

    def use(self, entry: Entry) -> None:
        """Make something of the gallery part of the project: by a link, it is not copied."""
        if not entry.shared:
            return
        self.prepare()
        link = self.place(entry.kind) / entry.path.name
        with suppress(FileExistsError):
            link.symlink_to(entry.path)

    def add_row(self, character: str, motion: str, scene: str = "") -> None:
        """Ask for a result in the table of jobs.

        Raises:
            Rejected: the table cannot take it, or the workflow would refuse it; nothing is changed then.
        """
        self.prepare()
        path, row = self.table, JobRow(character, motion, scene)
        with self.naming():
            if not path.exists():
                # Until now every template was put together with every character.
                append_job(path, JobRow("*", "*"))
            if append_job(path, row):
                self._checked(lambda: remove_jobs(path, lambda other: other == row))

    @property
    def table(self) -> Path:
        """The table of jobs."""
        return Path(str(self.configuration.get("jobs", self.folder / DEFAULT_FILE)))

    def side_file(self, kind: Kind, name: str) -> Path:
        """Where settings of one name stand: ``KIND/NAME.yaml``."""
        return self.place(kind) / f"{name}.yaml"

    def side_settings(self, kind: Kind, name: str) -> Settings:
        """Settings of one name by stage; none where there is no side file."""
        path = self.side_file(kind, name)
        return read_configuration([path]) if path.is_file() else {}

    def change_side_settings(self, kind: Kind, name: str, changes: dict[str, dict[str, Any]]) -> None:
        """Change settings of one name in its side file, and leave its others as they are.

        Args:
            kind, name: of something of the project.
            changes: stage, key, value; a value of None removes the key.

        Raises:
            Rejected: the workflow would refuse them; nothing is changed then.
        """
        path = self.side_file(kind, name)
        with self.naming():
            before = self.side_settings(kind, name)
            self._write_side_file(path, _changed(before, changes))
            self._checked(lambda: self._write_side_file(path, before))

    def overrides(self, name: str) -> Settings:
        """Settings of one name in ``config.yaml``, such as those of a staged template."""
        return dict(self.configuration.get("overrides", {}).get(name, {}))

    def change_overrides(self, name: str, changes: dict[str, dict[str, Any]]) -> None:
        """Change settings of one name in ``config.yaml``; see `change_side_settings`.

        Raises:
            Rejected: the workflow would refuse them; nothing is changed then.
        """
        with self.naming():
            every = dict(self.configuration.get("overrides", {}))
            settings = _changed(every.pop(name, {}), changes)
            self.change_configuration({"overrides": every | ({name: settings} if settings else {})})

    def change_configuration(self, values: dict[str, Any]) -> None:
        """Give keys of ``config.yaml`` other values; the rest of its text stays.

        Raises:
            Rejected: the workflow would refuse them; nothing is changed then.
        """
        self.prepare()
        path = self.folder / "config.yaml"
        with self.naming():
            before = text = path.read_text(encoding="utf-8")
            for key, value in values.items():
                text = with_key(text, key, value)
            _write(path, text)
            self._checked(lambda: _write(path, before))

    def discard(self, entry: Entry) -> None:
        """Delete something, and all that was made of it (see `mimo.app.core.Core.delete`).

        Raises:
            Rejected: it belongs to the gallery.
        """
        if entry.shared:
            raise Rejected("this belongs to the gallery, which all users share; it cannot be deleted here")
        with self.naming():
            name = entry.name
            if entry.kind == "characters":
                _remove(self.place("prepared") / name)
                for result in self.results():
                    if name in _characters(result.character):
                        self.discard_result(result)
            else:
                for template in self._templates_of(name):
                    for kind in ("templates", "results"):
                        _remove(self.place(kind) / template)
                    self._forget_logs(template)
                _remove(self.place("corrections") / name)
            self._forget_logs(name)
            self._without_rows(name)
            self._without_settings(name)
            self.side_file(entry.kind, name).unlink(missing_ok=True)
            _remove(entry.path)

    def discard_result(self, result: Result) -> None:
        """Delete a finished video with all that lies beside it, and its row in the table of jobs."""
        for path in result.path.parent.glob("*"):
            if path.name.startswith(f"{result.character}."):
                _remove(path)
        motion, _, scene = result.template.partition(JOINT)
        wanted = (result.character.replace(",", ";"), motion, scene)
        remove_jobs(
            self.table,
            lambda row: (row.character, row.motion, str(row.scene).lstrip("#").replace("own", "")) == wanted,
        )

    def _templates_of(self, name: str) -> list[str]:
        """Names of templates that are made of a video, motion or scene."""
        people = self.configuration.get("subjects", {}).get(name, {})
        own = [name, *(f"{name}-{person}" for person in people)]
        there = {path.name for kind in ("templates", "results") for path in self.place(kind).glob("*")}
        return [*own, *sorted(one for one in there if JOINT in one and name in one.split(JOINT))]

    def _forget_logs(self, name: str) -> None:
        for path in self.place("logs").glob("*/*"):
            if path.name in (name, f"{name}.log", f"{name}.tsv"):
                _remove(path)

    def _without_rows(self, name: str) -> None:
        """Take a name out of the table of jobs."""
        left: list[JobRow] = []

        def speaks_of(row: JobRow) -> bool:
            cells = [_words(cell) for cell in (row.character, row.motion, row.scene)]
            if not any(name == word or name in _characters(word) for cell in cells for word in cell):
                return False
            kept = [", ".join(w for w in cell if w != name and name not in _characters(w)) for cell in cells]
            if kept[0] and kept[1] and (kept[2] or not cells[2]):
                left.append(JobRow(*kept))
            return True

        remove_jobs(self.table, speaks_of)
        for row in left:
            append_job(self.table, row)

    def _without_settings(self, name: str) -> None:
        every = self.configuration.get("overrides", {})
        kept = {other: value for other, value in every.items() if name not in other.split(JOINT)}
        if kept != every:
            path = self.folder / "config.yaml"
            _write(path, with_key(path.read_text(encoding="utf-8"), "overrides", kept))

    def _checked(self, undo: Any) -> None:
        """Look at the project as it is now, and undo the change that made it unusable.

        Raises:
            Rejected: it cannot be used.
        """
        try:
            self.load()
        except Rejected:
            undo()
            raise

    @staticmethod
    def _write_side_file(path: Path, values: Settings) -> None:
        if values:
            _write(path, yaml.safe_dump(values, allow_unicode=True))
        else:
            path.unlink(missing_ok=True)


def _changed(before: Settings, changes: dict[str, dict[str, Any]]) -> Settings:
    """Settings with others on top; a value of None goes, and a stage without any."""
    stages = {stage: {**before.get(stage, {}), **changes.get(stage, {})} for stage in before | changes}
    kept = {
        stage: {key: value for key, value in values.items() if value is not None}
        for stage, values in stages.items()
    }
    return {stage: values for stage, values in kept.items() if values}


def _handed_on(origin: Path) -> dict[str, Any]:
    """What users' projects take of the workspace's configuration: stages and their settings."""
    values = read_configuration([origin])
    kept = {
        name: value
        for name, value in values.items()
        if name not in _OF_ONE_PROJECT and not isinstance(Configuration.model_fields[name].default, Path)
    }
    return kept | {"weights": [str(origin.parent / folder) for folder in values.get("weights", [])]}


def _words(cell: str | tuple[str, ...]) -> list[str]:
    words = cell.split(",") if isinstance(cell, str) else cell
    return [word.strip() for word in words if word.strip()]


def _characters(word: str) -> list[str]:
    """Names in a result's character: itself, or those of a cast ``anna=woman,ben=keep``."""
    roles = word.replace(";", ",").split(",")
    return [role.rpartition("=")[2].strip() for role in roles]


def _write(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _remove(path: Path) -> None:
    """Delete a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
