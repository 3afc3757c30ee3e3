"""The profile for PBS, LSF and SGE: against a PBS that really runs jobs, and what each family is asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Checkout
from slurm_cluster import wait_until

from mimo import weights

STAND_IN = Path(__file__).with_name("pbs_stand_in.py")
SCRIPTS = ROOT / "profiles" / "cluster-generic"
GOOD, BAD = ["a walk 'n' run", "ünï (2)"], "corrupt"
CLIP = {"ingest": {"start": 3.0, "max_seconds": 0.5, "short_side": 240}}


@pytest.fixture
def pbs(checkout, tmp_path, monkeypatch):
    """Folder of the stand-in's jobs; its programs come first in the path of what the checkout runs."""
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="pip install -e '.[cluster]'")
    programs, jobs = tmp_path / "bin", tmp_path / "jobs"
    for folder in (programs, jobs):
        folder.mkdir()
    for name in ("qsub", "qstat", "qdel"):
        (programs / name).symlink_to(STAND_IN)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PBS_STAND_IN", str(jobs))
    yield jobs
    for job in jobs.iterdir():
        subprocess.run(["qdel", job.name], capture_output=True)


def start(checkout: Checkout, log: str, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/cluster-generic"]
    command += ["--configfile", "more.yaml", "--seconds-between-status-checks", "1", "--retries", "1"]
    where = {"cwd": checkout.folder, "env": checkout.environment}
    with (checkout.folder / log).open("w") as out:
        return subprocess.Popen([*command, *options], stdout=out, stderr=out, **where)


def job_of(video: str, folder: Path) -> str:
    """Number of the job that works on a video."""
    log = next(
        log for log in (folder / ".snakemake" / "cluster_logs").iterdir() if f"{video}:" in log.read_text()
    )
    return log.stem


@pytest.mark.slow
def test_jobs_run_fail_are_killed_and_outlive_their_snakemake(checkout, pbs):
    folder = checkout.folder
    weights.fetch(["sports2d-demo"])
    (folder / "videos").mkdir()
    (folder / "videos" / f"{BAD}.mp4").write_bytes(b"no video" * 9000)
    for name in GOOD:
        (folder / "videos" / f"{name}.mp4").symlink_to(weights.path("sports2d-demo"))
    (folder / "more.yaml").write_text(yaml.safe_dump({"overrides": dict.fromkeys(GOOD, CLIP)}))
    wanted = [f"templates/{name}/vid.mp4" for name in (*GOOD, BAD)]

    first = start(checkout, "first.log", *wanted)
    wait_until(lambda: (folder / "logs" / "ingest" / f"{GOOD[0]}.log").exists(), "the first stage runs")
    wait_until(lambda: len(list(pbs.iterdir())) == 3, "all jobs are submitted")
    killed = job_of(GOOD[0], folder)
    subprocess.run(["qdel", killed], check=True)
    wait_until(lambda: len(list(pbs.iterdir())) == 5, "its job, and the bad video's, are submitted again")
    assert f"external_jobid: {killed}" in (folder / "first.log").read_text()

    first.kill()
    first.wait()
    second = start(checkout, "second.log", *wanted)
    assert second.wait(120) == 1, "one video is bad"
    assert "REJECTED" in (folder / "second.log").read_text()
    assert [(folder / path).is_file() for path in wanted] == [True, True, False]
    assert list(folder.rglob("*.part*")) == []
    assert checkout.planned(*wanted[:2], "--configfile", "more.yaml") == {}


# What each family's programs print, by the state of a job.
PROGRAMS = {
    "PBS": {"qsub": "7.head", "qstat": {"running": "job_state = Q", "gone": "!qstat: Unknown Job Id 7.head"}},
    "LSF": {
        "bsub": "Job <7> is submitted to default queue <normal>.",
        "bjobs": {"running": "PEND", "gone": "!Job <7> is not found"},
    },
    "SGE": {
        "qsub": "7",
        "qconf": "",
        "qstat": {"running": "job_number: 7", "gone": "!Following jobs do not exist: 7"},
    },
}
NUMBER = {"PBS": "7.head", "LSF": "7", "SGE": "7"}
ASKED = {
    "PBS": ["-l", "select=1:ncpus=2:mem=3000mb:ngpus=1", "walltime=01:30:00", "-q", "gpu", "-A", "film"],
    "LSF": ["-n", "2", "-M", "3000MB", "-W", "90", "-gpu", "num=1", "-q", "gpu", "-P", "film"],
    "SGE": ["-pe", "smp", "2", "h_rt=01:30:00,mem_free=1500M,gpu=1", "-q", "gpu", "-P", "film"],
}


@pytest.fixture(params=PROGRAMS)
def family(request, tmp_path, monkeypatch):
    """A family of schedulers: programs that print what its own do, and note what they are asked."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.chdir(tmp_path)
    answers(programs, request.param, "running")
    return request.param


def answers(programs: Path, family: str, state: str) -> None:
    for name, words in PROGRAMS[family].items():
        text = words[state] if isinstance(words, dict) else words
        out, code = (">&2", 1) if text.startswith("!") else ("", 0)
        note = f'printf "%s\\n" "$@" > {name}.asked'
        (programs / name).write_text(f"#!/bin/sh\n{note}\necho '{text.lstrip('!')}' {out}\nexit {code}\n")
        (programs / name).chmod(0o755)


def call(script: str, *arguments: str) -> str:
    done = subprocess.run([SCRIPTS / script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_job_asks_for_what_its_rule_asks_for(family, tmp_path):
    resources = {"mem_mb": 3000, "runtime": 90, "gpu": 1, "queue": "gpu", "account": "film"}
    resources["extra"] = "--more 'a b'"
    properties = {"rule": "segmentation", "threads": 2, "resources": resources}
    script = tmp_path / "a job's script.sh"
    script.write_text(f"#!/bin/sh\n# properties = {json.dumps(properties)}\ntrue\n")
    assert call("submit.py", str(script)) == NUMBER[family]
    asked = (tmp_path / ("bsub.asked" if family == "LSF" else "qsub.asked")).read_text().splitlines()
    assert [word for word in ASKED[family] if word not in asked] == []
    assert asked[-3:-1] == ["--more", "a b"] or asked[-2:] == ["--more", "a b"]


def test_status_of_a_job(family, tmp_path):
    assert call("status.py", NUMBER[family]) == "running"
    answers(tmp_path / "bin", family, "gone")
    exits = tmp_path / ".snakemake" / "cluster_exits"
    exits.mkdir(parents=True)
    for code, expected in (("0", "success"), ("1", "failed")):
        (exits / NUMBER[family]).write_text(f"{code}\n")
        assert call("status.py", NUMBER[family]) == expected


def test_a_scheduler_that_does_not_answer_loses_no_job(family, tmp_path):
    for name in PROGRAMS[family]:
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho 'cannot connect to server' >&2\nexit 1\n")
    assert call("status.py", NUMBER[family]) == "running"
