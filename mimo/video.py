"""Streaming video files: frames in, frames out, never a whole clip in memory.

Reading is sequential (PyAV), which is exact on every container; random access to *normalised* files
(written by `VideoWriter`) goes through `VideoReader.frame`. Writing pipes raw frames into ffmpeg.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np

from mimo.files import whole_file

Kind = Literal["colour", "mask"]


class VideoError(Exception):
    """A video file cannot be read or written; the message names the file and the reason."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a normalised video (constant frame rate, square pixels, no rotation)."""

    width: int
    height: int
    fps: Fraction
    frames: int


class VideoReader:
    """Frames of a normalised video, in order.

    Args:
        path: the file.
        gray: give (height, width) uint8 instead of (height, width, 3) RGB uint8.

    Raises:
        VideoError: the file cannot be opened or holds no video.
    """

    def __init__(self, path: Path | str, *, gray: bool = False) -> None:
        self.path = Path(path)
        self.gray = gray
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                frames = sum(1 for packet in container.demux(stream) if packet.size)
                rate = stream.average_rate or Fraction(30)
                self.info = VideoInfo(stream.width, stream.height, Fraction(rate), frames)
        except (av.FFmpegError, IndexError) as error:
            raise VideoError(f"{path}: cannot be read as a video ({error})") from error

    def __len__(self) -> int:
        return self.info.frames

    def __iter__(self) -> Iterator[np.ndarray]:
        yield from self.frames()

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Frames `start` to `stop` (exclusive), decoded from the nearest key frame before `start`.

        Yields:
            uint8, (height, width, 3) RGB or (height, width) when `gray`.
        """
        stop = len(self) if stop is None else min(stop, len(self))
        pixel_format = "gray" if self.gray else "rgb24"
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            frame_time = 1 / (self.info.fps * Fraction(stream.time_base or 0))
            if start:
                container.seek(round(start * frame_time), stream=stream)
            for frame in container.decode(stream):
                index = round((frame.pts or 0) / frame_time)
                if index >= stop:
                    return
                if index >= start:
                    yield frame.to_ndarray(format=pixel_format)

    def frame(self, index: int) -> np.ndarray:
        """One frame by its index.

        Raises:
            IndexError: there is no such frame.
        """
        for image in self.frames(index, index + 1):
            return image
        raise IndexError(f"{self.path}: no frame {index}, there are {len(self)}")


class VideoWriter:
    """Context manager that encodes frames; the file appears under its name only when whole.

    Args:
        path: ``.mp4`` file to write.
        fps: constant frame rate.
        kind: ``colour`` (RGB in, near-lossless H.264) or ``mask`` (grey in, lossless H.264).
        crf: quality of ``colour`` (lower is better; 12 is about 46 dB).
        audio_from: file whose first audio stream, if any, is copied beside the frames.
    """

    def __init__(
        self,
        path: Path | str,
        fps: Fraction | float,
        *,
        kind: Kind = "colour",
        crf: int = 12,
        audio_from: Path | str | None = None,
    ) -> None:
        self.path = Path(path)
        self.fps = Fraction(fps).limit_denominator(100_000)
        self.kind = kind
        self.crf = crf
        self.audio_from = audio_from
        self.frames_written = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> VideoWriter:
        self._file = whole_file(self.path)
        self._part = self._file.__enter__()
        self._errors = tempfile.TemporaryFile()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame.

        Args:
            frame: uint8, (height, width, 3) RGB or, for masks, (height, width); even sizes; the same
                shape every time.

        Raises:
            ValueError: wrong shape or type.
            VideoError: the encoder died; the message holds its last words.
        """
        if self._process is None:
            self._start(frame)
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"{self.path}: frame {frame.shape} {frame.dtype}, not {self._shape} uint8")
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            self._process.wait()
            raise VideoError(f"{self.path}: the encoder stopped: {self._last_words()}") from None
        self.frames_written += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._process is not None:
                assert self._process.stdin is not None
                self._process.stdin.close()
                if self._process.wait() != 0 and error is None:
                    raise VideoError(f"{self.path}: the encoder failed: {self._last_words()}")
            elif error is None:
                raise VideoError(f"{self.path}: no frame was written")
        except BaseException as fault:
            self._file.__exit__(type(fault), fault, fault.__traceback__)
            raise
        else:
            self._file.__exit__(kind, error, trace)
        finally:
            self._errors.close()

    def _start(self, frame: np.ndarray) -> None:
        channels = 2 if self.kind == "mask" else 3
        if frame.ndim != channels or frame.shape[0] % 2 or frame.shape[1] % 2:
            raise ValueError(f"{self.path}: a {self.kind} frame of shape {frame.shape} (even sizes needed)")
        self._shape = frame.shape
        source = ffmpeg.input(
            "pipe:",
            format="rawvideo",
            pix_fmt="gray" if self.kind == "mask" else "rgb24",
            s=f"{frame.shape[1]}x{frame.shape[0]}",
            framerate=str(self.fps),
        )
        coding = (
            {"pix_fmt": "gray", "qp": 0} if self.kind == "mask" else {"pix_fmt": "yuv420p", "crf": self.crf}
        )
        streams = [source]
        if self.audio_from is not None and has_audio(self.audio_from):
            streams.append(ffmpeg.input(str(self.audio_from)).audio)
            coding["acodec"] = "copy"
        command = (
            ffmpeg.output(
                *streams,
                str(self._part),
                vcodec="libx264",
                preset="veryfast",
                movflags="+faststart",
                **coding,
            )
            .overwrite_output()
            .global_args("-loglevel", "error")
            .compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
        )
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=self._errors)

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-500:] or "no message"


def has_audio(path: Path | str) -> bool:
    """Whether a file holds an audio stream."""
    with av.open(str(path)) as container:
        return bool(container.streams.audio)
