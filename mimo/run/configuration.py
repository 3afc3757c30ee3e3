"""What `config.yaml` may say, and the reading of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field

from mimo.alpha_video import AlphaFormat
from mimo.app.limits import Limits
from mimo.run.matrix import DEFAULT_FILE, Pair
from mimo.segments import SegmentSettings
from mimo.stage import Rejected, StageSettings
from mimo.storage.addresses import address, local_folder

Folder = Annotated[Path, BeforeValidator(local_folder)]
"""A folder here, or ``s3://BUCKET/FOLDER`` with local copies (see `mimo.storage.addresses`)."""


class AlphaSettings(StageSettings):
    """Results for compositors: the character alone, its shadow, and what is in front of it cut out."""

    format: AlphaFormat | None = Field(
        "prores", description="a file beside the result: .mov, .webm, or a folder of pictures; null: none"
    )
    of: Literal["transparent", "all"] = Field(
        "transparent", description="which results have one: those without a scene, or all"
    )


class Configuration(StageSettings):
    """Structure of ``config.yaml``; each stage's block is checked by its backend's own `Settings`."""

    videos: Folder = Field(Path("videos"), description="folder of driving videos")
    motions: Folder = Field(Path("motions"), description="folder of files with 3D motion")
    scenes: Folder = Field(Path("scenes"), description="folder of scenes: pictures and videos")
    characters: Folder = Field(Path("characters"), description="folder of character pictures")
    corrections: Path = Field(
        Path("corrections"), description="folder of corrections of masks: a folder for each video"
    )
    templates: Folder = Field(
        Path("templates"), description="folder of templates, made or dropped in by hand"
    )
    prepared: Folder = Field(Path("prepared"), description="folder of prepared characters")
    results: Folder = Field(Path("results"), description="folder of finished videos and of the report")
    logs: Path = Field(Path("logs"), description="folder of logs and resource measurements")
    weights: list[Path] = Field([], description="folders with model files you have already; used in place")
    exclude: list[str] = Field([], description="names of videos, templates and characters to leave out")
    jobs: Path | list[dict[str, Any]] = Field(
        DEFAULT_FILE,
        description="results to make: a table with columns character, motion, scene; or a list of these. "
        "Without the file: every template with every character",
    )
    pairs: list[Pair] | None = Field(None, description="results to make, without scenes, in place of jobs")
    alpha: AlphaSettings = Field(
        {}, validate_default=True, description="results for compositors, with transparency"
    )
    overrides: dict[str, dict[str, dict[str, Any]]] = Field(
        {}, description="settings for single videos or characters: name, stage, key"
    )
    subjects: dict[str, dict[str, Any]] = Field(
        {},
        description="videos of which several people become templates, VIDEO-NAME each: video, name of a "
        "person, and who it is: segmentation's subject, or settings of segmentation",
    )
    segments: SegmentSettings = Field(
        {},
        validate_default=True,
        description="how long videos are divided, to be worked on in parallel",
    )
    app: Limits = Field({}, validate_default=True, description="limits of the web app's users")
    ingest: dict[str, Any] = Field({}, description="settings of the stage")
    segmentation: dict[str, Any] = Field({}, description="backend and settings of the stage")
    pose: dict[str, Any] = Field({}, description="backend and settings of the stage")
    occlusion: dict[str, Any] = Field({}, description="backend and settings of the stage")
    inpainting: dict[str, Any] = Field({}, description="backend and settings of the stage")
    template: dict[str, Any] = Field({}, description="settings of the stage")
    motion: dict[str, Any] = Field({}, description="settings of the stage")
    group: dict[str, Any] = Field({}, description="settings of the stage")
    staging: dict[str, Any] = Field({}, description="settings of the stage")
    character: dict[str, Any] = Field({}, description="backend and settings of the stage")
    synthesis: dict[str, Any] = Field({}, description="backend and settings of the stage")

    @property
    def remote_folders(self) -> set[Path]:
        """Folders on S3-compatible storage, by their local copies (see `mimo.storage.addresses`)."""
        inputs = (self.videos, self.motions, self.scenes, self.characters)
        made = (self.templates, self.prepared, self.results)
        return {folder for folder in (*inputs, *made) if address(folder)}


def add_configfile_option(parser: argparse.ArgumentParser) -> None:
    """Let a program that looks at a run be told its configuration as Snakemake is."""
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[],
        help="further configuration files, which win over config.yaml, as for snakemake",
    )


def chosen_configfiles(args: argparse.Namespace) -> list[Path]:
    """Files to read a project from, by a command line with that option."""
    return [Path("config.yaml"), *args.configfile]


def configuration_files(program: str, description: str | None, argv: list[str] | None) -> list[Path]:
    """Files to read a project from, by the command line of a program that is told nothing else."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    add_configfile_option(parser)
    return chosen_configfiles(parser.parse_args(argv))


def read_configuration(files: Iterable[Path]) -> dict[str, Any]:
    """Content of configuration files; keys of later files win, as for Snakemake.

    Raises:
        Rejected: a file is missing or is not YAML.
    """
    values: dict[str, Any] = {}
    for path in files:
        try:
            values = _merged(values, yaml.safe_load(path.read_text()) or {})
        except OSError as error:
            raise Rejected(f"{path}: {error.strerror}") from None
        except yaml.YAMLError as error:
            raise Rejected(f"{path}: {' '.join(str(error).split())}") from None
    return values


def _merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = values.keys() & more.keys()
    nested = {
        k: _merged(values[k], more[k])
        for k in both
        if isinstance(values[k], dict) and isinstance(more[k], dict)
    }
    return values | more | nested
