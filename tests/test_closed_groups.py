"""Videos in closed groups: made in parts and joined, they are the bytes of the video made in one go."""

import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from mimo.closed_groups import GROUP, GroupWriter
from mimo.files import sha256
from mimo.video import VideoError, VideoReader, VideoWriter

COUNT = 2 * GROUP + 3


def frames(start: int, stop: int, side: int = 64) -> list[np.ndarray]:
    """Noise that drifts, with a cut, so that the encoder has choices to make."""
    noise = np.random.default_rng(3).integers(0, 255, (8, 40, 1), np.uint8)
    wide = cv2.resize(np.repeat(noise, 3, axis=2), (4 * side, side), interpolation=cv2.INTER_CUBIC)
    shown = [wide if i < 75 else 255 - wide for i in range(start, stop)]
    return [np.roll(image, -i, axis=1)[:, :side] for i, image in zip(range(start, stop), shown, strict=True)]


def write(path: Path, start: int, stop: int, fps: Fraction = Fraction(30), **more) -> Path:
    with GroupWriter(path, fps, first=start, **more) as writer:
        for frame in frames(start, stop):
            writer.write(frame)
    return path


def join(path: Path, parts: list[Path], fps: Fraction = Fraction(30), **more) -> int:
    with GroupWriter(path, fps, **more) as writer:
        for part in parts:
            writer.append(part)
    return writer.frames_written


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.mp4"
    make = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", "sine=440"]
    subprocess.run([*make, "-t", "8", str(path)], check=True)
    return path


@pytest.mark.parametrize("fps", [Fraction(30), Fraction(30000, 1001)])
def test_parts_joined_are_the_whole_byte_for_byte(tmp_path, sound, fps):
    more = {"fps": fps, "audio_from": sound, "audio_start": 0.5}
    whole = write(tmp_path / "whole.mp4", 0, COUNT, **more)
    # The last part is too short for B-frames.
    borders = [0, GROUP, 2 * GROUP, COUNT]
    parts = [write(tmp_path / f"{a}.mp4", a, b, fps) for a, b in pairwise(borders)]
    assert join(tmp_path / "joined.mp4", parts, **more) == COUNT
    assert sha256(tmp_path / "joined.mp4") == sha256(whole)
    shown = list(VideoReader(whole))
    assert len(shown) == COUNT
    truth = frames(0, COUNT)
    assert min(cv2.PSNR(a, b) for a, b in zip(shown, truth, strict=True)) > 30
    with av.open(str(whole)) as container:
        pictures, heard = container.streams.video[0], container.streams.audio[0]
        assert (pictures.start_time, pictures.average_rate) == (0, fps)
        assert float(heard.duration * heard.time_base) == pytest.approx(float(COUNT / fps), abs=0.05)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "no temporary file is left"


def test_a_group_is_what_the_plain_writer_makes(tmp_path):
    with VideoWriter(tmp_path / "plain.mp4", 30) as writer:
        for frame in frames(0, 20):
            writer.write(frame)
    write(tmp_path / "group.mp4", 0, 20)
    pairs = zip(VideoReader(tmp_path / "plain.mp4"), VideoReader(tmp_path / "group.mp4"), strict=True)
    assert all((a == b).all() for a, b in pairs)


def test_what_does_not_fit_together_is_refused(tmp_path):
    write(tmp_path / "part.mp4", 0, 3)
    with VideoWriter(tmp_path / "larger.mp4", 30) as writer:
        writer.write(frames(0, 1, 96)[0])
    for names, words in (
        (["part.mp4", "larger.mp4"], "of another size"),
        (["part.mp4", "missing.mp4"], "cannot be read"),
        ([], "no frame"),
    ):
        with pytest.raises(VideoError, match=words):
            join(tmp_path / "out.mp4", [tmp_path / name for name in names])
    assert {path.name for path in tmp_path.iterdir()} == {"part.mp4", "larger.mp4"}
