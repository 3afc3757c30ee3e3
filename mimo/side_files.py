"""Settings that lie beside what they are for: ``videos/walk.yaml`` beside ``videos/walk.mp4``.

They hold what `overrides` of the configuration holds for one name, and so travel with the file; what the
configuration says wins.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import yaml

from mimo.sources import Overrides, by_name, joined
from mimo.stage import Rejected
from mimo.storage.addresses import shown
from mimo.storage.copies import bring

SUFFIX = ".yaml"


def find_side_files(folders: Mapping[Path, Container[str]], exclude: Container[str]) -> dict[str, list[Path]]:
    """Side files by the name that they are for.

    Args:
        folders: names of what lies in each folder.
        exclude: names to leave out.

    Raises:
        Rejected: a side file is for nothing in its folder.
    """
    found: dict[str, list[Path]] = {}
    for folder, names in folders.items():
        bring(folder, f"*{SUFFIX}")
        for name, path in by_name(folder, {SUFFIX}).items():
            if name in names:
                found.setdefault(name, []).append(path)
            elif name not in exclude:
                raise Rejected(
                    f"{shown(path)}: settings of nothing: no file '{name}' lies beside it; delete it"
                )
    return found


def with_side_files(overrides: Overrides, files: Mapping[str, list[Path]]) -> Overrides:
    """The configuration's settings of single names, on top of those of side files.

    Raises:
        Rejected: a side file cannot be read, or does not hold settings by stage.
    """
    settings = dict(overrides)
    for name, paths in files.items():
        beside: dict[str, dict[str, Any]] = {}
        for path in paths:
            beside = joined(beside, read_side_file(path))
        settings[name] = joined(beside, overrides.get(name, {}))
    return settings


def read_side_file(path: Path) -> dict[str, dict[str, Any]]:
    """Settings of a side file: stage, key.

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
