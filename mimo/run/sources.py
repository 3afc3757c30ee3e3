"""What a run works on, by name: files of its folders, and people of its videos."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mimo.scene_names import JOINT, is_reserved
from mimo.stage import Rejected
from mimo.storage.addresses import shown
from mimo.storage.bucket import files_in, folders_in, is_there
from mimo.storage.copies import bring
from mimo.template import CONFIG, TemplateConfig

VARIABLE = re.compile(r"<[a-z][a-z0-9_]*>")
"""What Snakemake takes for a variable in the name of a file."""
Overrides = dict[str, dict[str, dict[str, Any]]]


def by_name(folder: Path, suffixes: set[str], exclude: Iterable[str] = ()) -> dict[str, Path]:
    """Files of a folder by name without suffix, sorted; hidden files and other suffixes are passed over.

    Args:
        folder: may be missing.
        suffixes: in lower case, with the dot; files may have them in any case.
        exclude: names to leave out.

    Raises:
        Rejected: two files have one name, or a name cannot be used.
    """
    found: dict[str, Path] = {}
    for path in files_in(folder):
        name = path.stem
        if path.suffix.lower() not in suffixes or name.startswith(".") or name in exclude:
            continue
        if name in found:
            raise Rejected(
                f"{shown(found[name])} and {shown(path)} would share the name '{name}'; rename one of them"
            )
        check_name(path)
        found[name] = path
    return found


def check_name(path: Path) -> None:
    """Refuse a name that cannot stand in the workflow's patterns.

    Raises:
        Rejected: it has braces, ``<word>`` (a variable to Snakemake) or unprintable signs.
    """
    if any(sign in path.name for sign in "{}") or not path.name.isprintable():
        raise Rejected(
            f"{os.fsencode(path)!r}: braces and unprintable signs cannot stand in a name; rename it"
        )
    if variable := VARIABLE.search(path.name):
        raise Rejected(f"{path}: {variable.group()} cannot stand in a name; rename it")


def refuse_shared_names(*kinds: Mapping[str, Path]) -> None:
    """Refuse files of several folders that would share a name.

    Raises:
        Rejected: two do; it names them.
    """
    known: dict[str, Path] = {}
    for files in kinds:
        if both := sorted(known.keys() & files.keys()):
            raise Rejected(f"{known[both[0]]} and {files[both[0]]} would share a name; rename one of them")
        known |= files


def refuse_reserved_names(scenes: Mapping[str, Path]) -> None:
    """Refuse scenes whose names mean a scene without files.

    Raises:
        Rejected: one does.
    """
    for name, path in scenes.items():
        if is_reserved(name):
            raise Rejected(
                f"{shown(path)}: as a scene, '{name}' means a colour, none or the motion's own; rename it"
            )


def members_of(
    subjects: dict[str, dict[str, Any]], videos: Mapping[str, Path], exclude: Iterable[str]
) -> dict[str, dict[str, str]]:
    """Videos with several people: the members of each, and their templates.

    Args:
        subjects: as for `split_by_subject`.
        videos: what that gave.
        exclude: names to leave out; a group needs all its members.
    """
    groups = {video: {person: f"{video}-{person}" for person in people} for video, people in subjects.items()}
    return {
        video: members
        for video, members in groups.items()
        if video not in exclude
        and len(members) > 1
        and all(template in videos for template in members.values())
    }


def dropped_in_templates(folder: Path, made_of: Mapping[str, Path], exclude: Iterable[str]) -> list[str]:
    """Templates that are used as they are, since nothing here makes them, in name order.

    Motions that were once put into a scene here, and groups, are none: only who asks for them gets them.

    Args:
        folder: of templates.
        made_of: by name, what templates are made of here.
        exclude: names to leave out.

    Raises:
        Rejected: a name cannot be used, or a template of others would be overwritten.
    """
    names = []
    bring(folder, CONFIG)
    for path in folders_in(folder):
        name = path.name
        if name.startswith(".") or name in exclude or not is_there(path / CONFIG, folder):
            continue
        config = TemplateConfig.read(path / CONFIG)
        if name in made_of:
            if config.pipeline is None:
                raise Rejected(
                    f"{path} was not made here, but {made_of[name]} would be made into it; rename one of them"
                )
        elif not config.is_group and not (config.is_staged and JOINT in name):
            check_name(path)
            names.append(name)
    return names


def split_by_subject(
    videos: dict[str, Path],
    overrides: Overrides,
    subjects: dict[str, dict[str, Any]],
    exclude: Iterable[str] = (),
) -> tuple[dict[str, Path], Overrides]:
    """Give each person of a video a template of their own.

    Args:
        videos: driving videos by name.
        overrides: settings of single videos and characters: name, stage, key.
        subjects: video, name of a person, and who it is: segmentation's ``subject``, or more of its settings.
        exclude: names of templates to leave out.

    Returns:
        Videos, in which ``VIDEO-PERSON`` stand in the place of a video with subjects, and overrides, in which
        each of them has the video's, its own, and its subject.

    Raises:
        Rejected: subjects of no video, a name that cannot be used, or that another video has.
    """
    split: dict[str, Path] = {}
    settings = {name: stages for name, stages in overrides.items() if name not in subjects}
    for video, people in subjects.items():
        if video not in videos and video not in exclude:
            raise Rejected(
                f"config.yaml: subjects: no video '{video}' (there is {', '.join(videos) or 'none'})"
            )
        for person, who in people.items():
            name = f"{video}-{person}"
            if not person or "/" in person or name in videos:
                raise Rejected(f"config.yaml: subjects: {video}: '{person}' cannot be a name, or is taken")
            check_name(Path(name))
            if video not in videos or name in exclude:
                continue
            chosen = who if isinstance(who, dict) else {"subject": who}
            stages = joined(overrides.get(video, {}), overrides.get(name, {}))
            settings[name] = joined(stages, {"segmentation": chosen})
            split[name] = videos[video]
    kept = {name: path for name, path in videos.items() if name not in subjects}
    return dict(sorted((kept | split).items())), settings


def joined(stages: dict[str, dict[str, Any]], more: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings by stage; those of `more` win."""
    return stages | {stage: overridden(stages.get(stage, {}), values) for stage, values in more.items()}


def overridden(block: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Settings of a stage with others that win; where those name another backend, they are all there is."""
    if block.get("backend") not in (None, own.get("backend", block.get("backend"))):
        return dict(own)
    return block | own
