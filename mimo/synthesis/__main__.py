"""Command line of the synthesis stage: a template and a character in, a video out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimo.character import Character
from mimo.stage import backend_arguments, run
from mimo.synthesis import handover
from mimo.synthesis.rendering import make_video
from mimo.template import Template


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and make the video.

    In a run that says who it is, a backend whose loading costs more than a short clip passes the work on to a
    process that stays loaded; see `mimo.synthesis.handover`.

    Returns:
        0 when done, 3 when the input was rejected.
    """
    parser = argparse.ArgumentParser(prog="python -m mimo.synthesis", description=__doc__)
    parser.add_argument("--template", type=Path, required=True, metavar="DIR", help="template to use")
    parser.add_argument("--character", type=Path, required=True, metavar="DIR", help="character to use")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.mp4", help="video to write")
    args, backend = backend_arguments(parser, "mimo.synthesis", "puppet", argv)
    if args.output.suffix.lower() != ".mp4":
        parser.error(f"--output {args.output}: must end in .mp4")
    keep_loaded, run_served = getattr(args.settings, "keep_loaded", 0), handover.run_to_serve()
    if keep_loaded and run_served is not None:
        values = args.settings.model_dump(mode="json")
        order = handover.Order(args.template, args.character, args.output, args.backend, values)
        return handover.hand_over(order, run_served, keep_loaded)

    def work() -> None:
        template, character = Template.load(args.template), Character.load(args.character)
        make_video(template, character, args.output, backend, args.settings)

    return run(work, makes=args.output)


if __name__ == "__main__":
    sys.exit(main())
