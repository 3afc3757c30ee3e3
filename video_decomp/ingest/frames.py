"""Decoding a source: every frame once, in order of presentation, and one for each tick of the output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, groupby

import av
from av.container import InputContainer
from av.filter import Graph
from av.video.stream import VideoStream

from mimo.untrusted_video import opened
from video_decomp.ingest.source import Source


@dataclass(frozen=True)
class Timed:
    """A decoded frame and its presentation time in seconds of the source's clock."""

    time: Fraction
    frame: av.VideoFrame


def decode(source: Source, start: Fraction, problems: Counter[str]) -> Iterator[Timed]:
    """Frames in order of presentation, beginning at or before `start` where the file has such a frame.

    Args:
        source: the file.
        start: seconds of the source's clock; decoding begins at a key frame before it.
        problems: counts packets and frames that are ``damaged`` and frames ``out of order``, which are left
            out, and is told by ``interlaced`` that frames were deinterlaced.
    """
    keys = source.keys[source.keys * float(source.time_base) <= float(start)]
    # One key frame more than needed: frames that refer across a key frame are broken after a seek to it.
    target = int(keys[-2]) if len(keys) > 2 else None
    last: Fraction | None = None
    with opened(source.path) as (container, stream):
        if target is not None:
            with suppress(av.FFmpegError):  # a file that cannot seek is decoded from its beginning
                container.seek(target, stream=stream)
        for number, frame in enumerate(_decoded(container, stream, problems)):
            time = number / source.rate if not len(source.times) else _time(frame)
            if time is None or (last is not None and time <= last):
                problems["out of order"] += 1
                continue
            if last is None and target is not None and time > start:
                break
            last = time
            yield Timed(time, frame)
    if last is None and target is not None:
        # The seek went too far, as it does in MPEG-TS: decode from the beginning.
        yield from decode(replace(source, keys=source.keys[:0]), start, problems)


def _time(frame: av.VideoFrame) -> Fraction | None:
    return None if frame.pts is None else frame.pts * Fraction(frame.time_base or 0)


def _decoded(
    container: InputContainer, stream: VideoStream, problems: Counter[str]
) -> Iterator[av.VideoFrame]:
    """Whole frames; interlaced ones are made progressive."""
    frames = _raw(container, stream, problems)
    first = next(frames, None)
    if first is None:
        return
    frames = chain([first], frames)
    if first.interlaced_frame:
        problems["interlaced"] += 1
        frames = _deinterlaced(frames)
    yield from frames


def _deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    for _, alike in groupby(frames, lambda frame: (frame.width, frame.height, frame.format.name)):
        graph: Graph | None = None
        for frame in alike:
            if graph is None:
                graph = Graph()
                source = graph.add_buffer(
                    width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
                )
                graph.link_nodes(source, graph.add("bwdif", "mode=send_frame"), graph.add("buffersink"))
                graph.configure()
            graph.vpush(frame)
            yield from _pulled(graph)
        if graph is not None:
            graph.vpush(None)
            yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return


def _raw(container: InputContainer, stream: VideoStream, problems: Counter[str]) -> Iterator[av.VideoFrame]:
    for packet in chain(_packets(container, stream, problems), [None]):  # None flushes the decoder
        if packet is not None and packet.is_corrupt:
            problems["damaged"] += 1
            continue
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            problems["damaged"] += 1
            continue
        for frame in frames:
            frame.time_base = stream.time_base  # PyAV leaves it unset in flushed frames
            if frame.is_corrupt:
                problems["damaged"] += 1
            else:
                yield frame


def _packets(container: InputContainer, stream: VideoStream, problems: Counter[str]) -> Iterator[av.Packet]:
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        problems["damaged"] += 1


def resample(
    frames: Iterable[Timed], begin: Fraction, end: Fraction, rate: Fraction, hold: Fraction
) -> Iterator[Timed]:
    """For each tick of a constant rate, the frame nearest in time.

    Args:
        frames: in order of presentation.
        begin: time of the first tick.
        end: no tick at or after it.
        rate: ticks a second.
        hold: seconds for which the last frame is shown.

    Yields:
        One item a tick; a frame shown twice is the same object twice.
    """
    tick = 0
    shown: Timed | None = None
    for timed in frames:
        if shown is not None:
            until = min(end, (shown.time + timed.time) / 2)
            while begin + tick / rate < until:
                yield shown
                tick += 1
        if begin + tick / rate >= end:
            return
        shown = timed
    if shown is not None:
        while begin + tick / rate < min(end, shown.time + hold / 2):
            yield shown
            tick += 1


def output_rate(source_rate: Fraction, limit: Fraction) -> Fraction:
    """The frame rate to write, at most `limit`.

    A source that is not faster keeps its rate: repeated frames would make its motion stutter. A faster one
    is divided evenly (60 to 30, 59.94 to 29.97, 50 to 25) unless that falls far below the limit (40 to 30).
    """
    if source_rate <= limit * Fraction(1002, 1000):
        return source_rate
    even = source_rate / -(-source_rate // (limit * Fraction(1002, 1000)))
    return even if even >= limit * Fraction(3, 4) else limit
