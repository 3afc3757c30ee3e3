"""The report is no file that others wait for: it is written whenever a run ends, well or not."""

from mimo.report.page import write_report


def report():
    """Write the report and say where it is."""
    logger.info(f"Report: {write_report(project)}")


onsuccess:
    report()


onerror:
    report()
