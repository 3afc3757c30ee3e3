"""Jobs that a killed run left in a Slurm queue, with programs that answer as Slurm's do."""

import pytest

from mimo.run import slurm_jobs
from mimo.run.slurm_jobs import LOGS, cancel_left_over
from mimo.stage import Rejected


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Folder of a Slurm's programs, which come first in the path; files there are their memory."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def program(name, lines):
        (folder / name).write_text(f"#!/bin/sh\ncd '{folder}'\n{lines}\n")
        (folder / name).chmod(0o755)

    return program


def queue(*jobs):
    return "test -e cancelled || cat <<END\n" + "\n".join(jobs) + "\nEND"


def test_only_our_jobs_of_this_folder_are_cancelled(slurm, tmp_path, capfd):
    run = tmp_path / "a run"
    slurm("squeue", queue(f"3|mimo_ab|{run}", f"4|mimo_cd|{tmp_path}", f"5|other|{run}", f"6|mimo_ab|{run}"))
    slurm("scancel", 'echo "$@" > cancelled')
    cancel_left_over(run)
    assert (tmp_path / "slurm" / "cancelled").read_text() == "3 6\n"
    assert "cancelling Slurm jobs of a run that was killed: 3 6" in capfd.readouterr().err


def test_nothing_is_cancelled_when_there_is_nothing(slurm, tmp_path):
    slurm("squeue", queue(f"4|mimo_cd|{tmp_path / 'other'}"))
    slurm("scancel", 'echo "$@" > cancelled')
    cancel_left_over(tmp_path)
    assert not (tmp_path / "slurm" / "cancelled").exists()


def test_a_job_that_does_not_end_stops_the_run(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_jobs, "END_SECONDS", 0)
    slurm("squeue", queue(f"3|mimo_ab|{tmp_path}"))
    slurm("scancel", "true")
    with pytest.raises(Rejected, match="do not end: 3"):
        cancel_left_over(tmp_path)


def test_a_slurm_that_does_not_answer_is_told_of_only_where_it_was_used(slurm, tmp_path, capfd):
    slurm("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    cancel_left_over(tmp_path)
    assert capfd.readouterr().err == ""
    (tmp_path / LOGS).mkdir(parents=True)
    cancel_left_over(tmp_path)
    assert "Slurm does not answer" in capfd.readouterr().err
