"""What jobs ask for: by frames, pixels, backend and attempt; right at submission, when the clip is known."""

import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from pydantic import ValidationError

from mimo.durations import seconds_of
from mimo.run.resources import USUAL, Clip, clip_of_source, clip_of_template, demand, markdown, table
from mimo.run.stages import STAGES, backend_names, settings_class
from mimo.video import VideoWriter

ROOT = Path(__file__).parent.parent
CLIP = Clip(frames=3000, width=1280, height=720)
SUBMIT = """
import json, subprocess, sys
from pathlib import Path
script = Path(sys.argv[1]).read_text()
line = next(line for line in script.splitlines() if line.startswith("# properties = "))
asked = json.loads(line.removeprefix("# properties = "))
names = ("mem_mb", "runtime", "gpu", "gpu_mem_mb")
with open("asked.jsonl", "a") as file:
    values = [asked["rule"], asked["threads"], *(asked["resources"].get(name) for name in names)]
    print(json.dumps(values), file=file)
subprocess.run(["sh", sys.argv[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("job")
"""


def every_backend():
    return [(stage, backend) for stage in STAGES for backend in backend_names(stage) or [""]]


def settings_of(stage, backend, **values):
    """Settings of a backend; what it cannot do without is made up."""
    kind = settings_class(stage, backend or None, "test")
    try:
        return kind(**values)
    except ValidationError:
        return kind(results=Path("results.pkl"), **values)


def write_video(path, frames, size=(64, 48), fps=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps) as writer:
        for number in range(frames):
            writer.write(np.full((size[1], size[0], 3), number, np.uint8))


@pytest.mark.parametrize(("stage", "backend"), every_backend())
def test_every_backend_has_its_numbers_and_they_grow(stage, backend):
    assert (backend or "-") in table().stages[stage]
    settings = settings_of(stage, backend)
    short, long = (demand(stage, backend, settings, Clip(frames, 1280, 720)) for frames in (3000, 60000))
    large = demand(stage, backend, settings, Clip(3000, 3840, 2160))
    again = demand(stage, backend, settings, CLIP, attempt=2)
    if stage not in ("character", "motion", "staging"):
        assert long.runtime > short.runtime
        assert large.runtime >= short.runtime
    assert large.mem_mb >= short.mem_mb
    assert long.mem_mb == short.mem_mb, "frames stream"
    assert again.mem_mb > 1.8 * short.mem_mb
    assert again.runtime >= 2 * short.runtime - 1
    on_gpu = hasattr(settings, "device")
    assert short.gpu == on_gpu
    assert (short.gpu_mem_mb > 0) == on_gpu
    if on_gpu:
        slow = demand(stage, backend, settings_of(stage, backend, device="cpu"), CLIP)
        assert (slow.gpu, slow.gpu_mem_mb) == (0, 0)
        assert slow.runtime > short.runtime


def test_a_backend_of_ones_own_asks_for_something():
    need = demand("segmentation", "my-net", settings_of("segmentation", "sam2"), CLIP)
    assert need.gpu == 1
    assert need.mem_mb > 1000


def test_settings_count():
    def need(**values):
        return demand("synthesis", "mimo", settings_of("synthesis", "mimo", **values), CLIP)

    assert need(preset="fast").runtime < 0.3 * need().runtime
    assert need(memory="lowest").gpu_mem_mb < 0.5 * need().gpu_mem_mb
    assert need(size=512).gpu_mem_mb < need().gpu_mem_mb


def test_the_table_is_documented():
    assert markdown() in (ROOT / "docs" / "resources.md").read_text()


def test_a_clip_is_known_by_its_record_or_its_header(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        clip_of_template(tmp_path, tmp_path / "config.json")
    assert caught.value.filename == str(tmp_path / "config.json")
    write_video(tmp_path / "vid.mp4", 12)
    assert clip_of_template(tmp_path) == Clip(12, 64, 48)
    (tmp_path / "records").mkdir()
    record = tmp_path / "records" / "ingest.json"
    record.write_text(json.dumps({"output": {"frames": 99, "width": 720, "height": 1280, "fps": 30}}))
    assert clip_of_template(tmp_path) == Clip(99, 720, 1280)
    record.write_text("{}")
    assert clip_of_template(tmp_path) == USUAL, "the stage will say what is wrong"


def test_of_a_source_the_part_counts_that_is_read(tmp_path):
    write_video(tmp_path / "a.mp4", 50)
    whole = settings_of("ingest", "")
    assert clip_of_source(tmp_path / "a.mp4", whole).frames == 50
    part = settings_of("ingest", "", start=1.0, end=4.0, max_seconds=2.0)
    assert clip_of_source(tmp_path / "a.mp4", part).frames == 20
    (tmp_path / "b.mp4").write_bytes(b"no video")
    assert clip_of_source(tmp_path / "b.mp4", whole) == USUAL
    with pytest.raises(FileNotFoundError):
        clip_of_source(tmp_path / "c.mp4", whole)


def test_whatever_is_wrong_with_a_video_does_not_stop_the_plan(tmp_path, monkeypatch):
    settings = settings_of("ingest", "")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile /dev/null\n")
    assert clip_of_source(tmp_path / "list.mp4", settings) == USUAL
    (tmp_path / "odd.mp4").write_bytes(b"odd")

    def fails(*_, **__):
        raise av.error.UnknownError(1, "neither a wrong value nor the system's")

    monkeypatch.setattr("mimo.untrusted_video.av.open", fails)
    assert clip_of_source(tmp_path / "odd.mp4", settings) == USUAL
    assert seconds_of(tmp_path / "odd.mp4") == 0.0


def test_right_at_submission_and_more_the_second_time(checkout):
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="pip install -e '.[cluster]'")
    folder = checkout.folder
    write_video(folder / "videos" / "wide.mp4", 30, (640, 480))
    (folder / "videos" / "bad.mp4").write_bytes(b"no video" * 1000)
    (folder / "submit.py").write_text(SUBMIT)
    result = checkout.run(
        *("snakemake", "--workflow-profile", "none", "--executor", "cluster-generic", "--jobs", "1"),
        *("--cluster-generic-submit-cmd", f"{sys.executable} submit.py", "--retries", "1", "--keep-going"),
        *("--seconds-between-status-checks", "1", "--"),
        *("templates/wide/records/segmentation.json", "templates/bad/vid.mp4"),
    )
    assert result.returncode != 0, "bad.mp4 is no video, and this one shows nobody"
    asked = [json.loads(line) for line in (folder / "asked.jsonl").read_text().splitlines()]

    def expected(stage, backend, clip, attempt):
        need = demand(stage, backend, settings_of(stage, backend), clip, attempt)
        return [stage, need.threads, need.mem_mb, need.runtime, need.gpu, need.gpu_mem_mb]

    seen = Clip(30, 640, 480)
    assert sorted(asked) == sorted(
        [
            expected("ingest", "", seen, 1),
            expected("segmentation", "mediapipe", seen, 1),
            expected("segmentation", "mediapipe", seen, 2),
            expected("ingest", "", USUAL, 1),
            expected("ingest", "", USUAL, 2),
        ]
    )
