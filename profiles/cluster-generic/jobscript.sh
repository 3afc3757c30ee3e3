#!/bin/sh
# properties = {properties}
# The programs are those of whoever submitted: some clusters start jobs in a login shell, which sets its own path.
export PATH="${{MIMO_SUBMIT_PATH:-$PATH}}"
# The exit code, for status.py: it counts when the scheduler has forgotten the job. PBS, LSF and SGE number jobs so.
number=${{PBS_JOBID:-${{LSB_JOBID:-$JOB_ID}}}}
trap 'echo $? > ".snakemake/cluster_exits/.$number" && mv ".snakemake/cluster_exits/.$number" ".snakemake/cluster_exits/$number"' EXIT
{exec_job}
