"""A batch with bad videos among them: each good one has its result, each bad one its reason."""

from benchmarks import batch

VIDEOS, BAD = 24, 7


def test_batch_with_bad_videos(tmp_path):
    """The real workflow, status and report; one video for each stage that rejects it."""
    made = batch.run(tmp_path, VIDEOS, BAD)
    names = {path.stem for path in (tmp_path / "videos").iterdir()}
    bad = {name for name in names if " bad for " in name}
    assert len(bad) == BAD
    assert made.costs[batch.PLAN].code == 0
    assert made.costs[batch.RUN].code == 1
    assert made.results == VIDEOS - BAD
    for told in (made.status, made.report):
        # A result is what a bad synthesis lacks; everything else fails as a video.
        assert {name.removesuffix(f" with {batch.CHARACTER}") for name in told} == bad
        for name, reason in told.items():
            stage = name.removesuffix(f" with {batch.CHARACTER}").rpartition(" bad for ")[2]
            assert f"no good for {stage}; leave it out" in reason
    assert made.costs["status"].code == 1
    assert made.costs[batch.RERUN].code == 0
