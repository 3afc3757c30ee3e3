"""The report is no file that others wait for: it is written whenever a run ends, well or not."""

from mimo.licences import cautions, summary
from mimo.report.outcomes import outcomes
from mimo.report.page import used_models, write_report


def report():
    """Say on what terms the models used may be used; write the report and say where it is."""
    names = list(used_models(outcomes(project)))
    logger.info(summary(names))
    for line in cautions(names):
        logger.warning(line)
    logger.info(f"Report: {write_report(project)}")


onsuccess:
    report()


onerror:
    report()
