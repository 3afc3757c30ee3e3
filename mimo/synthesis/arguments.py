"""What the command lines that make a result share: where it goes, with or without transparency, and how."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

from mimo.alpha_video import SUFFIXES
from mimo.stage import backend_arguments

PACKAGE = "mimo.synthesis"


def result_arguments(
    parser: argparse.ArgumentParser, argv: list[str] | None, *flags: str
) -> tuple[argparse.Namespace, ModuleType]:
    """Add the options of every result to a parser, and parse a command line.

    Args:
        parser: with the options of what the result is made of.
        argv: the command line.
        flags: what the output's option is called, the long one last.

    Returns:
        As `mimo.stage.backend_arguments`, with ``args.output`` and ``args.alpha``.
    """
    parser.add_argument(*flags, type=Path, required=True, metavar="FILE.mp4", help="video to write")
    parser.add_argument(
        "--alpha",
        choices=SUFFIXES,
        help="also write the character and its shadow alone, with straight alpha, beside FILE.mp4: prores "
        "(FILE.mov, ProRes 4444), vp9 (FILE.webm) or png (FILE.frames/00001.png...)",
    )
    args, backend = backend_arguments(parser, PACKAGE, "puppet", argv)
    if args.output.suffix.lower() != ".mp4":
        parser.error(f"--output {args.output}: must end in .mp4")
    return args, backend
