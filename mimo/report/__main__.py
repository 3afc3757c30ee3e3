"""Writes ``results/report.html``: what became of every video, with previews, measures, times and licences."""

from __future__ import annotations

import argparse

from mimo.licences import cautions, summary
from mimo.report.outcomes import outcomes
from mimo.report.page import BUDGET, used_models, write_report
from mimo.run.configuration import add_configfile_option, chosen_configfiles
from mimo.run.project import Project
from mimo.stage import run


def main(argv: list[str] | None = None) -> int:
    """Command line of the report."""
    parser = argparse.ArgumentParser(prog="python -m mimo.report", description=__doc__)
    add_configfile_option(parser)
    parser.add_argument(
        "--megabytes",
        type=float,
        default=BUDGET / 1e6,
        help="size of the page at most: the more, the larger and longer its previews (default: %(default)g)",
    )
    args = parser.parse_args(argv)
    files = chosen_configfiles(args)

    def work() -> None:
        project = Project.read(files)
        items = outcomes(project)
        names = list(used_models(items))
        written = write_report(project, items, files, 1e6 * args.megabytes)
        print(summary(names), *cautions(names), written, sep="\n")

    return run(work)


if __name__ == "__main__":
    raise SystemExit(main())
