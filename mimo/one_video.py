"""What `mimo.edit` and `mimo.animate` share: one video in one command, without the workflow."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from mimo.character import RECORD, Character
from mimo.files import sha256
from mimo.fingerprint import ROOT, fingerprint
from mimo.gpus import held_gpu, sees_only
from mimo.licences import cautions, summary
from mimo.stage import EXIT_REJECTED, Rejected, run
from mimo.synthesis.arguments import result_arguments
from mimo.synthesis.rendering import make_video
from mimo.template import Template
from mimo.weights import cache_dir

PREPARATION = "video_decomp.character"
"""Module that makes a character of a picture. It is run, not imported: `mimo` does not know its package."""


def make_one_video(
    program: str, description: str | None, kind: type[Template], what: tuple[str, str], argv: list[str] | None
) -> int:
    """Parse a command line ``WHAT CHARACTER -o FILE.mp4`` with a backend's settings, and make the video.

    Args:
        program, description: for the help.
        kind: how the first argument is opened.
        what: name of the first argument, and its help.
        argv: the command line.

    Returns:
        0 when done, 3 when the input was rejected.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("source", type=Path, metavar=what[0], help=what[1])
    parser.add_argument(
        "character", type=Path, metavar="CHARACTER", help="a prepared character, or a picture of a person"
    )
    parser.add_argument(
        "--character-backend",
        default="mediapipe",
        metavar="NAME",
        help="prepares a picture (default: mediapipe)",
    )
    args, backend = result_arguments(parser, argv, "-o", "--output")

    def work() -> None:
        template = kind.load(args.source)
        character = Character.load(prepared(args.character, args.character_backend))
        make_video(template, character, args.output, backend, args.settings, args.alpha)
        record = json.loads(args.output.with_suffix(".json").read_bytes())
        names = [*record["weights"], *character.record.weights]
        print(summary(names), *cautions(names), sep="\n", file=sys.stderr)

    with held_gpu(getattr(args.settings, "device", "cpu")) as held, sees_only(held):
        return run(work)


def prepared(character: Path, backend: str) -> Path:
    """Folder of a prepared character; a picture is prepared once and kept in the cache folder.

    Args:
        character: such a folder, or a picture.
        backend: of the character stage.

    Raises:
        Rejected: there is no such file, or it shows nobody who can be used.
    """
    if character.is_dir():
        return character
    if not character.is_file():
        raise Rejected(f"{character}: not there; give a prepared character's folder, or a picture")
    module = f"{PREPARATION}.{backend.replace('-', '_')}"
    made_by = fingerprint(f"{PREPARATION}.__main__", module, also=(sha256(character),))
    folder = cache_dir() / "characters" / made_by / character.stem
    if (folder / RECORD).is_file():
        return folder
    print(f"{character}: preparing the character", file=sys.stderr)
    command = [sys.executable, "-m", PREPARATION, str(character.absolute())]
    packages = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        [*command, "--character", str(folder), "--backend", backend],
        env=os.environ | {"PYTHONPATH": packages},
        stderr=subprocess.PIPE,
        text=True,
    )
    if result.returncode == EXIT_REJECTED:
        raise Rejected(result.stderr.rpartition("REJECTED: ")[2].strip())
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr}")
    return folder
