"""Sources with numbered frames and a tone, and the ingest command on them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from mimo.video import VideoReader

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
BITS = 8
BLOCK = 32
WIDTH, HEIGHT = BITS * BLOCK, 144
H264 = ["-c:v", "libx264", "-preset", "veryfast", "-g", "15", "-bf", "2", "-pix_fmt", "yuv420p"]
BEEP = 1.5


def numbered(index: int) -> np.ndarray:
    """A grey RGB frame that carries its index as a row of white and black blocks."""
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for bit in range(BITS):
        frame[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (index >> bit & 1)
    return frame


def numbers(path: Path) -> list[int]:
    """The index in each frame of a video of the width of `numbered`."""
    centres = np.arange(BITS) * BLOCK + BLOCK // 2
    return [
        int(((frame[BLOCK // 2, centres].mean(axis=1) > 128) << np.arange(BITS)).sum())
        for frame in VideoReader(path)
    ]


def ffmpeg(*arguments: str | Path, data: bytes | None = None) -> None:
    command = [FFMPEG, "-y", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, input=data, check=True)


def make(
    path: Path,
    coding: Sequence[str],
    *,
    frames: int = 90,
    rate: str = "30",
    sound: Sequence[str] | None = ("-c:a", "aac"),
    before: Sequence[str] = (),
    seconds: float = 3.0,
) -> Path:
    """Encode numbered frames, and a sound that is silent but for 0.1 s of a tone at `BEEP`."""
    pixels = b"".join(numbered(index).tobytes() for index in range(frames))
    video = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-framerate", rate, "-i", "-"]
    tone = f"aevalsrc='sin(2*PI*1000*t)*between(t,{BEEP},{BEEP + 0.1})':s=48000:d={seconds}"
    audio = [*before, "-f", "lavfi", "-i", tone, *sound] if sound is not None else []
    ffmpeg(*video, *audio, *coding, path, data=pixels)
    return path


def ingest(source: Path, template: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "video_decomp.ingest",
        str(source),
        "--template",
        str(template),
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def ingested(source: Path, template: Path, *options: str) -> dict[str, Any]:
    """Run ingest and return its record, checked against the file."""
    done = ingest(source, template, *options)
    assert done.returncode == 0, done.stderr
    record = json.loads((template / "records" / "ingest.json").read_text())
    info = VideoReader(template / "vid.mp4").info
    written = record["output"]
    assert (info.width, info.height, info.frames) == (written["width"], written["height"], written["frames"])
    assert float(info.fps) == pytest.approx(written["fps"], abs=1e-5)
    assert sorted(path.name for path in template.iterdir()) == ["records", "vid.mp4"]
    return record
