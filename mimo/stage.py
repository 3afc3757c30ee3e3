"""What every stage's command line shares: settings, backends, outcomes, records.

A stage is a package or module of `video_decomp` or `mimo` with a command line. Exit codes:
0 done, 3 input rejected (one line ``REJECTED: why`` on standard error), 143 told to end (``STOPPED: why``),
anything else a fault (``FAULT: why``, or a traceback).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from tqdm import tqdm

from mimo.files import TakenOver, sole_maker, why_not_written, write_json
from mimo.lifetime import EXIT_STOPPED, Stopped, ends_in_order

EXIT_REJECTED = 3
EXIT_FAULT = 1

Item = TypeVar("Item")


class Rejected(Exception):
    """The input cannot be used, and running again will not help; the message says why and what to do."""


class StageSettings(BaseModel):
    """Base of every stage's and backend's settings: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    body_model: ClassVar[str | None] = None
    """Body whose motion a pose backend makes, or that a synthesis backend needs; None: it does not matter."""

    surveys: ClassVar[bool] = False
    """Whether the backend looks at a whole video before it works on its segments: it has ``survey``."""

    def divisible(self) -> bool:
        """Whether the backend, with these settings, may work on segments of a long video (long-videos.md)."""
        return False

    def weight_files(self) -> dict[str, Path | None] | None:
        """Entries of the weights registry that these settings need.

        Returns:
            The user's own path in place of each entry, None for the registry's. Or None as a whole: every
            entry that names the backend in ``needed_by`` and is not optional.
        """
        return None

    def resources(self) -> dict[str, int]:
        """What a job needs by these settings, in place of what the table in `mimo.run.resources` says.

        Returns:
            ``mem_mb`` of main memory, ``gpu_mem_mb`` of the GPU's, both or one or none.
        """
        return {}

    def effort(self) -> float:
        """Time of a job with these settings, in units of one with the default settings."""
        return 1.0


Settings = TypeVar("Settings", bound=StageSettings)


def load_backend(stage: str, name: str) -> ModuleType:
    """Import one backend of a stage.

    Args:
        stage: package of the stage, such as ``video_decomp.pose``.
        name: value of the config key ``backend``; ``a-b`` is the file ``a_b.py``.

    Raises:
        Rejected: no backend has that name; the message lists those that exist.
    """
    module = f"{stage}.{name.replace('-', '_')}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise Rejected(f"{stage}: no backend '{name}'; there is {', '.join(backends(stage))}") from None


def backends(stage: str) -> list[str]:
    """Names of a stage's backends: its modules that define ``Settings``, read without importing them."""
    package = importlib.import_module(stage)
    names = []
    for path in sorted(Path(package.__path__[0]).glob("*.py")):
        if "\nclass Settings(" in path.read_text():
            names.append(path.stem.replace("_", "-"))
    return names


