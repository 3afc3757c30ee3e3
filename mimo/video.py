"""Streaming video files: frames in, frames out, never a whole clip in memory.

Reading decodes with PyAV and finds frames by their time stamps, so that indices are exact. Writing pipes raw
frames into ffmpeg. Colour files are BT.709, limited range, and say so: every decoder and player then agrees.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from mimo.coding import CODINGS, SOUND, Kind, container_options
from mimo.files import whole_file

# swscale's plain conversions truncate, which darkens by 1.2 levels a pass; these flags (SWS_BILINEAR,
# SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT) make a write and a read free of bias.
EXACT_TO_RGB = 0x2 | 0x40000 | 0x2000

# Fixed, since an encoder's bits depend on their number and must not depend on the machine.
ENCODER_THREADS = 2
DECODER_THREADS = 2
CONVERTER_THREADS = 4
KEY_FRAME_INTERVAL = 60


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
        with self._open() as (container, stream):
            self._times = sorted(
                packet.pts
                for packet in container.demux(stream)
                if packet.size and packet.pts is not None and not packet.is_discard
            )
            rate = stream.average_rate or stream.guessed_rate or Fraction(30)
            self.info = VideoInfo(stream.width, stream.height, Fraction(rate), len(self._times))
        if not self._times:
            raise VideoError(f"{path}: holds no video frame")

    def __len__(self) -> int:
        return self.info.frames

    def __iter__(self) -> Iterator[np.ndarray]:
        yield from self.frames()

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Frames `start` to `stop` (exclusive), decoded from the nearest key frame before `start`.

        Yields:
            uint8, (height, width, 3) RGB or (height, width) when `gray`.

        Raises:
            ValueError: `start` is negative.
            VideoError: a frame cannot be decoded.
        """
        if start < 0:
            raise ValueError(f"{self.path}: frames start at 0, not {start}")
        wanted = iter(self._times[start:stop])
        time = next(wanted, None)
        if time is None:
            return
        # One for all frames: it keeps its tables and threads from frame to frame.
        reformatter = VideoReformatter()
        with self._open() as (container, stream):
            if start:
                container.seek(time, stream=stream)
            for frame in container.decode(stream):
                if frame.pts is None or frame.pts < time:
                    continue
                if frame.pts != time:
                    break
                yield self._image(frame, reformatter)
                time = next(wanted, None)
                if time is None:
                    return
        raise VideoError(f"{self.path}: frame {self._times.index(time)} of {len(self)} cannot be decoded")

    def frame(self, index: int) -> np.ndarray:
        """One frame by its index.

        Raises:
            IndexError: there is no such frame.
            VideoError: it cannot be decoded.
        """
        for image in self.frames(index, index + 1):
            return image
        raise IndexError(f"{self.path}: no frame {index}, there are {len(self)}")

    def _image(self, frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
        if self.gray:
            image = reformatter.reformat(frame, format="gray", threads=CONVERTER_THREADS)
        else:
            image = reformatter.reformat(
                frame, format="rgb24", interpolation=EXACT_TO_RGB, threads=CONVERTER_THREADS
            )
        return image.to_ndarray()

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        try:
            with av.open(local_url(self.path)) as container:
                if not container.streams.video:
                    raise VideoError(f"{self.path}: holds no video")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                stream.codec_context.thread_count = DECODER_THREADS
                yield container, stream
        except av.FFmpegError as error:
            raise VideoError(f"{self.path}: cannot be read as a video ({error.strerror})") from error


class VideoWriter:
    """Context manager that encodes frames; the file appears under its name only when whole.

    Args:
        path: file to write; its suffix is the container: ``.mp4``, or that of a transparent `kind`.
        fps: constant frame rate.
        kind: ``colour`` (RGB in, near-lossless H.264), ``mask`` (grey in, lossless H.264) or ``yuv``
            (planar 4:2:0 in BT.709 limited range in, written like ``colour`` without a conversion);
            ``prores`` (``.mov``) or ``vp9`` (``.webm``) with RGB and straight alpha in.
        crf: quality where the coding has such a number (lower is better); None: its own, for H.264 about
            46 dB.
        audio_from: file whose first audio stream, if any, is put beside the frames: copied where the
            container can hold it, and cut to the length of the frames.
        audio_start: seconds of `audio_from` that belong to the first frame.
    """

    def __init__(
        self,
        path: Path | str,
        fps: Fraction | float,
        *,
        kind: Kind = "colour",
        crf: int | None = None,
        audio_from: Path | str | None = None,
        audio_start: float = 0.0,
    ) -> None:
        self.path = Path(path)
        self.fps = Fraction(fps).limit_denominator(100_000)
        self.kind = kind
        self.crf = crf
        self.audio_from = audio_from
        self.audio_start = audio_start
        self.frames_written = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._shape: tuple[int, ...] = ()
        self._open_files = ExitStack()

    def __enter__(self) -> VideoWriter:
        audio_codec = self.audio_from and audio_codec_of(self.audio_from)
        with ExitStack() as files:
            self._part = files.enter_context(whole_file(self.path))
            self._errors = files.enter_context(tempfile.TemporaryFile())
            self._pictures = self._part
            if audio_codec:
                self._pictures = self._part.with_suffix(f".pictures{self._part.suffix}")
                self._pictures.unlink(missing_ok=True)
                files.callback(self._pictures.unlink, missing_ok=True)
            files.callback(self._kill)
            self._open_files = files.pop_all()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame.

        Args:
            frame: uint8, (height, width, 3) RGB, transparent (height, width, 4), for masks (height, width),
                for ``yuv`` the planes Y, U, V one after the other as (height * 3 / 2, width); even sizes;
                the same shape every time.

        Raises:
            ValueError: wrong shape or type.
            VideoError: the encoder died; the message holds its last words.
            OSError: the file could not be written, since the disk is full or another reason of the system.
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
            raise self._failure() from None
        self.frames_written += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as files:
            files.push(self._open_files.pop_all())
            if error is not None:
                raise error
            self._finish()

    def _start(self, frame: np.ndarray) -> None:
        coding = CODINGS[self.kind]
        size = coding.size(frame.shape)
        if size is None:
            raise ValueError(f"{self.path}: a {self.kind} frame of shape {frame.shape} (even sizes needed)")
        self._shape = frame.shape
        quality = {} if self.crf is None else {"crf": self.crf}
        frames = ffmpeg.input(
            "pipe:",
            format="rawvideo",
            pix_fmt=coding.given,
            s=f"{size[1]}x{size[0]}",
            framerate=str(self.fps),
        )
        output = ffmpeg.output(
            frames,
            local_url(self._pictures),
            g=KEY_FRAME_INTERVAL,
            threads=ENCODER_THREADS,
            **container_options(self.path),
            **(coding.options | quality),
        )
        self._process = subprocess.Popen(command(output), stdin=subprocess.PIPE, stderr=self._errors)

    def _finish(self) -> None:
        """Let the encoder end, then put the audio beside the pictures."""
        if self._process is None:
            raise VideoError(f"{self.path}: no frame was written")
        try:
            self._process.communicate()
        except BrokenPipeError:
            raise self._failure() from None
        if self._process.returncode:
            raise self._failure()
        if self._pictures != self._part:
            length = float(self.frames_written / self.fps)
            add_audio(self._pictures, Path(self.audio_from or ""), self.audio_start, length, self._part)

    def _failure(self) -> VideoError | OSError:
        """The reason why the encoder stopped, with its last words."""
        assert self._process is not None
        code = self._process.wait()
        self._errors.seek(0)
        return _stopped(self.path, code, self._errors.read())

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def add_audio(pictures: Path, audio_from: Path, audio_start: float, length: float, output: Path) -> None:
    """Copy the frames of one file and the sound of another into one.

    Done once the number of frames is known: ``-shortest`` beside a pipe cuts too late, as the audio runs
    ahead of slowly arriving frames.

    Args:
        pictures: file with the frames.
        audio_from: file whose first audio stream is taken; coded anew only where `output` cannot hold it.
        audio_start: seconds of it that belong to the first frame.
        length: seconds after which it is cut.
        output: file to write, of the same kind as `pictures`.

    Raises:
        VideoError: one cannot be read or the other not be written.
        OSError: the disk is full, or another reason of the system.
    """
    sound = SOUND[output.suffix.lower()]
    both = ffmpeg.output(
        ffmpeg.input(local_url(pictures)).video,
        ffmpeg.input(local_url(audio_from), ss=audio_start)["a:0"],
        local_url(output),
        vcodec="copy",
        acodec="copy" if audio_codec_of(audio_from) in sound.copied else sound.otherwise,
        t=length,
        **container_options(output),
    )
    done = subprocess.run(command(both), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        raise _stopped(output, done.returncode, done.stderr)


def _stopped(path: Path, code: int, words: bytes) -> VideoError | OSError:
    """Why an encoder stopped, by its exit code and what it said."""
    text = words.decode(errors="replace").strip()[-500:]
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
        if os.strerror(number) in text:
            return OSError(number, os.strerror(number), str(path))
    if code == -signal.SIGXFSZ:
        return OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    if code < 0:
        text += f" (killed by {signal.Signals(-code).name})"
    return VideoError(f"{path}: cannot be written, the encoder stopped: {text or f'code {code}'}")


def has_audio(path: Path | str) -> bool:
    """Whether a file holds an audio stream.

    Raises:
        VideoError: the file cannot be opened.
    """
    return audio_codec_of(path) is not None


def audio_codec_of(path: Path | str) -> str | None:
    """Name of the codec of a file's first audio stream, None without audio that can be decoded.

    Raises:
        VideoError: the file cannot be opened.
    """
    try:
        with av.open(local_url(path)) as container:
            codecs = [stream.codec_context for stream in container.streams.audio]
            return codecs[0].name if codecs and codecs[0] is not None else None
    except av.FFmpegError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror})") from error


def local_url(path: Path | str) -> str:
    """How to name a file to ffmpeg: a colon, a percent sign or a leading dash in a name mean nothing else."""
    return f"file:{Path(path).absolute()}"


def command(output: Any) -> list[str]:
    """Command line of an ffmpeg-python output: overwrites, reports only errors, leaves the terminal alone."""
    quiet = output.overwrite_output().global_args("-loglevel", "error", "-nostdin")
    return quiet.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe())
