"""Parts of encoded videos, copied packet by packet: no pixel changes and nothing is encoded again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from mimo.files import whole_file
from mimo.video import VideoError, local_url


@dataclass(frozen=True)
class Coded:
    """A normalised video's packets: constant frame rate, closed groups of pictures.

    Attributes:
        path: the file.
    """

    path: Path

    @cached_property
    def _table(self) -> list[tuple[int, bool, bool]]:
        """Time, whether it is a key frame, whether it is shown: of every packet, in the file's order."""
        with self._opened() as (container, stream):
            return [
                (int(packet.pts or 0), packet.is_keyframe, not packet.is_discard)
                for packet in container.demux(stream)
                if packet.size
            ]

    @cached_property
    def times(self) -> list[int]:
        """Times of the frames that are shown, ascending."""
        return sorted(time for time, _, shown in self._table if shown)

    @cached_property
    def keys(self) -> list[int]:
        """Numbers of frames that start a group and are shown, and the number of frames."""
        number = {time: index for index, time in enumerate(self.times)}
        return [*sorted(number[time] for time, key, shown in self._table if key and shown), len(self.times)]

    def clean_end(self, stop: int) -> int:
        """The first frame from `stop` on that no packet before it in the file comes after.

        Up to there the file can be cut off: what is left needs nothing behind it.
        """
        position = {time: index for index, (time, _, _) in enumerate(self._table)}
        order = [position[time] for time in self.times]
        while min(order[stop:], default=len(self._table)) < max(order[:stop]):
            stop += 1
        return stop

    def packets(self, start: int, stop: int) -> Iterator[Packet]:
        """Packets needed to show frames `start` to a clean `stop`, from the key frame at or before `start`.

        Their times count from frame `start`; what comes before it has negative times.
        """
        zero = self.times[start]
        key = max(time for time, is_key, _ in self._table if is_key and time <= zero)
        last = self.times[stop - 1]
        ends = max(i for i, (time, _, _) in enumerate(self._table) if zero <= time <= last)
        begins = next(i for i, (time, _, _) in enumerate(self._table) if time == key)
        with self._opened() as (container, stream):
            packets = (packet for packet in container.demux(stream) if packet.size)
            for index, packet in enumerate(packets):
                if index > ends:
                    return
                if index >= begins:
                    packet.pts = int(packet.pts or 0) - zero
                    packet.dts = int(packet.dts or 0) - zero
                    yield packet

    def step(self) -> int:
        """Ticks of one frame."""
        return self.times[1] - self.times[0] if len(self.times) > 1 else 1

    def header(self) -> tuple[bytes, int, int, str]:
        """What must be equal for packets of two files to stand in one: parameters, size, clock."""
        with self._opened() as (_, stream):
            context = stream.codec_context
            return bytes(context.extradata or b""), stream.width, stream.height, str(stream.time_base)

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        try:
            with av.open(local_url(self.path)) as container:
                if not container.streams.video:
                    raise VideoError(f"{self.path}: holds no video")
                yield container, container.streams.video[0]
        except av.FFmpegError as error:
            raise VideoError(f"{self.path}: cannot be read as a video ({error.strerror})") from error


def copy_frames(source: Path, start: int, stop: int, output: Path) -> tuple[int, int]:
    """Copy frames of a normalised video into a file of its own, without its sound.

    Returns:
        The frames it holds: from `start` exactly, to `stop` or the few frames more that the coding needs.

    Raises:
        VideoError: the source cannot be read.
    """
    coded = Coded(source)
    stop = coded.clean_end(stop)
    write_packets(output, [(coded, start, stop)])
    return start, stop


def write_packets(output: Path, pieces: list[tuple[Coded, int, int]]) -> None:
    """Write packets of files one after the other as one video.

    Args:
        output: ``.mp4`` file to write.
        pieces: files with equal headers, and frames (start, stop) of each; all but the first piece start at a
            key frame, and all stop cleanly.
    """
    with whole_file(output) as part, av.open(str(part), "w", options={"movflags": "+faststart"}) as container:
        stream = _like(container, pieces[0][0])
        done = 0
        for coded, start, stop in pieces:
            for packet in coded.packets(start, stop):
                packet.pts = int(packet.pts or 0) + done
                packet.dts = int(packet.dts or 0) + done
                packet.stream = stream
                container.mux(packet)
            done += (stop - start) * coded.step()


def _like(container: OutputContainer, coded: Coded) -> VideoStream:
    with coded._opened() as (_, source):
        stream = container.add_stream_from_template(source)
        stream.time_base = source.time_base
    return stream
