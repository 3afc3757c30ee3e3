"""Video files: exact frames, exact masks, faithful colours, audio in sync, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from mimo.video import VideoError, VideoReader, VideoWriter, has_audio

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
BITS = 10


def numbered(index: int, height: int = 128, width: int = 160) -> np.ndarray:
    """A grey frame that carries its index as a row of white and black blocks."""
    frame = np.full((height, width), 90, np.uint8)
    for bit in range(BITS):
        frame[:16, bit * 16 : bit * 16 + 16] = 255 * (index >> bit & 1)
    return frame


def number_of(frame: np.ndarray) -> int:
    gray = frame if frame.ndim == 2 else frame.mean(axis=2)
    return sum(1 << bit for bit in range(BITS) if gray[4:12, bit * 16 + 4 : bit * 16 + 12].mean() > 128)


def colour(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=2)


def smooth_noise(seed: int, height: int = 360, width: int = 640) -> np.ndarray:
    """An RGB picture with all colours in it and no fine detail."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 16, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def encode(path: Path, frames: Iterable[np.ndarray], fps: Fraction | float = 30, **options: Any) -> Path:
    with VideoWriter(path, fps, **options) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def read_with_every_decoder(path: Path) -> dict[str, np.ndarray]:
    """First frame as RGB, from the decoders that users of a template have."""
    raw = imageio_ffmpeg.read_frames(str(path))
    width, height = next(raw)["size"]
    frames = {
        "imageio": np.frombuffer(next(raw), np.uint8).reshape(height, width, 3),
        "opencv": cv2.VideoCapture(str(path)).read()[1][..., ::-1],
        "ours": VideoReader(path).frame(0),
    }
    with av.open(str(path)) as container:
        frames["pyav"] = next(container.decode(video=0)).to_ndarray(format="rgb24")
    return frames


def beep(path: Path, at: float, seconds: float, codec: str = "aac") -> Path:
    """A sound file that is silent but for 0.1 s of a tone."""
    tone = f"sin(2*PI*1000*t)*between(t,{at},{at + 0.1})"
    source = ["-f", "lavfi", "-i", f"aevalsrc='{tone}':s=48000:d={seconds}"]
    subprocess.run([FFMPEG, "-y", "-loglevel", "error", *source, "-c:a", codec, str(path)], check=True)
    return path


