"""Command line: a group and a cast in, a video out in which characters play several people at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import numpy as np

from mimo.alpha_video import AlphaFormat
from mimo.casting import KEEP, REMOVE, Cast
from mimo.character import Character
from mimo.files import remove
from mimo.group import Group
from mimo.stage import Rejected, StageSettings
from mimo.synthesis.arguments import result_arguments
from mimo.synthesis.ensemble import Ensemble
from mimo.synthesis.rendering import record_result, result_writer, timed, transparent_writer
from mimo.worker.handover import perform

MODULE, STAGE = "mimo.synthesis.cast", "synthesis"


def make_cast(
    group: Group,
    cast: Cast,
    characters: dict[str, Character],
    templates: Path,
    output: Path,
    backend: ModuleType,
    settings: StageSettings,
    alpha: AlphaFormat | None = None,
) -> None:
    """Make one video of several people and its record; the video's sound is kept.

    Args:
        group: the people and their scene.
        cast: who plays whom.
        characters: by their names in the cast.
        templates: folder in which the members' templates lie.
        output: ``.mp4`` file; the record stands beside it.
        backend: module of this package, see `mimo.synthesis.interface`.
        settings: the backend's settings, for every character.
        alpha: also make the characters without the scene, all in one layer, with straight alpha.

    Raises:
        Rejected: the cast does not fit the group, or this backend cannot use a template or a character.
    """
    remove(output.with_suffix(".json"))
    ensemble = Ensemble.of(group, cast, characters, templates)
    with result_writer(group.scene, output) as writer, ExitStack() as files:
        beside = transparent_writer(group.scene, output, alpha) if alpha is not None else None
        if beside is not None:
            files.enter_context(beside)

        def frames() -> Iterator[np.ndarray]:
            for picture in ensemble.pictures(backend, settings):
                if beside is not None:
                    beside.write(picture.characters_alone())
                yield picture.finished()

        for frame in timed(frames, len(ensemble), ensemble.metrics):
            writer.write(frame)
    jobs = ensemble.jobs
    record_result(
        group.scene,
        cast.name,
        output,
        backend,
        settings,
        alpha,
        metrics=ensemble.metrics | {"members": {name: job.metrics for name, job in jobs.items()}},
        warnings=[
            *ensemble.warnings,
            *(f"{name}: {text}" for name, job in jobs.items() for text in job.warnings),
        ],
        weights=list(dict.fromkeys(name for job in jobs.values() for name in job.weights)),
        cast={name: cast.role(name) for name in group.names},
    )


def read_cast(pairs: Sequence[str]) -> tuple[Cast, dict[str, Character]]:
    """The cast and its characters, from ``MEMBER=FOLDER``, ``MEMBER=keep`` or ``MEMBER=remove`` each.

    Raises:
        Rejected: one is no pair, a folder holds no character, or two characters have one name.
    """
    roles: list[tuple[str, str]] = []
    folders: dict[str, Path] = {}
    for pair in pairs:
        member, sign, role = pair.partition("=")
        if not sign:
            raise Rejected(f"--cast {pair}: give MEMBER=CHARACTER, MEMBER={KEEP} or MEMBER={REMOVE}")
        if role not in (KEEP, REMOVE, ""):
            folder = Path(role)
            role = folder.resolve().name
            if folders.setdefault(role, folder).resolve() != folder.resolve():
                raise Rejected(f"{folders[role]} and {folder} share the name '{role}'; rename one of them")
        roles.append((member, role))
    cast = Cast.of(roles)
    return cast, {name: Character.load(folder) for name, folder in folders.items()}


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and make the video.

    Returns:
        0 when done, 3 when the input was rejected.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--group", type=Path, required=True, metavar="DIR", help="group to use")
    parser.add_argument(
        "--members-in",
        type=Path,
        metavar="DIR",
        help="folder in which the members' templates lie (default: where the group lies)",
    )
    parser.add_argument(
        "--cast",
        action="append",
        required=True,
        metavar="MEMBER=ROLE",
        help=f"folder of the character who plays a member, {KEEP} or {REMOVE}; once for each who is not kept",
    )
    args, backend = result_arguments(parser, argv, "--output")

    def work() -> None:
        cast, characters = read_cast(args.cast)
        group = Group.load(args.group)
        templates = args.members_in or args.group.resolve().parent
        make_cast(group, cast, characters, templates, args.output, backend, args.settings, args.alpha)

    return perform(MODULE, args, argv, work, makes=args.output, stage=STAGE)


if __name__ == "__main__":
    sys.exit(main())
