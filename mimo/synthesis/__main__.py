"""Command line of the synthesis stage: a template and a character in, a video out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimo.animation import open_template
from mimo.character import Character
from mimo.synthesis.arguments import result_arguments
from mimo.synthesis.parts import Part
from mimo.synthesis.rendering import make_part, make_video
from mimo.worker.handover import perform

STAGE = "mimo.synthesis"


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and make the video.

    Returns:
        0 when done, 3 when the input was rejected.
    """
    parser = argparse.ArgumentParser(prog="python -m mimo.synthesis", description=__doc__)
    parser.add_argument("--template", type=Path, required=True, metavar="DIR", help="template to use")
    parser.add_argument("--character", type=Path, required=True, metavar="DIR", help="character to use")
    parser.add_argument(
        "--part",
        type=_part,
        metavar="2/5",
        help="make only the second of five parts, for mimo.synthesis.join; two files stand beside it",
    )
    args, backend = result_arguments(parser, argv, "--output")
    if args.part is not None and args.alpha is not None:
        parser.error("--alpha: not with --part; transparent results are made in one piece")

    def work() -> None:
        template, character = open_template(args.template), Character.load(args.character)
        if args.part is None:
            make_video(template, character, args.output, backend, args.settings, args.alpha)
        else:
            make_part(template, character, args.part, args.output, backend, args.settings)

    return perform(STAGE, args, argv, work, makes=args.output)


def _part(text: str) -> Part:
    try:
        return Part.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
