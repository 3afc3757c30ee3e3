"""A run of the workflow: what `config.yaml` says, checked, and what lies in its folders.

The Snakefile, the report and the status table all see the run through `Project`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from mimo.configuration import Configuration, read_configuration
from mimo.fingerprint import fingerprint
from mimo.resources import PICTURE, Clip, Demand, demand
from mimo.segments import video_of
from mimo.sources import by_name, check_name, split_by_subject
from mimo.stage import Rejected, StageSettings, load_backend, parse_settings
from mimo.stages import STAGES, main_module, settings_class
from mimo.storage.addresses import shown
from mimo.storage.bucket import files_in, folders_in, is_there
from mimo.storage.copies import bring
from mimo.template import CONFIG, TemplateConfig
from mimo.weight_sources.digests import content_digests
from mimo.weight_sources.needs import Needs, digests, needs
from mimo.weights import use_folders

VIDEO_SUFFIXES = {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg"}
VIDEO_SUFFIXES |= {".wmv", ".flv", ".3gp", ".ogv", ".mxf"}
MOTION_SUFFIXES = {".npz", ".bvh", ".txt", ".json", ".pkl"}
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"}

Question = TypeVar("Question", bound=Callable[..., Any])


def _once(question: Question) -> Question:
    """Answer a question about a stage once for all videos and characters without settings of their own.

    A folder of a thousand videos asks the same thousands of times; a project is what it was when loaded.
    """

    @wraps(question)
    def answer(project: Project, stage: str, name: str = "") -> Any:
        video = video_of(name)
        key = (question.__name__, stage, video if video in project.config.overrides else "")
        if key not in project._answers:
            project._answers[key] = question(project, *key[1:])
        return project._answers[key]

    return cast(Question, answer)


@dataclass(frozen=True)
class Project:
    """What a run works on.

    Attributes:
        config: the configuration.
        videos: driving videos by name (the file's name without its suffix), in name order.
        characters: character pictures by name, in name order.
        templates: names of all templates: one a video, one a motion, then those dropped in by hand.
        pairs: (template, character) of each result to make.
        motions: files with 3D motion by name, in name order.
    """

    config: Configuration
    videos: dict[str, Path]
    characters: dict[str, Path]
    templates: list[str]
    pairs: list[tuple[str, str]]
    motions: dict[str, Path] = field(default_factory=dict)
    _answers: dict[tuple[str, str, str], Any] = field(default_factory=dict, init=False, compare=False)

    @classmethod
    def load(cls, values: dict[str, Any]) -> Project:
        """Check a configuration and look into its folders.

        Args:
            values: content of ``config.yaml``.

        Raises:
            Rejected: the configuration or a file name cannot be used; one line says what and what to do.
        """
        config = parse_settings(Configuration, values, "config.yaml")
        if config.segments.length is not None and config.remote_folders:
            raise Rejected("config.yaml: segments: length: cannot be used with folders on s3://")
        videos = by_name(config.videos, VIDEO_SUFFIXES, config.exclude)
        characters = by_name(config.characters, PICTURE_SUFFIXES, config.exclude)
        videos, overrides = split_by_subject(videos, config.overrides, config.subjects, config.exclude)
        config = config.model_copy(update={"overrides": overrides})
        motions = by_name(config.motions, MOTION_SUFFIXES, config.exclude)
        if both := sorted(videos.keys() & motions.keys()):
            raise Rejected(f"{videos[both[0]]} and {motions[both[0]]} would share a name; rename one of them")
        templates = [*videos, *motions, *_dropped_in(config, videos | motions)]
        if not templates:
            raise Rejected(
                f"no driving video in {shown(config.videos)}/, no motion in {shown(config.motions)}/ and no "
                f"template in {shown(config.templates)}/"
            )
        pairs = _pairs(config, templates, characters)
        project = cls(config, videos, characters, templates, pairs, motions)
        project._check_settings()
        return project

    @classmethod
    def read(cls, files: Iterable[Path]) -> Project:
        """Load a project from configuration files; keys of later files win, as for Snakemake.

        Raises:
            Rejected: as `load`, or a file is missing or is not YAML.
        """
        return cls.load(read_configuration(files))

    @classmethod
    def configured(cls, files: Iterable[Path]) -> Project:
        """As `read`, without a look into the folders: its backends and settings, no videos.

        Raises:
            Rejected: as `read`.
        """
        config = parse_settings(Configuration, read_configuration(files), "config.yaml")
        project = cls(config, {}, {}, [*config.overrides], [])
        project._check_settings()
        return project

    @property
    def dropped_in(self) -> list[str]:
        """Templates without a driving video or motion here: they are used as they are."""
        return [name for name in self.templates if name not in self.videos and name not in self.motions]

    @property
    def remote_folders(self) -> set[Path]:
        """Folders on S3-compatible storage, by their local copies (see `mimo.storage.addresses`)."""
        return self.config.remote_folders

    @property
    def used_characters(self) -> list[str]:
        """Characters that appear in a result, in name order."""
        return sorted({character for _, character in self.pairs})

    @property
    def made_here_pattern(self) -> str:
        """Regular expression of names of templates that the workflow makes of driving videos."""
        others = "|".join(re.escape(name) for name in [*self.dropped_in, *self.motions])
        return f"(?!(?:{others})/)[^/]+" if others else "[^/]+"

    def dropped_in_files(self, name: str) -> list[str]:
        """Files of a template dropped in by hand; none for our own: its ``config.json`` has their digests."""
        if name in self.videos or name in self.motions:
            return []
        folder = self.config.templates / name
        return [str(path) for path in files_in(folder) if path.suffix in (".mp4", ".npz")]

    def backend(self, stage: str, name: str = "") -> str:
        """Backend of a stage for one video or character; empty for a stage that has none."""
        return str(self._block(stage, name).get("backend", ""))

    @_once
    def settings(self, stage: str, name: str = "") -> StageSettings:
        """Settings of a stage, for one video or character.

        Args:
            stage: key of `STAGES`.
            name: video, template or character that may have settings of its own.

        Raises:
            Rejected: no such backend, an unknown key or a bad value.
        """
        block = self._block(stage, name)
        where = f"config.yaml: {f'overrides: {name}: ' if name in self.config.overrides else ''}{stage}"
        backend = block.pop("backend", None)
        return parse_settings(settings_class(stage, backend, where), block, where)

    @_once
    def options(self, stage: str, name: str = "") -> list[str]:
        """Command-line options that give a stage its backend and settings."""
        backend = self.backend(stage, name)
        settings = self.settings(stage, name).model_dump(mode="json")
        return [
            *([f"--backend={backend}"] if backend else []),
            f"--settings={json.dumps(settings, sort_keys=True, ensure_ascii=False)}",
        ]

    def weight_files(self, stage: str, name: str = "") -> dict[str, Needs]:
        """Model files a stage needs, by ``stage/backend``; of other stages with their default settings."""
        found = {f"{stage}/{self.backend(stage, name)}": self.settings(stage, name)}
        for other, backend in self._used_backends(stage, name)[1:]:
            found[f"{other}/{backend}"] = load_backend(STAGES[other], backend).Settings()
        return {user: needs(user, settings) for user, settings in found.items()}

    @_once
    def digest(self, stage: str, name: str = "") -> str:
        """Digest of the code and the model files that a stage uses (see `mimo.fingerprint`).

        Of a file or folder that the settings name, the contents count.
        """
        files = [digest for needed in self.weight_files(stage, name).values() for digest in digests(needed)]
        for _, value in self.settings(stage, name):
            if isinstance(value, Path) and value.exists():
                files += content_digests(value)
        return _digest(main_module(stage), tuple(self._used_backends(stage, name)), tuple(files))

    @_once
    def uses_networks(self, stage: str, name: str = "") -> bool:
        """Whether a backend that a stage uses computes with PyTorch, on a device that its settings choose."""
        classes = (
            settings_class(*used, "config.yaml") for used in self._used_backends(stage, name) if used[1]
        )
        return any("device" in settings.model_fields for settings in classes)

    def environment(self, stage: str, name: str = "") -> str:
        """Conda environment of a stage's job, relative to ``rules/`` (see `mimo.environments`)."""
        return f"../envs/{'gpu/' if self.uses_networks(stage, name) else ''}{stage}.yaml"

    @_once
    def extra_files(self, stage: str, name: str = "") -> list[str]:
        """Files that a stage's settings name, so that the stage runs again when one changes."""
        values = (value for _, value in self.settings(stage, name))
        return [str(value) for value in values if isinstance(value, Path) and value.is_file()]

    def threads(self, stage: str, name: str = "") -> int:
        """Processor cores that a stage's backend keeps busy."""
        return self.demand(stage, name, PICTURE).threads

    def gpus(self, stage: str, name: str = "") -> int:
        """Number of GPUs that a stage's backend needs."""
        return self.demand(stage, name, PICTURE).gpu

    def demand(self, stage: str, name: str, clip: Clip, attempt: int = 1) -> Demand:
        """What a stage's job asks for (see `mimo.resources`).

        Args:
            stage: key of `STAGES`.
            name: video, template or character.
            clip: what the job works on.
            attempt: 1, or higher for a job that failed before.
        """
        return demand(stage, self.backend(stage, name), self.settings(stage, name), clip, attempt)

    @_once
    def _used_backends(self, stage: str, name: str) -> list[tuple[str, str]]:
        """The stage with its backend, and those of other stages that a setting ``STAGE_backend`` names."""
        used = [(stage, self.backend(stage, name))]
        for key, value in self.settings(stage, name):
            other = key.removesuffix("_backend")
            if other != key and other in STAGES:
                used.append((other, value))
        return used

    def _block(self, stage: str, name: str) -> dict[str, Any]:
        block = getattr(self.config, stage)
        own = self.config.overrides.get(video_of(name), {}).get(stage, {})
        if own.get("backend", block.get("backend")) != block.get("backend"):
            return dict(own)
        return block | own

    def _check_settings(self) -> None:
        use_folders(self.config.weights)
        for stage in STAGES:
            self.settings(stage)
        for name, stages in self.config.overrides.items():
            if name not in self.templates and name not in self.characters and name not in self.config.exclude:
                raise Rejected(f"config.yaml: overrides: no video, template or character '{name}'")
            for stage in stages:
                if stage not in STAGES:
                    known = ", ".join(STAGES)
                    raise Rejected(f"config.yaml: overrides: {name}: no stage '{stage}' (known: {known})")
                self.settings(stage, name)
        for template in sorted({template for template, _ in self.pairs} & self.videos.keys()):
            made, needed = (self.settings(stage, template).body_model for stage in ("pose", "synthesis"))
            if needed not in (None, made):
                raise Rejected(
                    f"config.yaml: {template}: pose backend {self.backend('pose', template)} gives a motion "
                    f"of {made}, synthesis backend {self.backend('synthesis', template)} needs {needed}"
                    "; change either"
                )


def _dropped_in(config: Configuration, videos: dict[str, Path]) -> list[str]:
    names = []
    bring(config.templates, CONFIG)
    for path in folders_in(config.templates):
        there = is_there(path / CONFIG, config.templates)
        if path.name.startswith(".") or path.name in config.exclude or not there:
            continue
        if path.name not in videos:
            check_name(path)
            names.append(path.name)
        elif TemplateConfig.read(path / CONFIG).pipeline is None:
            raise Rejected(
                f"{path} was not made here, but {videos[path.name]} would be made into it; rename one of them"
            )
    return names


def _pairs(config: Configuration, templates: list[str], characters: dict[str, Path]) -> list[tuple[str, str]]:
    if config.pairs is None:
        return [(template, character) for template in templates for character in characters]
    for pair in config.pairs:
        for kind, name, known in (
            ("template", pair.template, templates),
            ("character", pair.character, characters),
        ):
            if name not in known and name not in config.exclude:
                raise Rejected(
                    f"config.yaml: pairs: no {kind} '{name}' (there is {', '.join(known) or 'none'})"
                )
    chosen = dict.fromkeys((pair.template, pair.character) for pair in config.pairs)
    return [
        (template, character)
        for template, character in chosen
        if not {template, character} & {*config.exclude}
    ]


@cache
def _digest(main: str, used: tuple[tuple[str, str], ...], also: tuple[str, ...]) -> str:
    """Digest of a command line's module, of some (stage, backend), and of further texts."""
    modules = [f"{STAGES[stage]}.{backend.replace('-', '_')}" for stage, backend in used if backend]
    return fingerprint(main, *modules, also=also)
