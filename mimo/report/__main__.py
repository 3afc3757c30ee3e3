"""Writes ``results/report.html``: what became of every video, with pictures, metrics and licences."""

from __future__ import annotations

import argparse
from pathlib import Path

from mimo.project import Project
from mimo.report.page import write_report
from mimo.stage import run


def main(argv: list[str] | None = None) -> int:
    """Command line of the report."""
    parser = argparse.ArgumentParser(prog="python -m mimo.report", description=__doc__)
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[],
        help="further configuration files, which win over config.yaml, as for snakemake",
    )
    args = parser.parse_args(argv)
    return run(lambda: print(write_report(Project.read([Path("config.yaml"), *args.configfile]))))


if __name__ == "__main__":
    raise SystemExit(main())
