"""Command line: a group and a cast in, a video out in which characters play several people at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from mimo import weights
from mimo.casting import KEEP, REMOVE, Cast
from mimo.character import Character
from mimo.files import remove, sha256
from mimo.group import Group
from mimo.stage import Rejected, StageSettings, backend_arguments, write_record
from mimo.synthesis.ensemble import Ensemble
from mimo.synthesis.quality import scene_change
from mimo.synthesis.rendering import backend_name, result_writer, timed
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

    Raises:
        Rejected: the cast does not fit the group, or this backend cannot use a template or a character.
    """
    remove(output.with_suffix(".json"))
    ensemble = Ensemble.of(group, cast, characters, templates)
    with result_writer(group.scene, output) as writer:
        for frame in timed(lambda: ensemble.frames(backend, settings), len(ensemble), ensemble.metrics):
            writer.write(frame)
    ensemble.metrics["scene_change"] = scene_change(group.scene, output)
    ensemble.metrics["members"] = {name: job.metrics for name, job in ensemble.jobs.items()}
    used = list(dict.fromkeys(name for job in ensemble.jobs.values() for name in job.weights))
    write_record(
        output.with_suffix(".json"),
        stage=STAGE,
        backend=backend_name(backend),
        settings=settings,
        metrics=ensemble.metrics,
        warnings=ensemble.warnings
        + [f"{name}: {text}" for name, job in ensemble.jobs.items() for text in job.warnings],
        weights=used,
        template=group.scene.name,
        character=cast.name,
        cast={name: cast.role(name) for name in group.names},
        licences={name: weights.licence(name).model_dump(mode="json") for name in used},
        video_sha256=sha256(output),
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
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.mp4", help="video to write")
    args, backend = backend_arguments(parser, "mimo.synthesis", "puppet", argv)
    if args.output.suffix.lower() != ".mp4":
        parser.error(f"--output {args.output}: must end in .mp4")

    def work() -> None:
        cast, characters = read_cast(args.cast)
        group = Group.load(args.group)
        templates = args.members_in or args.group.resolve().parent
        make_cast(group, cast, characters, templates, args.output, backend, args.settings)

    return perform(MODULE, args, argv, work, makes=args.output, stage=STAGE)


if __name__ == "__main__":
    sys.exit(main())
