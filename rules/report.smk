"""The report is no file that others wait for: it is written whenever a run ends, well or not."""

from mimo.files import why_not_written
from mimo.licences import cautions, summary
from mimo.report.outcomes import outcomes
from mimo.report.page import used_models, write_report
from mimo.storage.addresses import shown


def report():
    """Say on what terms the models used may be used; write the report and say where it is."""
    try:
        items = outcomes(project)
        names = list(used_models(items))
        logger.info(summary(names))
        for line in cautions(names):
            logger.warning(line)
        written = write_report(project, items, map(Path, workflow.configfiles))
        logger.info(f"Report: {shown(written)}")
    except Rejected as error:
        logger.error(f"No report: {error}")
    except OSError as error:
        logger.error(f"No report: {why_not_written(error) or error}")


onsuccess:
    report()


onerror:
    report()
