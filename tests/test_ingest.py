"""The ingest command on the files people have: which frame is shown when, its picture, its sound."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from ingest_sources import BEEP, H264, ffmpeg, ingest, ingested, make, numbers

from mimo.video import VideoReader


def beep_time(path: Path) -> float:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48000)
        for frame in container.decode(stream):
            for piece in resampler.resample(frame):
                loud = np.flatnonzero(np.abs(piece.to_ndarray()[0]) > 0.3)
                if len(loud):
                    return float(piece.time + loud[0] / 48000)
    raise AssertionError("no tone")


@dataclass
class Case:
    name: str
    coding: Sequence[str] = field(default_factory=lambda: H264)
    options: dict[str, Any] = field(default_factory=dict)
    expected: Sequence[int] = range(90)
    rate: Fraction = Fraction(30)
    beep: float | None = BEEP


CASES = [
    Case("plain.mp4"),
    Case("stream.ts"),
    Case("offset.mkv", [*H264, "-output_ts_offset", "7.3"]),
    Case("vp9.webm", ["-c:v", "libvpx-vp9", "-cpu-used", "8"], {"sound": ["-c:a", "libopus"]}),
    Case("av1.mp4", ["-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=2"]),
    Case("hevc10.mkv", ["-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"]),
    Case("old.avi", ["-c:v", "mpeg4", "-q:v", "3", "-bf", "2"], {"sound": ["-c:a", "mp3"]}),
    Case("prores.mov", ["-c:v", "prores_ks"], {"sound": ["-c:a", "pcm_s16le", "-ac", "2"]}),
    Case("silent.mp4", options={"sound": None}, beep=None),
    Case("25.mp4", options={"rate": "25"}, rate=Fraction(25)),
    Case("ntsc.mp4", options={"rate": "24000/1001"}, rate=Fraction(24000, 1001)),
    Case("60.mp4", options={"rate": "60", "frames": 180}, expected=range(0, 180, 2)),
    Case("59.94.ts", options={"rate": "60000/1001", "frames": 180}, expected=range(0, 180, 2)),
    Case("50.mp4", options={"rate": "50", "frames": 150}, expected=range(0, 150, 2), rate=Fraction(25)),
    Case("60.webm", ["-c:v", "libvpx", "-cpu-used", "8"],
         {"rate": "60", "frames": 180, "sound": ["-c:a", "libvorbis"]}, range(0, 180, 2)),
    Case("40.mp4", options={"rate": "40", "frames": 120}, expected=[n for n in range(120) if n % 4 != 2]),
    Case("late sound.mp4", options={"before": ["-itsoffset", "0.7"]}, beep=BEEP + 0.7),
    Case("long sound.mp4", options={"seconds": 9}),
    Case("short sound.mp4", options={"seconds": 1.7}),
    Case("-dash, 100% c:ö.mp4"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_right_frame_at_the_right_time(case: Case, tmp_path: Path) -> None:
    source = make(tmp_path / case.name, case.coding, **case.options)
    record = ingested(source, tmp_path / "out")
    info = VideoReader(tmp_path / "out" / "vid.mp4").info
    if case.name != "59.94.ts":
        assert info.fps == case.rate
    else:
        assert info.fps == Fraction(30000, 1001)
    assert numbers(tmp_path / "out" / "vid.mp4") == list(case.expected)
    if case.beep is None:
        assert record["source"]["audio"] is None
    else:
        assert beep_time(tmp_path / "out" / "vid.mp4") == pytest.approx(case.beep, abs=0.03)
    assert record["warnings"] == []


def test_audio_of_unknown_format_is_passed_over(tmp_path: Path) -> None:
    """Phones put a second audio stream beside AAC that nothing else can decode."""
    source = make(tmp_path / "one.mp4", H264)
    ffmpeg("-i", source, "-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy", tmp_path / "two.mp4")
    for name in ("two.mp4", "one.mp4"):
        data = (tmp_path / name).read_bytes()
        for box in (b"mp4a", b"esds"):
            data = data.replace(box, b"zzzz", 1)
        (tmp_path / name).write_bytes(data)
    record = ingested(tmp_path / "two.mp4", tmp_path / "out")
    assert (record["source"]["audio"]["codec"], record["source"]["audio"]["index"]) == ("aac", 2)
    assert beep_time(tmp_path / "out" / "vid.mp4") == pytest.approx(BEEP, abs=0.03)
    record = ingested(tmp_path / "one.mp4", tmp_path / "out")
    assert record["source"]["audio"] is None
    assert record["warnings"] == ["the audio is of an unknown format and is left out"]


def test_cut_without_encoding_starts_where_it_was_cut(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", H264)
    ffmpeg("-ss", "1.1", "-i", whole, "-c", "copy", tmp_path / "cut.mp4")
    ingested(tmp_path / "cut.mp4", tmp_path / "out")
    assert numbers(tmp_path / "out" / "vid.mp4") == list(range(33, 90))
    assert beep_time(tmp_path / "out" / "vid.mp4") == pytest.approx(BEEP - 1.1, abs=0.03)


def test_variable_rate_keeps_the_clock(tmp_path: Path) -> None:
    """Frames are missing irregularly; what is shown at a time must be the frame that is nearest to it."""
    kept = [n for n in range(90) if n % 7 != 3 and n % 5 != 1 and not 30 < n < 45]
    chosen = "+".join(f"eq(n,{n})" for n in kept)
    coding = ["-vf", f"select='{chosen}'", "-fps_mode", "passthrough", *H264]
    record = ingested(make(tmp_path / "phone.mp4", coding), tmp_path / "out")
    shown = numbers(tmp_path / "out" / "vid.mp4")
    assert record["source"]["variable_fps"]
    assert len(shown) == 90
    for tick, number in enumerate(shown):
        assert abs(number - tick) == min(abs(n - tick) for n in kept)
    assert set(shown) == set(kept)
    assert beep_time(tmp_path / "out" / "vid.mp4") == pytest.approx(BEEP, abs=0.03)
    assert any("varies" in warning for warning in record["warnings"])


@pytest.mark.parametrize("name", ["cut.mp4", "cut.ts", "cut.mkv"])
def test_truncated_file_gives_what_is_whole(name: str, tmp_path: Path) -> None:
    whole = make(tmp_path / name, [*H264, "-movflags", "+faststart"] if name == "cut.mp4" else H264)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    record = ingested(whole, tmp_path / "out")
    shown = numbers(tmp_path / "out" / "vid.mp4")
    assert 20 < len(shown) < 80
    assert all(abs(number - tick) <= 2 for tick, number in enumerate(shown))
    assert any("cut off" in warning or "damaged" in warning for warning in record["warnings"])


def test_a_part_of_the_source(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.ts"):
        source = make(tmp_path / name, H264)
        record = ingested(
            source, tmp_path / name[2:], "--start", "1.4", "--end", "2", "--crop", "[0, 0, 256, 80]"
        )
        assert numbers(tmp_path / name[2:] / "vid.mp4") == list(range(42, 60))
        assert beep_time(tmp_path / name[2:] / "vid.mp4") == pytest.approx(0.1, abs=0.03)
        assert (record["output"]["width"], record["output"]["height"]) == (256, 80)
        assert record["source"]["first_time"] == pytest.approx(1.4, abs=1e-5)
        assert record["source"]["last_time"] == pytest.approx(59 / 30, abs=1e-5)
    ingested(source, tmp_path / "short", "--max-seconds", "0.5", "--fps", "15")
    assert numbers(tmp_path / "short" / "vid.mp4") == list(range(0, 15, 2))


REJECTED = {
    "three frames.mp4": "too short: 3 frames",
    "text.mp4": "cannot be opened as a video",
    "empty.mov": "cannot be opened as a video",
    "cut before its index.mp4": "cut off before its index",
    "photo.jpg": "a still picture",
    "sound.mp3": "no moving pictures",
    "cover.mp3": "no moving pictures",
    "absent.mp4": "no such file",
}


@pytest.fixture(scope="module")
def useless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what cannot be used."""
    folder = tmp_path_factory.mktemp("useless")
    make(folder / "three frames.mp4", H264, frames=3, seconds=0.1)
    (folder / "text.mp4").write_text("not a video")
    (folder / "empty.mov").touch()
    cut = make(folder / "cut before its index.mp4", H264)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64", "-frames:v", "1", folder / "photo.jpg")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", folder / "sound.mp3")
    cover = ["-map", "0:a", "-map", "1:v", "-disposition:v", "attached_pic"]
    ffmpeg("-i", folder / "sound.mp3", "-i", folder / "photo.jpg", *cover, folder / "cover.mp3")
    return folder


