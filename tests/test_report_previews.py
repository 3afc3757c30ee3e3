"""Previews in the report: small, of the right kind, within the page's budget, made once."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mimo import weights
from mimo.report.media import media_of, renew
from mimo.report.outcomes import outcomes
from mimo.report.page import write_report
from mimo.report.pictures import write_picture
from mimo.report.previews import SIZES, fitting_size, write_preview
from mimo.report.rows import table_rows
from mimo.run.configuration import read_configuration
from mimo.run.project import Project
from mimo.video import VideoReader, VideoWriter

LARGE = SIZES[0]
NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Real footage as a result would be, 20 frames at 60 a second."""
    weights.fetch(["pose2sim-cam02"])
    path = tmp_path_factory.mktemp("footage") / "result.mp4"
    with VideoWriter(path, 60) as writer:
        for frame in VideoReader(weights.path("pose2sim-cam02")).frames(0, 20):
            writer.write(np.ascontiguousarray(frame[::4, ::4]))
    return path


@pytest.fixture
def project(tmp_path, monkeypatch, footage):
    """Three templates dropped in by hand, each with a result of one character."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text((Path(__file__).parent.parent / "config.yaml").read_text())
    Path("characters").mkdir()
    Image.new("RGB", (40, 60), "red").save("characters/anna.png")
    for name in NAMES:
        for folder in (Path("templates") / name, Path("results") / name):
            folder.mkdir(parents=True)
        (Path("templates") / name / "vid.mp4").write_bytes(footage.read_bytes())
        (Path("templates") / name / "config.json").write_text(
            '{"fps": 60, "time_crop": {"start_idx": 0, "end_idx": 10}}'
        )
        (Path("results") / name / "anna.mp4").write_bytes(footage.read_bytes())
        (Path("results") / name / "anna.json").write_text('{"metrics": {"frames": 20}}')
    return Project.load(read_configuration([Path("config.yaml")]))


def kept():
    """Files made for the report, with the number that changes when one is made again."""
    return {str(path): path.stat().st_ino for path in Path("logs/report").rglob("*.*") if path.is_file()}


def test_preview_is_a_small_video_that_every_browser_plays(footage, tmp_path):
    path = tmp_path / "preview.mp4"
    write_preview(path, footage, LARGE)
    assert path.stat().st_size <= LARGE.clip_bytes
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert max(stream.width, stream.height) == LARGE.side
        assert stream.average_rate == 20  # of 60
        assert not file.streams.audio
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays while it loads
    middle = VideoReader(path).frame(3).astype(int)
    original = np.asarray(Image.fromarray(VideoReader(footage).frame(9)).resize(middle.shape[1::-1]))
    assert np.abs(middle - original).mean() < 6


def test_noise_stays_within_the_size(tmp_path):
    """What cannot be compressed gets coarser, video and picture."""
    random = np.random.default_rng(0)
    with VideoWriter(tmp_path / "noise.mp4", 30, crf=30) as writer:
        for _ in range(30):
            writer.write(random.integers(0, 255, (240, 320, 3), np.uint8))
    small = SIZES[3]
    write_picture(
        tmp_path / "a.webp", Image.fromarray(random.integers(0, 255, (400, 400, 3), np.uint8)), 320, 4000
    )
    assert (tmp_path / "a.webp").stat().st_size <= 4000
    write_preview(tmp_path / "a.mp4", tmp_path / "noise.mp4", small)
    assert (tmp_path / "a.mp4").stat().st_size < (tmp_path / "noise.mp4").stat().st_size / 4


def test_previews_are_made_once_and_again_when_their_video_changes(project, footage):
    write_report(project)
    first = kept()
    assert {Path(name).suffix for name in first} == {".mp4", ".webp"}
    write_report(project)
    assert kept() == first

    replaced = Path("results/two/anna.mp4")
    replaced.write_bytes(footage.read_bytes())
    os.utime(replaced, (1e9, 1e9))  # an older file, put in its place
    write_report(project)
    assert {name for name, number in kept().items() if first[name] != number} == {
        name for name in first if "results/two/" in name
    }


@pytest.mark.parametrize("budget", [60e6, 3.5e5, 1e4])
def test_page_stays_within_its_budget_until_only_pictures_are_left(project, budget):
    page = write_report(project, budget=budget)
    text = page.read_text()
    frame = page.stat().st_size if budget == 1e4 else 0  # the smallest there is
    assert page.stat().st_size <= max(budget, frame)
    assert ("<video" in text) == (budget > 1e4)
    assert text.count("data:image/webp") >= 2 * len(NAMES)


def test_large_runs_get_smaller_previews():
    sizes = [fitting_size(count, count, 60e6) for count in (10, 200, 400, 600, 1000, 3000)]
    assert [size.name for size in sizes] == [size.name for size in SIZES]
    for count, size in zip((10, 200, 400, 600, 1000), sizes, strict=False):
        assert size.page_bytes(count, count) <= 60e6


def test_video_that_cannot_be_read_is_named_and_stops_nothing(project):
    Path("results/two/anna.mp4").write_bytes(b"no video")
    text = write_report(project).read_text()
    assert text.count("<video") == len(NAMES) - 1
    assert "no preview: " in text
    rows = table_rows(outcomes(project))
    media = {row.key: media_of(project, row, LARGE) for row in rows}
    assert [len(reasons) for reasons in renew(media).values()] == [3]
