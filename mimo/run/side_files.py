"""Settings that lie beside what they are for: ``videos/walk.yaml`` beside ``videos/walk.mp4``.

They hold what `overrides` of the configuration holds for one name, and so travel with the file; what the
configuration says wins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mimo.run.sources import Overrides, by_name, joined
from mimo.stage import Rejected
from mimo.storage.addresses import shown
from mimo.storage.copies import bring

SUFFIX = ".yaml"
Stages = dict[str, dict[str, Any]]
"""Settings by stage and key."""
SideFiles = dict[str, dict[Path, Stages]]
"""Files beside what has a name, and what stands in them."""


def read_side_files(folders: Iterable[tuple[Path, Collection[str]]], exclude: Collection[str]) -> SideFiles:
    """Side files by the name that they are for.

    Args:
        folders: each with the names of what lies in it; two kinds of things may lie in one.
        exclude: names to leave out.

    Raises:
        Rejected: a side file is for nothing in its folder, or cannot be read.
    """
    known: dict[Path, set[str]] = {}
    for folder, names in folders:
        known.setdefault(folder, set()).update(names)
    found: SideFiles = {}
    for folder, there in known.items():
        bring(folder, f"*{SUFFIX}")
        for name, path in by_name(folder, {SUFFIX}, exclude).items():
            if name not in there:
                raise Rejected(
                    f"{shown(path)}: settings of nothing: no file '{name}' lies beside it; delete it"
                )
            found.setdefault(name, {})[path] = _read(path)
    return found


def with_side_files(overrides: Overrides, files: Mapping[str, Mapping[Path, Stages]]) -> Overrides:
    """The configuration's settings of single names, on top of those of side files."""
    settings = dict(overrides)
    for name, stages in files.items():
        beside: Stages = {}
        for more in stages.values():
            beside = joined(beside, more)
        settings[name] = joined(beside, overrides.get(name, {}))
    return settings


def _read(path: Path) -> Stages:
    """Settings of a side file.

    Raises:
        Rejected: it cannot be read, is not YAML, or does not hold settings by stage.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Rejected(f"{shown(path)}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Rejected(f"{shown(path)}: {' '.join(str(error).split())}") from None
    by_stage = {} if values is None else values
    if not isinstance(by_stage, dict) or not all(isinstance(block, dict) for block in by_stage.values()):
        raise Rejected(f"{shown(path)}: give settings by stage, such as  segmentation: {{subject: 1}}")
    return {str(stage): block for stage, block in by_stage.items()}
