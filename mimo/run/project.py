"""A run of the workflow: what `config.yaml` says, checked, and what lies in its folders.

The Snakefile, the report and the status table all see the run through `Project`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field, replace
from functools import cache, wraps
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from mimo.fingerprint import fingerprint
from mimo.run import matrix
from mimo.run.checks import check_settings, check_staged, check_storage
from mimo.run.configuration import Configuration, read_configuration
from mimo.run.matrix import Results, Stock
from mimo.run.resources import PICTURE, Clip, Demand, demand
from mimo.run.side_files import SideFiles, read_side_files, with_side_files
from mimo.run.sources import (
    by_name,
    dropped_in_templates,
    members_of,
    overridden,
    refuse_reserved_names,
    refuse_shared_names,
    split_by_subject,
)
from mimo.run.stages import STAGES, main_module, settings_class
from mimo.scene_names import JOINT, Staging, scene_argument
from mimo.segments import any_of, video_of
from mimo.stage import Rejected, StageSettings, load_backend, parse_settings
from mimo.storage.addresses import shown
from mimo.storage.bucket import files_in
from mimo.weight_sources.digests import content_digests
from mimo.weight_sources.needs import Needs, digests, needs

VIDEO_SUFFIXES = {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg"}
VIDEO_SUFFIXES |= {".wmv", ".flv", ".3gp", ".ogv", ".mxf"}
MOTION_SUFFIXES = {".npz", ".bvh", ".txt", ".json", ".pkl"}
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"}

Kind = Literal["video", "motion", "staged", "group", "template"]
"""What a template is made of: a driving video, a file with 3D motion, a motion and a scene, several people of
a video; or nothing here, when it was dropped in by hand."""

Question = TypeVar("Question", bound=Callable[..., Any])


def _once(question: Question) -> Question:
    """Answer a question about a stage once for all videos and characters without settings of their own.

    A folder of a thousand videos asks the same thousands of times; a project is what it was when loaded.
    """

    @wraps(question)
    def answer(project: Project, stage: str, name: str = "") -> Any:
        own = tuple(one for one in _owners(name) if one in project.config.overrides)
        key = (question.__name__, stage, video_of(name) if own else "")
        if key not in project._answers:
            project._answers[key] = question(project, *key[1:])
        return project._answers[key]

    return cast(Question, answer)


def _owners(name: str) -> tuple[str, ...]:
    """Names whose settings hold for a name, those that win last.

    A segment has those of its video; a motion put into a scene those of the scene, the motion and its own.
    """
    video = video_of(name)
    if JOINT not in video:
        return (video,)
    staging = Staging.named(video)
    return (staging.scene, staging.motion, video)


@dataclass(frozen=True)
class Project:
    """What a run works on.

    Attributes:
        config: the configuration; its `overrides` with what stands in side files (`mimo.run.side_files`).
        videos: driving videos by name (the file's name without its suffix), in name order.
        characters: character pictures by name, in name order.
        motions: files with 3D motion by name, in name order.
        scenes: pictures and videos to put motions into by name, in name order.
        groups: of videos with several people: members, and the template of each.
        dropped_in: templates that nothing here makes: they are used as they are.
        results: what is made of all this.
        side_files: by the name that they are for, with what stands in them.
    """

    config: Configuration
    videos: dict[str, Path] = field(default_factory=dict)
    characters: dict[str, Path] = field(default_factory=dict)
    motions: dict[str, Path] = field(default_factory=dict)
    scenes: dict[str, Path] = field(default_factory=dict)
    groups: dict[str, dict[str, str]] = field(default_factory=dict)
    dropped_in: list[str] = field(default_factory=list)
    results: Results = field(default_factory=Results)
    side_files: SideFiles = field(default_factory=dict)
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
        check_storage(config)
        exclude = config.exclude
        sources = by_name(config.videos, VIDEO_SUFFIXES, exclude)
        characters = by_name(config.characters, PICTURE_SUFFIXES, exclude)
        motions = by_name(config.motions, MOTION_SUFFIXES, exclude)
        scenes = by_name(config.scenes, VIDEO_SUFFIXES | PICTURE_SUFFIXES, exclude)
        refuse_reserved_names(scenes)
        folders = (config.videos, config.characters, config.motions, config.scenes)
        named = (sources, characters, motions, scenes)
        side_files = read_side_files(zip(folders, named, strict=True), exclude)
        overrides = with_side_files(config.overrides, side_files)
        videos, overrides = split_by_subject(sources, overrides, config.subjects, exclude)
        config = config.model_copy(update={"overrides": overrides})
        groups = members_of(config.subjects, videos, exclude)
        group_sources = {name: sources[name] for name in groups}
        refuse_shared_names(videos, group_sources, motions, scenes)
        made_of = videos | group_sources | motions
        dropped_in = dropped_in_templates(config.templates, made_of, exclude)
        refuse_shared_names(scenes, {name: config.templates / name for name in dropped_in})
        project = cls(config, videos, characters, motions, scenes, groups, dropped_in, side_files=side_files)
        if not project.templates:
            raise Rejected(
                f"no driving video in {shown(config.videos)}/, no motion in {shown(config.motions)}/ and no "
                f"template in {shown(config.templates)}/"
            )
        project = replace(project, results=project._wanted())
        check_staged(project)
        check_settings(project)
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
        project = cls(parse_settings(Configuration, read_configuration(files), "config.yaml"))
        check_settings(project)
        return project

    @property
    def templates(self) -> list[str]:
        """Templates that characters are put into: one a video, one a motion, then those dropped in by hand.

        Motions in scenes are in `results.staged`.
        """
        return [*self.videos, *self.motions, *self.dropped_in]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(template, character) of each result with one character."""
        return self.results.pairs

    def kind(self, template: str) -> Kind:
        """What a template is made of."""
        kinds: dict[Kind, Container[str]] = {
            "video": self.videos,
            "motion": self.motions,
            "group": self.groups,
            "template": self.dropped_in,
        }
        return next((kind for kind, names in kinds.items() if template in names), "staged")

    @property
    def staged_pattern(self) -> str:
        """Regular expression of names of motions in scenes; short, whatever number of them there is."""
        staged = self.results.staged.values()
        motions, scenes = ({getattr(one, part): None for one in staged} for part in ("motion", "scene"))
        return f"(?:{any_of(motions)}){JOINT}(?:{any_of(scenes)})"

    @property
    def made_here_pattern(self) -> str:
        """Regular expression of names of templates that the workflow makes of driving videos."""
        others = any_of([*self.dropped_in, *self.motions, *self.groups])
        return f"(?!(?:{others}|{self.staged_pattern})/)[^/]+"

    @property
    def cast_groups(self) -> list[str]:
        """Groups that appear in a result, in name order."""
        return sorted({group for group, _ in self.results.casts})

    def scene_argument(self, staged: str) -> str:
        """Where a motion is put into, as the staging command line is told."""
        scene = Staging.named(staged).scene
        if scene in self.scenes:
            return str(self.scenes[scene])
        return str(self.config.templates / scene) if scene in self.templates else scene_argument(scene)

    def dropped_in_files(self, name: str) -> list[str]:
        """Files of a template dropped in by hand; none for our own: its ``config.json`` has their digests."""
        if name not in self.dropped_in:
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
        where = f"{self.place(stage, name)}{stage}"
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

    def digest(self, stage: str, name: str = "", main: str = "") -> str:
        """Digest of the code and the model files that a stage uses (see `mimo.fingerprint`).

        Of a file or folder that the settings name, the contents count.

        Args:
            stage: key of `STAGES`.
            name: video, template or character.
            main: module of the command line, if it is not the stage's own.
        """
        return _digest(
            main or main_module(stage), tuple(self._used_backends(stage, name)), self._contents(stage, name)
        )

    @_once
    def _contents(self, stage: str, name: str = "") -> tuple[str, ...]:
        """Digests of the files that a stage's settings need or name."""
        files = [digest for needed in self.weight_files(stage, name).values() for digest in digests(needed)]
        for _, value in self.settings(stage, name):
            if isinstance(value, Path) and value.exists():
                files += content_digests(value)
        return tuple(files)

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
        """What a stage's job asks for (see `mimo.run.resources`).

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
        block = dict(getattr(self.config, stage))
        for owner in _owners(name):
            block = overridden(block, self.config.overrides.get(owner, {}).get(stage, {}))
        return block

    def place(self, stage: str, name: str) -> str:
        """Where a name's settings of a stage stand, for a message."""
        owners = [one for one in _owners(name) if stage in self.config.overrides.get(one, {})]
        files = [file for one in owners for file in self.side_files.get(one, {}).items()]
        beside = [shown(path) for path, stages in files if stage in stages]
        if beside:
            return f"{' and '.join(beside)}: "
        return f"config.yaml: {f'overrides: {owners[-1]}: ' if owners else ''}"

    def _wanted(self) -> Results:
        """The results that the configuration, or the table that it names, asks for."""
        config = self.config
        out = {*config.exclude}
        out |= {
            name for name, people in config.subjects.items() if any(f"{name}-{one}" in out for one in people)
        }
        stock = Stock(self.templates, self.motions, self.characters, self.scenes, self.groups, out)
        rows = matrix.job_rows(config.jobs)
        if rows is not None and config.pairs is not None:
            place = config.jobs if isinstance(config.jobs, Path) else "jobs"
            raise Rejected(f"config.yaml: pairs and {place} both say which results to make; remove either")
        if rows is not None:
            return matrix.combined(rows, stock)
        return matrix.every_pair(stock) if config.pairs is None else matrix.chosen_pairs(config.pairs, stock)


@cache
def _digest(main: str, used: tuple[tuple[str, str], ...], also: tuple[str, ...]) -> str:
    """Digest of a command line's module, of some (stage, backend), and of further texts."""
    modules = [f"{STAGES[stage]}.{backend.replace('-', '_')}" for stage, backend in used if backend]
    return fingerprint(main, *modules, also=also)