def sound(path: Path) -> tuple[float, float]:
    """When the tone starts and how long the audio is, in seconds of the file's time line."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48000)
        pieces, start = [], None
        for frame in container.decode(stream):
            start = frame.time if start is None else start
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
        samples = np.concatenate(pieces)
    return start + int(np.argmax(np.abs(samples) > 0.3)) / 48000, start + len(samples) / 48000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "a clip: 100% ünusual.mp4"
    return encode(path, (colour(numbered(index)) for index in range(200)), Fraction(30000, 1001))


def test_frames_are_exact(clip: Path) -> None:
    reader = VideoReader(clip)
    assert (reader.info.width, reader.info.height, reader.info.fps) == (160, 128, Fraction(30000, 1001))
    assert len(reader) == 200
    assert [number_of(frame) for frame in reader] == list(range(200))
    assert [number_of(frame) for frame in reader.frames(59, 123)] == list(range(59, 123))
    assert [number_of(reader.frame(index)) for index in (199, 0, 60, 61, 150)] == [199, 0, 60, 61, 150]
    assert [number_of(frame) for frame in reader.frames(190, 999)] == list(range(190, 200))
    assert list(reader.frames(200)) == []
    with pytest.raises(IndexError, match="no frame 200"):
        reader.frame(200)


def test_masks_are_exact_in_every_decoder(tmp_path: Path) -> None:
    every_value = np.tile(np.arange(256, dtype=np.uint8), (64, 2))
    rng = np.random.default_rng(1)
    masks = [every_value, *(rng.integers(0, 256, (64, 512), dtype=np.uint8) for _ in range(4))]
    encode(tmp_path / "mask.mp4", masks, kind="mask")
    for got, mask in zip(VideoReader(tmp_path / "mask.mp4", gray=True), masks, strict=True):
        assert np.array_equal(got, mask)
    for name, frame in read_with_every_decoder(tmp_path / "mask.mp4").items():
        assert np.array_equal(frame, colour(every_value)), name


def test_colours_keep_and_all_decoders_agree(tmp_path: Path) -> None:
    picture = smooth_noise(0)
    encode(tmp_path / "c.mp4", [picture] * 3, crf=4)
    with av.open(str(tmp_path / "c.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
    for name, frame in read_with_every_decoder(tmp_path / "c.mp4").items():
        error = frame.astype(float) - picture
        bias = np.abs(error.mean(axis=(0, 1))).max()
        assert np.abs(error).mean() < 2.0, name
        assert bias < (0.15 if name == "ours" else 2.0), f"{name}: {bias}"


def test_many_generations_do_not_drift(tmp_path: Path) -> None:
    picture = smooth_noise(3) // 2 + 64
    frame = picture
    for _ in range(6):
        frame = VideoReader(encode(tmp_path / "g.mp4", [frame], crf=1)).frame(0)
    assert np.abs((frame.astype(float) - picture).mean(axis=(0, 1))).max() < 0.5


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_audio_is_cut_to_the_frames_and_in_sync(tmp_path: Path, codec: str) -> None:
    audio = beep(tmp_path / ("a.m4a" if codec == "aac" else "a.wav"), at=1.5, seconds=30, codec=codec)
    for start in (0.0, 0.7):
        frames = (colour(numbered(index)) for index in range(60))
        encode(tmp_path / "v.mp4", frames, 25, audio_from=audio, audio_start=start)
        tone, end = sound(tmp_path / "v.mp4")
        assert tone == pytest.approx(1.5 - start, abs=0.03)
        assert end == pytest.approx(60 / 25, abs=0.05)
        assert [number_of(frame) for frame in VideoReader(tmp_path / "v.mp4")] == list(range(60))


def test_audio_may_be_short_or_missing(tmp_path: Path, clip: Path) -> None:
    frames = [colour(numbered(index)) for index in range(60)]
    encode(tmp_path / "short.mp4", frames, 25, audio_from=beep(tmp_path / "a.m4a", 0.2, 0.5))
    assert len(VideoReader(tmp_path / "short.mp4")) == 60
    assert sound(tmp_path / "short.mp4")[0] == pytest.approx(0.2, abs=0.03)
    encode(tmp_path / "none.mp4", frames[:1], audio_from=clip)
    assert not has_audio(tmp_path / "none.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.m4a", "none.mp4", "short.mp4"]


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    for bad in (np.zeros((63, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)):
        with pytest.raises(ValueError, match="even sizes"):
            encode(tmp_path / "v.mp4", [bad])
    with pytest.raises(ValueError, match="float"):
        encode(tmp_path / "v.mp4", [np.zeros((64, 64, 3), dtype) for dtype in (np.uint8, np.float64)])
    with pytest.raises(VideoError, match="no frame"):
        encode(tmp_path / "v.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_unreadable_files_say_so(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text.mp4: cannot be read as a video"):
        VideoReader(tmp_path / "text.mp4")
    with pytest.raises(VideoError, match=r"absent.mp4: .*No such file"):
        VideoReader(tmp_path / "absent.mp4")
    with pytest.raises(VideoError, match="holds no video"):
        VideoReader(beep(tmp_path / "sound.m4a", 0.1, 1))
    whole = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(VideoError, match=r"cut.mp4: frame \d+ of \d+ cannot be decoded|cannot be read"):
        list(VideoReader(tmp_path / "cut.mp4"))


FILL_DISK = """
import sys, numpy as np
from mimo.video import VideoWriter
noise = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], 30) as writer:
        for _ in range(400):
            writer.write(noise.integers(0, 256, (256, 256, 3), dtype=np.uint8))
except OSError as error:
    print(error)
"""


def test_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the encoder cannot write on."""
    limited = f"ulimit -f 500; exec '{sys.executable}' -c \"$0\" '{tmp_path}/full.mp4'"
    done = subprocess.run(["bash", "-c", limited, FILL_DISK], capture_output=True, text=True, check=True)
    assert done.stdout == f"[Errno 27] File too large: '{tmp_path}/full.mp4'\n"
    assert list(tmp_path.iterdir()) == []


def test_failure_in_the_block_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"old")
    frames = (np.full((64, 64, 3), 100 // (5 - index), np.uint8) for index in range(6))
    with pytest.raises(ZeroDivisionError):
        encode(tmp_path / "v.mp4", frames)
    assert (tmp_path / "v.mp4").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
