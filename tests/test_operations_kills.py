"""Whatever is killed, the same command finishes the work: the real workflow on real footage."""

import os
import signal

import pytest
from operations import fault
from real_batch import GOOD, RESULT, TEMPLATE, WOMAN, Run, is_alive, made, times, wait_until

LOG = f"logs/synthesis/{GOOD}/{WOMAN}.log"


@pytest.fixture
def batch(batch_copy):
    """The finished batch without its result."""
    for end in (".mp4", ".json"):
        (batch_copy.folder / RESULT).with_suffix(end).unlink()
    return batch_copy


def finishes(batch, finished, row):
    """The row's command makes what was missing, the same as ever, and nothing else."""
    before = times(batch.folder)
    assert not (batch.folder / RESULT).exists()
    result = row.recover(batch)
    assert result.returncode == 0, result.stdout
    assert times(batch.folder) == before
    assert made(batch.folder) == made(finished.folder)


@pytest.mark.slow
def test_killed_workflow(batch, finished_batch):
    row = fault("`kill -9` of Snakemake")
    run = Run(batch)
    stage = run.stage(RESULT)
    run.writing(RESULT)
    run.kill()
    wait_until(lambda: not is_alive(stage))
    row.assert_seen((batch.folder / LOG).read_text())
    finishes(batch, finished_batch, row)


@pytest.mark.slow
def test_killed_stage(batch, finished_batch):
    row = fault("`kill -9` of a stage, or out of memory")
    run = Run(batch)
    stage = run.stage(RESULT)
    run.writing(RESULT)
    os.kill(stage, signal.SIGKILL)
    assert run.end()
    assert run.process.returncode == 1
    status = batch.run("video_decomp.status", "--failed")
    assert status.returncode == 1
    row.assert_seen(status.stdout)
    finishes(batch, finished_batch, row)


@pytest.mark.slow
def test_everything_killed_at_once(batch_copy, finished_batch):
    """As when the power fails, in the middle of two stages that run at the same time."""
    row = fault("power failure, or `kill -9` of everything")
    folder = batch_copy.folder
    for name in ("motion.npz", "sdc.mp4", "bk.mp4"):
        (folder / TEMPLATE / name).unlink()
    before = times(folder)
    run = Run(batch_copy)
    stages = [run.stage(f"{TEMPLATE}/records/{name}.json") for name in ("pose", "inpainting")]
    run.writing(f"{TEMPLATE}/bk.mp4")
    run.kill_all()
    wait_until(lambda: not any(is_alive(stage) for stage in stages))
    status = batch_copy.run("video_decomp.status")
    row.assert_seen(status.stdout)
    result = row.recover(batch_copy)
    assert result.returncode == 0, result.stdout
    after = times(folder)
    assert all(after[name] == before[name] for name in ("vid.mp4", "mask.mp4"))
    assert made(folder) == made(finished_batch.folder)


@pytest.mark.slow
def test_orphan_while_the_next_run_starts(batch, finished_batch):
    """A stage that cannot even notice that its run was killed: the next one waits for it, and says so."""
    row = fault("a stage of a killed run is still at work")
    run = Run(batch)
    orphan = run.stage(RESULT)
    run.writing(RESULT)
    os.kill(orphan, signal.SIGSTOP)
    run.kill()
    second = Run(batch)
    log = batch.folder / LOG
    wait_until(lambda: second.process.poll() is not None or (log.exists() and "waiting" in log.read_text()))
    row.assert_seen(log.read_text())
    assert not (batch.folder / RESULT).exists()
    os.kill(orphan, signal.SIGCONT)
    assert second.end()
    assert second.process.returncode == 0
    assert not is_alive(orphan)
    assert made(batch.folder) == made(finished_batch.folder)
    assert batch.planned() == {}


@pytest.mark.slow
def test_interrupted(batch, finished_batch):
    row = fault("Ctrl-C")
    run = Run(batch)
    run.stage(RESULT)
    run.writing(RESULT)
    os.killpg(run.process.pid, signal.SIGINT)
    run.end()
    assert run.process.returncode == 1
    row.assert_seen((batch.folder / LOG).read_text())
    finishes(batch, finished_batch, row)