@pytest.mark.parametrize("name", REJECTED)
def test_useless_files_are_rejected_with_a_reason(name: str, useless: Path, tmp_path: Path) -> None:
    done = ingest(useless / name, tmp_path / "out")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 3
    assert last.startswith("REJECTED: ")
    assert name in last
    assert REJECTED[name] in last
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_settings_are_checked(useless: Path, tmp_path: Path) -> None:
    assert ingest(useless / "three frames.mp4", tmp_path / "a", "--min-frames", "3").returncode == 0
    for options, words in {
        ("--start", "9"): "too short: 0 frames",
        ("--min-frames", "1", "--crop", "[200, 0, 100, 100]"): "leaves the picture",
    }.items():
        done = ingest(useless / "three frames.mp4", tmp_path / "b", *options)
        assert (done.returncode, words in done.stderr) == (3, True), done.stderr
    done = ingest(useless / "three frames.mp4", tmp_path / "b", "--start", "3", "--end", "2")
    assert done.returncode == 2
    assert "end must be after start" in done.stderr


def test_killed_ingest_leaves_no_video_and_can_be_repeated(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", H264, frames=250, seconds=8)
    command = [sys.executable, "-m", "video_decomp.ingest", str(source), "--template", str(tmp_path / "out")]
    killed = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while killed.poll() is None and not list(tmp_path.glob("out/.vid.part*")):
        pass
    killed.kill()
    assert killed.wait() == -9
    assert not (tmp_path / "out" / "vid.mp4").exists()
    ingested(source, tmp_path / "out")
    assert numbers(tmp_path / "out" / "vid.mp4") == list(range(250))
