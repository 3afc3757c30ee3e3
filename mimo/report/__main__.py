"""Writes ``results/report.html``: what became of every video, with previews, measures, times and licences."""

from __future__ import annotations

from mimo.configuration import configuration_files
from mimo.licences import cautions, summary
from mimo.project import Project
from mimo.report.outcomes import outcomes
from mimo.report.page import used_models, write_report
from mimo.stage import run
from mimo.storage.addresses import shown


def main(argv: list[str] | None = None) -> int:
    """Command line of the report."""
    files = configuration_files("python -m mimo.report", __doc__, argv)

    def work() -> None:
        project = Project.read(files)
        items = outcomes(project)
        names = list(used_models(items))
        print(summary(names), *cautions(names), shown(write_report(project, items, files)), sep="\n")

    return run(work)


if __name__ == "__main__":
    raise SystemExit(main())