def parse_settings(cls: type[Settings], values: dict[str, Any], where: str) -> Settings:
    """Validate settings.

    Args:
        cls: settings model of the stage's backend.
        values: keys and values as they stand in the configuration.
        where: what to call the place in a message, such as ``config.yaml: pose``.

    Raises:
        Rejected: an unknown key or a bad value; the message names each and says what is allowed.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                lines.append(f"unknown key '{key}' (known: {', '.join(sorted(cls.model_fields))})")
            else:
                lines.append(f"{key} = {problem['input']!r}: {problem['msg']}")
        raise Rejected(f"{where}: " + "; ".join(lines)) from None


def add_settings(parser: argparse.ArgumentParser, cls: type[StageSettings]) -> None:
    """Add ``--settings JSON`` and one ``--option`` for each field of the settings to a parser."""
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--settings",
        type=json.loads,
        default={},
        metavar="JSON",
        help="all settings at once, as JSON",
    )
    for name, field in cls.model_fields.items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"setting:{name}",
            metavar="VALUE",
            help=f"{field.description or ''} ({_default(field)})".replace("%", "%%"),
        )


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else f"default: {field.get_default()}"


def settings_from(args: argparse.Namespace, cls: type[Settings]) -> Settings:
    """Settings of a parsed command line; single options win over ``--settings``.

    Raises:
        Rejected: an unknown key or a bad value.
    """
    values = dict(args.settings)
    for key, value in vars(args).items():
        if key.startswith("setting:") and value is not None:
            values[key.removeprefix("setting:")] = yaml_value(value)
    return parse_settings(cls, values, "settings")


def yaml_value(text: str) -> Any:
    """A command-line word as the configuration file would read it: ``3``, ``true``, ``[1, 2]``, ``word``."""
    return yaml.safe_load(text)


def stage_arguments(
    parser: argparse.ArgumentParser, cls: type[Settings], argv: list[str] | None
) -> tuple[argparse.Namespace, Settings]:
    """Parse the command line of a stage without backends; a bad setting ends the process as bad usage does.

    Returns:
        The parsed arguments, and the settings among them, validated.
    """
    add_settings(parser, cls)
    args = parser.parse_args(argv)
    try:
        return args, settings_from(args, cls)
    except Rejected as error:
        parser.error(str(error))


def backend_arguments(
    parser: argparse.ArgumentParser, stage: str, default: str, argv: list[str] | None
) -> tuple[argparse.Namespace, ModuleType]:
    """Parse a command line whose settings depend on ``--backend``.

    Returns:
        The parsed arguments, with ``args.settings`` validated as the backend's ``Settings``, and the
        backend's module.
    """
    parser.add_argument(
        "--backend",
        default=default,
        help=f"one of {', '.join(backends(stage))} (default: {default})",
    )
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--backend", default=default)
    name = peek.parse_known_args(argv)[0].backend
    try:
        module = load_backend(stage, name)
    except Rejected as error:
        parser.error(str(error))
    args, settings = stage_arguments(parser, module.Settings, argv)
    args.settings = settings
    return args, module


def run(work: Callable[[], None], makes: Path | None = None) -> int:
    """Run a stage's work and turn its outcome into an exit code.

    Args:
        work: the work.
        makes: its record, or another file that stands for all it makes: of several processes that make the
            same, one works and the others wait (see `mimo.files.sole_maker`).

    Returns:
        0 when done; 3 when the input was rejected; 1 when a file could not be written; 143 when it was told
        to end, or its run ended. Other faults keep their traceback and leave with 1.
    """
    started = time.perf_counter()
    try:
        with ends_in_order(), sole_maker(makes) if makes else nullcontext():
            work()
    except Rejected as error:
        return _ended(f"REJECTED: {error}", EXIT_REJECTED)
    except (Stopped, TakenOver) as error:
        return _ended(f"STOPPED: {error}", EXIT_STOPPED)
    except KeyboardInterrupt:
        return _ended("STOPPED: it was interrupted", EXIT_STOPPED)
    except OSError as error:
        reason = why_not_written(error)
        if reason is None:
            raise
        return _ended(f"FAULT: {reason}", EXIT_FAULT)
    print(f"done in {time.perf_counter() - started:.1f} s", file=sys.stderr)
    return 0


def _ended(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """Show a progress bar on standard error while iterating; quiet lines in a log file."""
    interval = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(items, desc=what, total=total, unit="frame", mininterval=interval, file=sys.stderr)


def write_record(
    path: Path,
    *,
    stage: str,
    backend: str,
    settings: StageSettings,
    metrics: dict[str, Any] | None = None,
    warnings: Iterable[str] = (),
    weights: Iterable[str] = (),
    **more: Any,
) -> None:
    """Write what a stage did, for the template's ``config.json`` and the report.

    Args:
        path: the record, ``templates/NAME/records/STAGE.json``.
        stage, backend: names as in the configuration.
        settings: the settings it ran with.
        metrics: numbers a person would judge the result by.
        warnings: one sentence each, for the user.
        weights: names in the weights registry of what was loaded (see `mimo.weights`).
        more: further values under their own keys.
    """
    record = {
        "stage": stage,
        "backend": backend,
        "settings": settings.model_dump(mode="json"),
        "metrics": metrics or {},
        "warnings": list(warnings),
        "weights": list(weights),
    }
    write_json(path, record | more)
