"""The report is no file that others wait for: it is written whenever a run ends, well or not."""

from mimo.report.page import write_report


onsuccess:
    write_report(project)


onerror:
    write_report(project)


rule report:
    log:
        logged("report", "report.log"),
    conda:
        "../envs/report.yaml"
    params:
        config=lambda _: json.dumps(config),
    message:
        "writing the report"
    shell:
        "python -m mimo.report > {log:q} 2>&1"
