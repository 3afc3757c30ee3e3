"""What the command lines that join segments share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from mimo.stage import run
from video_decomp.segments.splice import Segments


def join_command(
    program: str,
    description: str | None,
    stage: str,
    join: Callable[[Segments], None],
    argv: list[str] | None,
) -> int:
    """Run a command line that joins what a stage made of the segments of a video.

    Args:
        program: module's name. description: its help.
        stage: whose record is written, last.
        join: does it.
        argv: the arguments; the program's own by default.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--template", type=Path, required=True, metavar="DIR", help="of the whole video")
    parser.add_argument("--parts", type=int, required=True, help="how many segments there are")
    args = parser.parse_args(argv)
    return run(
        lambda: join(Segments.of(args.template, args.parts)),
        makes=args.template / "records" / f"{stage}.json",
    )
