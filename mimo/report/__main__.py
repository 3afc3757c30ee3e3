"""Writes ``results/report.html``: what became of every video, with pictures, metrics and licences."""

from __future__ import annotations

from mimo.project import Project, configuration_files
from mimo.report.page import write_report
from mimo.stage import run


def main(argv: list[str] | None = None) -> int:
    """Command line of the report."""
    files = configuration_files("python -m mimo.report", __doc__, argv)
    return run(lambda: print(write_report(Project.read(files))))


if __name__ == "__main__":
    raise SystemExit(main())
