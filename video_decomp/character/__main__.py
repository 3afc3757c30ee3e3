"""Command line of the character stage: a picture of a person becomes a character folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import ModuleType

from mimo.character import RECORD
from mimo.stage import backend_arguments
from mimo.worker.handover import perform
from video_decomp.character.interface import CharacterSettings
from video_decomp.character.prepare import prepare

STAGE = "video_decomp.character"


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and make the character.

    Returns:
        0 when done, 3 when the picture was rejected.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {STAGE}", description=__doc__)
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="picture of a person, head to feet")
    parser.add_argument("--character", type=Path, required=True, metavar="DIR", help="folder to write")
    args, backend = backend_arguments(parser, STAGE, "mediapipe", argv)
    return perform(
        STAGE,
        args,
        argv,
        lambda: make_character(args.picture, args.character, backend, args.settings),
        makes=args.character / RECORD,
    )


def make_character(picture: Path, folder: Path, backend: ModuleType, settings: CharacterSettings) -> None:
    """Make one character folder.

    Args:
        picture: file to read.
        folder: character to write.
        backend: module of this package.
        settings: the backend's settings.

    Raises:
        mimo.stage.Rejected: the picture cannot be used; the message says why.
    """
    prepare(picture, backend, settings).save(folder)


if __name__ == "__main__":
    sys.exit(main())
