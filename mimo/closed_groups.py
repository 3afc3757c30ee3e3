"""Videos in groups of frames that stand by themselves, so that a video can be made in parts and joined.

An encoder's choices depend on every frame before. `GroupWriter` therefore begins a new encoder every
`GROUP` frames, counted from the video's first frame. Where parts of a video begin at such a frame, their
packets, put one after the other, are exactly those of the video made in one go. It costs nothing that can be
measured: a key frame stands there anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from mimo.coding import Kind
from mimo.files import whole_file, why_not_written
from mimo.video import KEY_FRAME_INTERVAL, VideoError, VideoWriter, add_audio, audio_codec_of, local_url

GROUP = KEY_FRAME_INTERVAL
"""Frames of a group."""
REORDERING = 2
"""Frames that x264 may hold back for those after them (B-frames, of which some are referred to)."""


class GroupWriter:
    """Context manager that encodes frames as `mimo.video.VideoWriter` does, in closed groups.

    Args:
        path: ``.mp4`` file to write; it appears when whole.
        fps: constant frame rate.
        kind: as for `VideoWriter`.
        first: number, in the whole video, of the first frame written here.
        audio_from: file whose sound is put beside the frames, as for `VideoWriter`.
        audio_start: seconds of `audio_from` that belong to the first frame.

    Attributes:
        frames_written: so far.
    """

    def __init__(
        self,
        path: Path,
        fps: Fraction,
        *,
        kind: Kind = "colour",
        first: int = 0,
        audio_from: Path | None = None,
        audio_start: float = 0.0,
    ) -> None:
        self.path, self.fps, self.kind, self.first = path, Fraction(fps), kind, first
        self._audio_from, self._audio_start = audio_from, audio_start
        self.frames_written = 0
        self._group: VideoWriter | None = None
        self._open_files = ExitStack()

    def __enter__(self) -> GroupWriter:
        with ExitStack() as files:
            self._part = files.enter_context(whole_file(self.path))
            self._with_audio = self._audio_from is not None and audio_codec_of(self._audio_from) is not None
            self._pictures = self._part
            if self._with_audio:
                self._pictures = self._part.with_suffix(f".pictures{self._part.suffix}")
                files.callback(self._pictures.unlink, missing_ok=True)
            # Its own temporary name then begins like this file's, and is cleared up with it.
            self._group_path = self._part.with_suffix(f".group{self._part.suffix}")
            files.callback(self._group_path.unlink, missing_ok=True)
            self._track = files.enter_context(_Track(self._pictures, self.fps))
            self._open_files = files.pop_all()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame; see `VideoWriter.write`."""
        number = self.first + self.frames_written
        if number % GROUP == 0:
            self._end_group()
        if self._group is None:
            self._group = VideoWriter(self._group_path, self.fps, kind=self.kind).__enter__()
        self._group.write(frame)
        self.frames_written += 1

    def append(self, video: Path) -> None:
        """Append all frames of a video that a `GroupWriter` wrote, without encoding them again.

        Raises:
            VideoError: it cannot be read, or is of another size or coding than what stands here already.
        """
        self._end_group()
        self.frames_written += self._track.append(video)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as files:
            files.push(self._open_files.pop_all())
            if error is not None:
                group, self._group = self._group, None
                if group is not None:
                    files.push(group)
                raise error
            self._end_group()
            if not self.frames_written:
                raise VideoError(f"{self.path}: no frame was written")
            self._track.close()
            if self._with_audio:
                assert self._audio_from is not None
                length = float(self.frames_written / self.fps)
                add_audio(self._pictures, self._audio_from, self._audio_start, length, self._part)

    def _end_group(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            group.__exit__(None, None, None)
            self._track.append(self._group_path)


class _Track:
    """A video file to which the packets of others are appended, frame by frame at a constant rate."""

    def __init__(self, path: Path, fps: Fraction) -> None:
        self._path, self._fps = path, fps
        self._frames = 0
        self._stream: VideoStream | None = None
        self._container: OutputContainer | None = None

    def __enter__(self) -> _Track:
        self._container = av.open(local_url(self._path), "w", format="mp4", options={"movflags": "faststart"})
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the file."""
        container, self._container = self._container, None
        if container is not None:
            with self._reported():
                container.close()

    def append(self, video: Path) -> int:
        """Append a video's packets; gives their number."""
        try:
            with av.open(local_url(video)) as source:
                pictures = source.streams.video[0]
                return self._append(source.demux(pictures), pictures, video)
        except (av.FFmpegError, IndexError) as error:
            raise VideoError(f"{video}: cannot be read as a video ({error})") from error

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Say which file could not be written; that the disk is full is the disk's fault, not the video's."""
        try:
            yield
        except av.FFmpegError as error:
            fault = OSError(error.errno, error.strerror, str(self._path))
            if why_not_written(fault):
                raise fault from error
            raise VideoError(f"{self._path}: cannot be written ({error.strerror})") from error

    def _append(self, packets: Iterator[Packet], pictures: VideoStream, video: Path) -> int:
        assert self._container is not None
        if self._stream is None:
            self._stream = self._container.add_stream_from_template(pictures)
            assert pictures.time_base is not None
            self._tick = 1 / (self._fps * pictures.time_base)
            self._coding = _coding(pictures)
        if _coding(pictures) != self._coding or self._tick.denominator != 1:
            raise VideoError(f"{video}: of another size, rate or coding than the frames before it")
        count = 0
        for packet in packets:
            if packet.size and packet.pts is not None:
                packet.pts += self._frames * self._tick.numerator
                # A group too short for B-frames starts its clock later than others.
                packet.dts = (self._frames + count - REORDERING) * self._tick.numerator
                packet.stream = self._stream
                with self._reported():
                    self._container.mux(packet)
                count += 1
        self._frames += count
        return count


def _coding(pictures: VideoStream) -> tuple[object, ...]:
    """What must be alike for packets of two videos to be decoded as one."""
    context = pictures.codec_context
    return context.name, context.extradata, context.width, context.height, pictures.time_base
